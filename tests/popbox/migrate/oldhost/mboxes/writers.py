"""Programs that write an mbox, as their descriptions say; what a message was is known before it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

ASCTIME = b"Mon Sep 10 01:46:%02d 2001"
Quote = Callable[[bytes], bytes]
Length = Callable[[bytes, bytes], int]


class Case(NamedTuple):
    """A file and what is in it. ``doubts``: lines that a reader must name; ``refused``: what it must say instead."""

    name: str
    source: str
    octets: bytes
    messages: Sequence[bytes] = ()
    dialect: str = ""
    doubts: tuple[int, ...] = ()
    refused: str = ""
    note: str = ""


def mail(number: int, *lines: bytes, header: bytes = b"") -> bytes:
    """A message with these lines as its body."""
    head = b"From: Sue <sue@sender.example>\nSubject: number %d\n" % number + header
    return head + b"\n" + b"".join(line + b"\n" for line in lines)


PLAIN = [mail(1, b"one"), mail(2, b"", b"two", b"", b"more of two"), mail(3, b"three", b"")]
QUOTED = [
    mail(1, b"one", b"From here on", b"text"),
    mail(2, b">From me", b"two"),
    mail(3, b">>From all", b"", b"From us"),
]


def every(pattern: bytes) -> Quote:
    """Put a > before each line of the body that the pattern matches."""
    return lambda text: re.sub(rb"(?m)^(?=" + pattern + rb")", b">", text)


RD, O = every(rb">*From "), every(rb"From ")  # noqa: E741 - the dialects' names


def bsd(text: bytes) -> bytes:
    """binmail and mail.local of BSD: a From_ line is quoted only behind an empty line."""
    return re.sub(rb"(?<=\n\n)(?=From )", b">", text)


def nothing(text: bytes) -> bytes:
    """No quoting."""
    return text


def mbox(
    messages: Sequence[bytes],
    *,
    quote: Quote = RD,
    start: bytes = b"From sue@sender.example " + ASCTIME,
    between: bytes = b"\n",
    length: Length | None = None,
    end: bytes | None = None,
) -> bytes:
    """Messages one after the other. ``length`` makes a Content-Length of the body before and after it was quoted."""
    parts = []
    for number, message in enumerate(messages):
        line = (start % number if b"%" in start else start) + b"\n"
        head, body = split(message)
        stored = quote(body)
        field = b"Content-Length: %d\n" % length(body, stored) if length else b""
        parts.append(line + head + field + b"\n" + stored)
    return between.join(parts) + (between if end is None else end)


def split(message: bytes) -> tuple[bytes, bytes]:
    """Header, and body behind the empty line."""
    head, _, body = message.partition(b"\n\n")
    return head + b"\n", body


def with_length(messages: Sequence[bytes], length: Length, quote: Quote = nothing) -> list[bytes]:
    """What comes of the messages when the field has been written into their headers."""
    made = []
    for message in messages:
        head, body = split(message)
        made.append(head + b"Content-Length: %d\n\n" % length(body, quote(body)) + body)
    return made


def stored(_body: bytes, as_stored: bytes) -> int:
    """Content-Length of what stands in the file."""
    return len(as_stored)


def plain(body: bytes, _as_stored: bytes) -> int:
    """Content-Length of what was sent."""
    return len(body)


def crlf(octets: bytes) -> bytes:
    """Every line ends in CR LF."""
    return octets.replace(b"\n", b"\r\n")
