"""The bounce (QSBMF) for recipients that failed, and who gets it. Pure. Source: Q-BOUNCE-1..9."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mailhost.qmail.control import Controls, suffixes
from mailhost.qmail.controlfile import c_string
from mailhost.standin import header_fields

DOUBLE_BOUNCE = b"#@[]"
VERP_TAIL = b"-@[]"
_EMPTY_LINE = re.compile(rb"(?<=\n)\n(?!\Z)")

_FIRST = b"""Hi. This is the popbox stand-in mail program at %s.
Your message did not reach the addresses below. Nothing more will be
tried for them. What was said about each:
"""
_AGAIN = b"""Hi. This is the popbox stand-in mail program at %s.
A bounce could not be delivered to the sender it was meant for.
"""
_COPY = b"--- Below this line is a copy of the message."
_ORIGINAL = b"--- Below this line is the original bounce."


@dataclass(frozen=True, slots=True)
class Bounce:
    """A message to send: ``head`` is followed by a copy of the failed message."""

    sender: bytes
    recipient: bytes
    head: bytes


def build(controls: Controls, sender: bytes, failures: Iterable[tuple[bytes, bytes]], now: float) -> Bounce | None:
    """The bounce for (routed recipient, report) pairs in order of failure; None for a triple bounce, which is dropped.

    Source: qmail-send(8), Q-BOUNCE-1..9.
    """
    sender = without_verp(sender)
    if sender == DOUBLE_BOUNCE:
        return None
    double = not sender
    to = controls.doublebounceto + b"@" + controls.doublebouncehost if double else sender
    first, line = (_AGAIN, _ORIGINAL) if double else (_FIRST, _COPY)
    author = header_fields.quoted(controls.bouncefrom + b"@" + controls.bouncehost)
    fields = (header_fields.date(now), author, header_fields.quoted(to))
    head = b"Date: %s\nFrom: %s\nTo: %s\nSubject: failure notice\n\n" % fields
    body = first % controls.bouncehost + b"\n"
    body += b"".join(_paragraph(controls, address, report) for address, report in failures)
    text = head + body + line + b"\n\n" + header_fields.return_path(sender)
    return Bounce(DOUBLE_BOUNCE if double else b"", c_string(to), text)


def _paragraph(controls: Controls, address: bytes, report: bytes) -> bytes:
    """``<address>:``, the report, an empty line; the report must not end its paragraph early (Q-BOUNCE-5)."""
    shown = without_prefix(controls, address).replace(b"\n", b"_")
    text = b"<" + shown + b">:\n" + report
    text += b"" if text.endswith(b"\n") else b"\n"
    return _EMPTY_LINE.sub(b"/", text) + b"\n"


def without_prefix(controls: Controls, address: bytes) -> bytes:
    """The address as the sender knows it: without the prefix of the domain's virtualdomains line (Q-BOUNCE-4)."""
    host = address.rpartition(b"@")[2]
    for key in (*suffixes(host), b""):
        line = controls.virtualdomains.find(key)
        if line is not None:
            prefix = line.value + b"-" if line.value else b""
            return address.removeprefix(prefix)
    return address


def without_verp(sender: bytes) -> bytes:
    """Where bounces to a VERP sender go: to ``owner-@host`` for ``owner-@host-@[]`` (Q-BOUNCE-8).

    The end is removed whatever precedes it: ``x-@[]`` gives ``x``, and ``-@[]`` gives the empty sender.
    """
    return sender.removesuffix(VERP_TAIL)


def envelope_sender(sender: bytes, recipient: bytes) -> bytes:
    """The sender that a recipient sees: ``owner-r=d@host`` for a VERP sender, which has a second ``@`` (Q-BOUNCE-8)."""
    if not sender.endswith(VERP_TAIL) or b"@" not in without_verp(sender):
        return sender
    local, _, host = sender[: -len(VERP_TAIL)].rpartition(b"@")
    user, _, domain = recipient.rpartition(b"@")
    return local + user + b"=" + domain + b"@" + host
