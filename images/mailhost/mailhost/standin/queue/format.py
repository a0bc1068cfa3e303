"""The format of a queue file: the envelope as fields, then the message. Pure.

    popbox-queue 1 <message offset> <uid>\\n  F<sender>\\0  (L|R)<routed recipient>\\0 ...  \\0  <message>

Recipients are stored as routed (L local, R remote): a later change of the controls does not move them (Q-SEND-6).
Its journal file says what became of each recipient, one line for each event, in the order of events:

    K <index>              delivered            D <index> <report>     failed for good
    Z L|R <seconds>        next try of that channel
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes, unquote_to_bytes

_HEAD = re.compile(rb"popbox-queue 1 (\d{8}) (\d+)\n")
HEAD_OCTETS = 64  # more than the first line ever has


class Damaged(Exception):
    """A queue file that does not have the form above."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A routed recipient; ``local`` selects the channel."""

    local: bool
    address: bytes


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """One queued message; ``number`` is its arrival in microseconds since 1970, ``size`` its octets."""

    number: int
    sender: bytes
    recipients: tuple[Recipient, ...]
    uid: int
    offset: int
    size: int

    @property
    def birth(self) -> float:
        """The time of arrival, seconds since 1970."""
        return self.number / 1e6


@dataclass(slots=True)
class Journal:
    """What has happened so far: indexes delivered, reports of failed ones in order, next try by channel letter."""

    done: set[int] = field(default_factory=set)
    failed: dict[int, bytes] = field(default_factory=dict)
    due: dict[bytes, int] = field(default_factory=dict)


def encode(sender: bytes, recipients: tuple[Recipient, ...], uid: int) -> bytes:
    """The head of a queue file: everything before the message."""
    fields = b"F%s\0" % sender + b"".join(b"%s%s\0" % (b"L" if r.local else b"R", r.address) for r in recipients)
    tail = b" %d\n%s\0" % (uid, fields)
    return b"popbox-queue 1 %08d%s" % (len(b"popbox-queue 1 ") + 8 + len(tail), tail)


def offset_of(head: bytes) -> int:
    """The octet at which the message starts.

    Raises:
        Damaged: the file does not begin as a queue file of this program.
    """
    found = _HEAD.match(head)
    if found is None:
        raise Damaged("not a queue file of this program")
    return int(found[1])


def decode(number: int, text: bytes, size: int) -> QueueRecord:
    """The record from the ``offset_of`` first octets of its file of ``size`` octets.

    Raises:
        Damaged: the file is cut short, or a recipient has no channel.
    """
    found = _HEAD.match(text)
    offset = offset_of(text)
    fields = text[found.end() if found else 0 : offset].split(b"\0")
    if len(text) < offset or size < offset or fields[-2:] != [b"", b""] or fields[0][:1] != b"F":
        raise Damaged("cut short")
    if any(one[:1] not in (b"L", b"R") for one in fields[1:-2]):
        raise Damaged("a recipient has no channel")
    recipients = tuple(Recipient(one[:1] == b"L", one[1:]) for one in fields[1:-2])
    return QueueRecord(number, fields[0][1:], recipients, int(found[2]) if found else 0, offset, size - offset)


def record_done(index: int) -> bytes:
    """The journal line of a recipient that was delivered."""
    return b"K %d\n" % index


def record_failed(index: int, report: bytes) -> bytes:
    """The journal line of a recipient that failed permanently, with the report for the bounce."""
    return b"D %d %s\n" % (index, quote_from_bytes(report).encode())


def record_due(local: bool, seconds: int) -> bytes:
    """The journal line of a channel's next try."""
    return b"Z %s %d\n" % (b"L" if local else b"R", seconds)


def read_journal(text: bytes) -> Journal:
    """Replay a journal. A last line without a line end was cut short by a crash and is ignored.

    Raises:
        Damaged: a line has an unknown form.
    """
    journal = Journal()
    for line in text.split(b"\n")[:-1]:
        if line[:2] not in (b"K ", b"D ", b"Z "):  # it must not mark a recipient as delivered
            raise Damaged("a journal line has an unknown form")
        try:
            kind, first, *rest = line.split(b" ")
            if kind == b"Z":
                journal.due[first] = int(rest[0])
            else:
                journal.done.add(int(first))
            if kind == b"D":
                journal.failed[int(first)] = unquote_to_bytes(rest[0])
        except (ValueError, IndexError) as error:
            raise Damaged("a journal line has an unknown form") from error
    return journal
