"""A file in a Maildir -> the message that it is a copy of, by its own Received line. Pure but for the batch.

The MTA puts three lines before a message: Return-Path, Delivered-To, and the queue's own Received with the qp. It is a
pid and comes again, so the sender, the routed address, the time and the size must fit as well: what is behind the first
two lines is the queue's file, whose size the log tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from popbox.journey.feeds.maildirs import MaildirFile
from popbox.journey.model import Disposition, Event, Kind
from popbox.journey.store import Batch

RECEIVED = re.compile(r"Received: \((?:qmail|popbox stand-in) (\d+) invoked [^)]*\); (\d+ \w{3} \d{4} \d\d:\d\d:\d\d) ")
NEAR_S, FAR_S = 60.0, 3600.0  # our choice: from the queue's clock to the log's line; far only where nothing is near
UNLOGGED = re.compile(rb"[^!-~]|%")  # octets that the log shows as `_`, whatever they are (qmail's qsutil.c)
AMBIGUOUS = "two messages with the same qp, sender, recipient and size fit the file {}"


@dataclass(slots=True)
class Owed:
    """Files that the log says were written for one recipient, and that were not found yet."""

    of: int
    qp: str
    sender: str
    octets: int | None
    queued_at: float
    recipient: str
    count: int
    boxes: tuple[str, ...]
    did_at: float
    asked_at: float = 0.0  # by our clock, when its boxes were first looked into
    late: bool = False  # the log's lines were not read as they came: its files may be gone by right
    others: tuple[str, ...] = ()  # mbox files and programs that the rules name beside the boxes

    def fits(self, name: FileName, within_s: float) -> bool:
        """Whether all that the file says of itself, but for its size, is this message's."""
        verp = self.sender.endswith("-@[]")
        return (
            self.qp == name.qp
            and self.recipient == name.recipient
            and (verp or self.sender == name.sender)
            and -2.0 <= self.queued_at - name.at <= within_s
        )


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file's first lines say: whose it is. ``octets`` is the size of the queue's file.

    ``sender`` and ``recipient`` are as the MTA's log writes them.
    """

    qp: str
    at: float
    sender: str
    recipient: str
    octets: int


def named(file: MaildirFile) -> FileName | None:
    """What the first lines say; None for a file that no MTA of ours delivered."""
    path, to, received = file.top
    found = RECEIVED.match(received)
    if not found or not path.startswith("Return-Path: <") or not to.startswith("Delivered-To: "):
        return None
    at = datetime.strptime(found[2], "%d %b %Y %H:%M:%S").replace(tzinfo=UTC).timestamp()
    before = len(path.encode()) + len(to.encode()) + 2
    sender = as_logged(unquoted(path.removeprefix("Return-Path: <").removesuffix(">")))
    return FileName(found[1], at, sender, as_logged(to.removeprefix("Delivered-To: ")), file.size - before)


def unquoted(address: str) -> str:
    """An address without the quotes and backslashes that Return-Path has where a local part needs them (Q-HDR-6)."""
    local, at, domain = address.rpartition("@")
    quoted = len(local) > 1 and local.startswith('"') and local.endswith('"')
    return re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL) + at + domain if quoted else address


def as_logged(address: str) -> str:
    """An address as qmail-send's log writes it: no octet of it can be a space, a control character or above 126."""
    return UNLOGGED.sub(b"_", address.encode()).decode()


def candidates(name: FileName, owed: Iterable[Owed]) -> list[Owed]:
    """Those that the file may belong to: of the exact size if any is, and the near ones before the far."""
    for within_s in (NEAR_S, FAR_S):
        if fitting := [one for one in owed if one.fits(name, within_s)]:
            return [one for one in fitting if one.octets == name.octets] or fitting
    return []


def filed(owed: Owed, file: MaildirFile, name: FileName, uid: int) -> Event:
    """The event for a file that belongs to a message."""
    faults = list(_faults(owed, file, name, uid))
    fault, wrong = faults[0] if faults else (None, "")
    said = {
        "recipient": owed.recipient,
        "maildir": file.box,
        "path": file.path,
        "uidl": file.name,
        "size": file.size,
        "mode": file.mode,
        "uid": file.uid,
        "subject": decoded(file.subject),
        "message_id": file.message_id,
        "from": decoded(file.author),
        "fault": fault.value if fault else None,
        "wrong": wrong,
    }
    return Event(file.at, Kind.FILED, owed.of, said, "maildirs", f"{file.box}/{file.name}")


def ambiguous(fitting: list[Owed], file: MaildirFile) -> Iterator[Event]:
    """One event for each message that may be meant: none of them is said to have it."""
    ids = [one.of for one in fitting]
    for one in fitting:
        said = {"what": "file", "why": AMBIGUOUS.format(file.path), "messages": ids, "recipient": one.recipient}
        yield Event(file.at, Kind.AMBIGUOUS, one.of, said, "maildirs", f"{file.box}/{file.name} {one.of}")


def _faults(owed: Owed, file: MaildirFile, name: FileName, uid: int) -> Iterator[tuple[Disposition, str]]:
    if owed.octets is not None and owed.octets != name.octets:
        yield Disposition.CORRUPTED, f"{name.octets} octets are not the {owed.octets} of the queue"
    if file.uid != uid:
        yield Disposition.WRONG_OWNER, f"it belongs to uid {file.uid}, not {uid}"
    if file.mode & 0o077:
        yield Disposition.WRONG_MODE, f"mode {file.mode:04o}: others may read or write it"


def decoded(field: str) -> str:
    """A field's value as it is read; as it stands where its encoding is broken, or makes half a character (UTF-7)."""
    try:
        read = str(make_header(decode_header(field))) if "=?" in field else field
        read.encode()
    except (HeaderParseError, LookupError, ValueError):
        return field
    return read


def second_copies(batch: Batch, name: FileName) -> list[Owed]:
    """Messages with nothing owed any more, of which the file would be one more copy than the MTA says it wrote."""
    query = (
        "SELECT m.id, m.sender, m.bytes, m.at FROM finds f JOIN messages m ON m.id = f.message"
        " WHERE f.kind = 6 AND f.key = :qp AND m.qp = :qp AND m.filed_at IS NOT NULL AND m.owed = 0"
    )
    rows = batch.db.execute(query, {"qp": name.qp}).fetchall()
    found = [Owed(of, name.qp, sender, octets, at, name.recipient, 0, (), at) for of, sender, octets, at in rows]
    return [one for one in candidates(name, found) if one.octets == name.octets and _tried(batch, one)]


def _tried(batch: Batch, one: Owed) -> bool:
    """Whether the MTA delivered that message to that recipient."""
    query = "SELECT 1 FROM events WHERE message = ? AND kind = 'tried' AND json_extract(fields, '$.recipient') = ?"
    return batch.db.execute(query, (one.of, one.recipient)).fetchone() is not None
