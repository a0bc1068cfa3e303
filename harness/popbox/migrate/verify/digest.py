"""A message reduced to what must survive a move, while it streams by: memory does not grow with the message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple, Protocol

HEAD_OCTETS = 1 << 20  # our choice: a header that is longer ends here
FIELD_OCTETS = 300  # our choice: what is kept of a field, for a person to recognise the message by
RUN_OCTETS = 65_536
FIELDS = (b"subject", b"date", b"message-id", b"content-transfer-encoding")
_FIELD = re.compile(rb"^(" + b"|".join(FIELDS) + rb")[ \t]*:[ \t]*(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
# What servers of mbox files write into the header of a message that they keep: by imap-uw, qpopper, Dovecot, mutt.
SERVERS = (b"status", b"x-status", b"x-keywords", b"x-uid", b"x-uidl", b"x-imap", b"x-imapbase", b"content-length")
_SERVERS = re.compile(rb"^(" + b"|".join(SERVERS) + rb")[ \t]*:.*(?:\n[ \t].*)*(?:\n|\Z)", re.IGNORECASE | re.MULTILINE)
_MAY_BE_SERVERS = (b"\nstatus", b"\nx-", b"\ncontent-length")  # quicker to look for than SERVERS
_LINE_ENDS = re.compile(rb"\r+\n")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class Content(NamedTuple):
    """What RETR gave. ``head`` and ``body`` are hashes of the text with LF line ends, without newlines at its end.

    ``ends`` counts those newlines, ``core`` the octets of the text before them; ``octets`` and ``lines`` are of what
    was sent, byte-stuffing undone. ``fields`` are those of FIELDS, as they stand in the header. ``bare`` is ``head``
    without the fields of SERVERS; ``added`` names those, and ``added_octets`` is what they take. A NamedTuple, as it
    is made for each of millions of messages.
    """

    head: bytes
    body: bytes
    core: int
    ends: int
    octets: int
    lines: int
    fields: tuple[bytes, ...]
    bare: bytes
    added: tuple[bytes, ...]
    added_octets: int


class Digest:
    """Takes a message in pieces cut anywhere; the result does not depend on where."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._top: bytes | None = b""
        self._hash = _new()
        self._head = self._bare = b""
        self._added: tuple[bytes, ...] = ()
        self._added_octets = 0
        self._fields: tuple[bytes, ...] = ()
        self._cr = self._lf = self._core = self._octets = self._lines = 0

    def feed(self, piece: bytes) -> None:
        """The next octets, as sent: CR LF, LF and CR CR LF all end a line."""
        self._octets += len(piece)
        self._lines += piece.count(b"\n")
        if self._cr:
            rest = piece.lstrip(b"\r")
            self._cr += len(piece) - len(rest)
            if not rest:
                return
            if not rest.startswith(b"\n"):
                self._text(b"\r" * self._cr)
            self._cr, piece = 0, rest
        kept = piece.rstrip(b"\r")
        self._cr = len(piece) - len(kept)
        if kept:
            self._text(kept.replace(b"\r\n", b"\n") if b"\r\r\n" not in kept else _LINE_ENDS.sub(b"\n", kept))

    def done(self) -> Content:
        """What has been seen."""
        if self._cr:
            self._text(b"\r" * self._cr)
        if self._top is not None:
            self._end_of_head(len(self._top.rstrip(b"\n")))
        return Content(
            self._head,
            self._hash.digest(),
            self._core,
            self._lf,
            self._octets,
            self._lines,
            self._fields,
            self._bare,
            self._added,
            self._added_octets,
        )

    def _text(self, text: bytes) -> None:
        if self._top is None:
            self._body(text)
            return
        self._top += text
        end = self._top.find(b"\n\n", 0, HEAD_OCTETS)
        if end >= 0 or len(self._top) >= HEAD_OCTETS:
            self._end_of_head(end if end >= 0 else HEAD_OCTETS)

    def _end_of_head(self, end: int) -> None:
        top, self._top = self._top or b"", None
        head = top[:end]
        self._core += len(head)
        self._head, self._fields, self._bare, self._added, self._added_octets = _header(head)
        self._body(top[end:])

    def _body(self, text: bytes) -> None:
        kept = text.rstrip(b"\n")
        if kept:
            self._newlines()
            self._hash.update(kept)
            self._core += len(kept)
        self._lf += len(text) - len(kept)

    def _newlines(self) -> None:
        """Newlines that turned out not to be the end."""
        self._core += self._lf
        while self._lf:
            run = min(self._lf, RUN_OCTETS)
            self._hash.update(b"\n" * run)
            self._lf -= run


def digest(pieces: Iterable[bytes]) -> Content:
    """A whole message, from its pieces."""
    pieces = iter(pieces)
    first = next(pieces, b"")
    second = next(pieces, None)
    if second is None and len(first) < HEAD_OCTETS:
        return _whole(first)
    taken = Digest()
    for piece in chain((first,), (second,) if second is not None else (), pieces):
        taken.feed(piece)
    return taken.done()


def _whole(sent: bytes) -> Content:
    """What ``Digest`` finds, for a message in one piece; most are, and this takes half the time."""
    text = _LINE_ENDS.sub(b"\n", sent) if b"\r\r\n" in sent else sent.replace(b"\r\n", b"\n")
    end = text.find(b"\n\n")
    head = text[:end] if end >= 0 else text.rstrip(b"\n")
    body = text[len(head) :].rstrip(b"\n")
    core = len(head) + len(body)
    hashed, fields, bare, added, added_octets = _header(head)
    lines, ends = sent.count(b"\n"), len(text) - core
    return Content(hashed, _new(body).digest(), core, ends, len(sent), lines, fields, bare, added, added_octets)


def _header(head: bytes) -> tuple[bytes, tuple[bytes, ...], bytes, tuple[bytes, ...], int]:
    """Of a header: hash, fields, hash without the servers' fields, their names, and the octets these take."""
    lower, hashed = b"\n" + head.lower(), _new(head).digest()
    fields = tuple([_field(head, lower, b"\n" + name) for name in FIELDS])
    if not any(mark in lower for mark in _MAY_BE_SERVERS):
        return hashed, fields, hashed, (), 0
    lines = head + b"\n"
    bare = _SERVERS.sub(b"", lines)
    added = tuple(found[1] for found in _SERVERS.finditer(lines))
    return hashed, fields, _new(bare[:-1]).digest(), added, len(lines) - len(bare)


def _field(head: bytes, lower: bytes, mark: bytes) -> bytes:
    """The first field of that name; ``lower`` is the header in small letters behind an LF."""
    at = lower.find(mark)
    while at >= 0:
        if found := _FIELD.match(head, at):
            return found[2][:FIELD_OCTETS]
        at = lower.find(mark, at + 1)
    return b""


def _new(data: bytes = b"") -> _Hash:
    return blake2b(data, digest_size=16)
