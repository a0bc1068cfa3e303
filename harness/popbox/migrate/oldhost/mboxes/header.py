"""The header of a message in an mbox: how long its body is said to be, which flags it has, when it came."""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz
from typing import Literal, NamedTuple

from popbox.migrate.oldhost.mboxes.from_line import parse

HEAD_OCTETS = 64 << 10  # our choice: where the header is looked for
MOST_DIGITS = 15

_END = re.compile(rb"(?:\A|(?<=\n))\r?\n")
_FIRST = re.compile(rb"[!-9;-~]+[ \t]*:|>+From ")
_KNOWN = re.compile(
    rb"^(?:Received|Return-Path|From|To|Cc|Date|Subject|Message-ID|Delivered-To|Envelope-To|MIME-Version|Content-Type"
    rb"|Content-Length|Status|X-Status|X-UIDL?|X-IMAP|X-IMAPbase|X-Mozilla-Status|Reply-To|Sender|Resent-From"
    rb"|In-Reply-To|References|Newsgroups|X-Mailer)[ \t]*:",
    re.I | re.M,
)
_LENGTH = re.compile(rb"^Content-Length[ \t]*:[ \t]*(\d+)[ \t]*\r?$", re.I | re.M)
_QUOTED = re.compile(rb"^>+From ", re.M)


class Head(NamedTuple):
    """What follows a From_ line. ``octets`` are those of the header and of the empty line behind it.

    ``kind``: ``known`` a header with a field that mail has, ``field`` a line like one, ``empty`` an empty line,
    ``text`` neither. ``length``: the Content-Length; -1: several that differ; None: none, or the header has no end.
    """

    kind: Literal["known", "field", "empty", "text"]
    octets: int
    length: int | None
    folder_data: bool
    returns: int
    quotes: int


def examine(text: bytes) -> Head:
    """The header at the beginning of a text, as far as it is there."""
    end = _END.search(text)
    header = text[: end.end()] if end else text
    if end and not end.start():
        return Head("empty", len(header), None, False, header.count(b"\r\n"), 0)
    if not _FIRST.match(header):
        return Head("text", 0, None, False, 0, 0)
    lengths = {int(digits[:MOST_DIGITS]) for digits in _LENGTH.findall(header)} if end else set()
    length = None if not lengths else lengths.pop() if len(lengths) == 1 else -1
    kind: Literal["known", "field"] = "known" if _KNOWN.search(header) else "field"
    returns, quotes = header.count(b"\r\n"), len(_QUOTED.findall(header))
    return Head(kind, len(header), length, is_folder_data(header), returns, quotes)


def header_of(head: bytes) -> bytes:
    """The header of a message, with LF line ends."""
    end = _END.search(head)
    return (head[: end.start()] if end else head).replace(b"\r\n", b"\n")


def is_folder_data(head: bytes) -> bool:
    """Whether it is the message that c-client (pine, imap-uw) keeps its own notes in; mail by SMTP has a trace."""
    header = header_of(head)
    trace = re.search(rb"^(?:Received|Return-Path|Delivered-To)[ \t]*:", header, re.I | re.M)
    return b"FOLDER INTERNAL DATA" in header and not trace and re.search(rb"^X-IMAP", header, re.M) is not None


def date_of(start: bytes, head: bytes) -> int | None:
    """When a message came, in seconds: by its From_ line, else by its first Received field; None by neither."""
    line = parse(start)
    if line and line.when is not None and line.kind != "git":
        return line.when
    field = rb"^Received:(?:[^\n]|\n[ \t])*;\s*((?:[^\n;]|\n[ \t])+)$"
    received = re.search(field, header_of(head), re.I | re.M)
    parsed = parsedate_tz(received[1].decode("latin-1")) if received else None
    try:
        came = None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError):
        came = None
    return line.when if came is None and line else came


def flags_of(head: bytes) -> bytes | None:
    """Maildir flags; None for a message that no client has seen, which belongs in new.

    Status and X-Status are read, and X-Mozilla-Status, four hex digits (nsMsgMessageFlags.h of Thunderbird); a message
    that is deleted and not yet gone has the flag T.
    """
    header = b"\n" + header_of(head)
    said = b"".join(found[1] for found in re.finditer(rb"\n(?:X-)?Status:[ \t]*([A-Za-z]*)", header, re.I))
    mozilla = re.search(rb"\nX-Mozilla-Status:[ \t]*([0-9a-f]{4})[ \t]*(?=\n|\Z)", header, re.I)
    if not said and mozilla is None:
        return None
    flags = {flag for letter, flag in ((b"D", b"T"), (b"F", b"F"), (b"A", b"R"), (b"R", b"S")) if letter in said}
    bits = int(mozilla[1], 16) if mozilla else 0
    flags |= {flag for bit, flag in ((1, b"S"), (2, b"R"), (4, b"F"), (8, b"T"), (0x1000, b"P")) if bits & bit}
    return b"".join(sorted(flags))
