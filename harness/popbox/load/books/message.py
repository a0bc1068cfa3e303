"""A message of a load run: made from its token, and known again in what POP3 hands out. Pure."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

FIELD = b"X-Popbox-Load: "
_ADDRESS = re.compile(rb"[^\s<>()\",:;@]+@[A-Za-z0-9.-]+")
_LINES = tuple(random.Random(1).randbytes(48).hex().encode() + b"\n" for _ in range(64))  # noqa: S311 - filler


@dataclass(frozen=True, slots=True)
class Seen:
    """What a message that was fetched says of itself: its token, and digest and size from the token on."""

    token: str
    digest: str
    octets: int


@dataclass(frozen=True, slots=True)
class Report:
    """A bounce: the token of the message that it tells of, and the addresses that it names."""

    token: str
    addresses: tuple[str, ...]


def field_of(token: str) -> str:
    """The line by which the message of a token is known, whatever else quotes the token."""
    return f"{FIELD.decode()}{token}"


def make(token: str, sender: str, recipients: tuple[str, ...], octets: int) -> bytes:
    """A message with LF line ends, of about ``octets`` octets, different in each line from that of another token."""
    to = ", ".join(recipients)
    fields = (f"From: <{sender}>", f"To: {to}", f"Subject: load {token}", f"Message-ID: <{token}@load.popbox>")
    head = f"{field_of(token)}\n{chr(10).join(fields)}\n\n"
    lines, size, number = [head.encode()], len(head), 0
    mark = f"{token} ".encode()
    while size < octets:
        line = mark + _LINES[number % len(_LINES)] if number else b".a line that begins with a dot\n"
        lines.append(line)
        size, number = size + len(line), number + 1
    return b"".join(lines)


def digest_of(octets: bytes) -> str:
    """The digest as journals have it."""
    return hashlib.sha256(octets).hexdigest()[:32]


def seen(message: bytes) -> Seen | None:
    """What a message with LF line ends is; None where it is none of a load run.

    The delivery's own header lines before the token are left out; so is the empty line that qmail-pop3d adds at the
    end (Q-POP3-13), which no message of ours ends with.
    """
    start = 0 if message.startswith(FIELD) else message.find(b"\n" + FIELD) + 1
    if start == 0 and not message.startswith(FIELD):
        return None
    header_end = message.find(b"\n\n")
    if 0 <= header_end < start:
        return None  # it stands in the body: a report
    own = message[start:]
    own = own[:-1] if own.endswith(b"\n\n") else own
    token = own[len(FIELD) : own.find(b"\n")].decode("latin-1")
    return Seen(token, digest_of(own), len(own))


def reported(message: bytes) -> Report | None:
    """What a bounce says; None where it tells of no message of a load run."""
    at = message.find(b"\n" + FIELD)
    if at < 0:
        return None
    rest = message[at + 1 + len(FIELD) :]
    named = _ADDRESS.findall(message, max(0, message.find(b"\n\n")), at)
    addresses = tuple(sorted({one.decode("latin-1").rstrip(".") for one in named}))
    return Report(rest[: rest.find(b"\n")].decode("latin-1"), addresses)


def delivered_to(message: bytes) -> str:
    """The address for which a file was delivered, as the delivery's own header says; empty where none does."""
    head = message[: message.find(FIELD)]
    line = next((one for one in head.split(b"\n") if one.lower().startswith(b"delivered-to:")), b"")
    return line.partition(b":")[2].strip().decode("latin-1")


def is_of(address: str, box: str) -> bool:
    """Whether an address is that of a box, as it stands or as qmail routes it: ``domain-joe@domain``."""
    address, box = address.lower(), box.lower()
    return address == box or address.endswith(f"-{box}")
