"""What must be done for one mailbox, from what the old host has, what we copied before, and what the new host has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from popbox.migrate.copy.batch import Batch
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.limits import Limit
from popbox.migrate.copy.maildir import Staged, Target
from popbox.migrate.copy.progress import Meter
from popbox.migrate.oldhost import mbox
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.stores import Contents, Message
from popbox.migrate.oldhost.tree import Body, FileRequest, OldHostError

NS = 1_000_000_000


@dataclass(slots=True)
class Tally:
    """What a run did, and what it could not do."""

    copied: int = 0
    octets: int = 0
    known: int = 0
    moved: int = 0
    removed: int = 0
    later: int = 0  # vanished or changed while the old host ran: for the next pass
    deleted_there: int = 0  # placed by us, and fetched and deleted on the new host since
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another did as well."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(slots=True)
class Pace:
    """What every octet and file passes: the limits and the meter."""

    octets: Limit
    files: Limit
    meter: Meter

    def slowed(self, body: Body) -> Iterator[bytes]:
        """The same octets, no faster than allowed."""
        for chunk in body:
            self.octets.take(len(chunk))
            yield chunk


@dataclass(frozen=True, slots=True)
class Job:
    """One file of the old host to read, and what to do with its octets."""

    wanted: FileRequest
    take: Callable[[Body], None]


class BoxCopy:
    """The copying of one mailbox. ``jobs`` does what needs no reading and gives what does."""

    def __init__(self, address: str, target: Target, batch: Batch, pace: Pace, tally: Tally, *, final: bool) -> None:
        self.address, self.target, self.batch, self.pace, self.tally = address, target, batch, pace, tally
        self.final = final

    def jobs(self, contents: Contents, quoting: mbox.Quoting) -> Iterator[Job]:
        """Yield a job for each file to be read.

        Raises:
            OSError: the new host's disk refuses a write.
        """
        if contents.mbox is not None:
            yield from self._mbox(contents.mbox, quoting)
            return
        olds = keyed(contents.messages)
        if self.final and contents.whole:
            self._follow(olds)
        for key, message in olds.items():
            record = self.target.journal.records.get(key)
            if record is None:
                yield Job(FileRequest(message.path, message.entry), self._taker(key, message))
            else:
                self.tally.known += 1
                self.tally.deleted_there += self.target.place_of(record) is None
                self.pace.meter.known_already(1, message.entry.size)

    def _follow(self, olds: dict[bytes, Message]) -> None:
        """Do to our messages what the old host did to its own since: moved, deleted, or changed."""
        for record in list(self.target.journal.records.values()):
            old = olds.get(record.key)
            if old is None or old.entry.size != record.size:
                self.tally.removed += self.target.remove(record)
            elif (place := old.sub + b"/" + old.name) != record.place and self.target.move(record, place):
                self.tally.moved += 1
        self.target.sync_directories()

    def _taker(self, key: bytes, message: Message) -> Callable[[Body], None]:
        return lambda body: self._message(key, message, body)

    def _message(self, key: bytes, message: Message, body: Body) -> None:
        """Copy one message; it is placed with its batch."""
        self.pace.files.take(1)
        staged = self.batch.stage(self.target)
        try:
            for chunk in self.pace.slowed(body):
                staged.write(chunk)
            place = message.sub + b"/" + message.name
            record = Record(key, staged.size, staged.sha256, message.entry.mtime_ns, place)
            if staged.size != message.entry.size:
                self.put_off(message.path, f"{staged.size} octets came, {message.entry.size} were announced")
                staged.drop()
            elif self._is_there(record, message.uid):
                staged.drop()
            else:
                self.batch.add(staged, record)
                self.count_copied(staged.size)
        except BaseException:
            staged.drop()
            raise

    def put_off(self, path: bytes, why: str) -> None:
        """The old host was at work on it: normal while it runs, a problem in the final pass."""
        if self.final:
            self.tally.problems.append(f"{self.address}: {shown(path)}: {why}")
        else:
            self.tally.later += 1

    def _is_there(self, record: Record, uid: bytes) -> bool:
        """Whether the new host has that name already: ours from before a lost journal, or a stranger, who is kept."""
        places = [place for place in self.target.places.get(uid, []) if not self._is_ours(place)]
        if not places:
            return False
        if self.target.same(places[0], record.size) != record.sha256:
            told = f"the new host has another message of that name: {shown(places[0])}"
            self.tally.problems.append(f"{self.address}: {shown(record.key)}: {told}; not copied")
        else:
            self.target.adopt(record._replace(place=places[0]))
            self.tally.known += 1
        self.pace.meter.known_already(1, record.size)
        return True

    def _is_ours(self, place: bytes) -> bool:
        uid = place.partition(b"/")[2].partition(b":")[0]
        return uid in self.target.journal.records or uid + b":1" in self.target.journal.records

    def count_copied(self, octets: int) -> None:
        """One message more is on its way."""
        self.tally.copied += 1
        self.tally.octets += octets
        self.pace.meter.done(octets)

    def _mbox(self, wanted: FileRequest, quoting: mbox.Quoting) -> Iterator[Job]:
        """The whole mbox, unless it is as it was when it was converted to its end."""
        if self.target.journal.converted == (wanted.entry.size, wanted.entry.mtime_ns):
            self.tally.known += len(self.target.journal.records)
            self.pace.meter.known_already(0, wanted.entry.size)
            return
        yield Job(wanted, lambda body: _Mbox(self, wanted, quoting).convert(body))


def keyed(messages: list[Message]) -> dict[bytes, Message]:
    """Messages by UIDL, oldest first; a second one of the same UIDL is ``UIDL:1``, which no UIDL can be."""
    found: dict[bytes, Message] = {}
    for message in sorted(messages, key=lambda m: (m.entry.mtime_ns, m.sub, m.name)):
        key, number = message.uid, 0
        while key in found:
            number += 1
            key = message.uid + b":%d" % number
        found[key] = message
    return found


class _Mbox:
    """One mbox on its way into a Maildir: the same order, names made from date and content, so the same each time."""

    def __init__(self, box: BoxCopy, wanted: FileRequest, quoting: mbox.Quoting) -> None:
        self.box, self.wanted, self.quoting = box, wanted, quoting
        self.seen: set[bytes] = set()
        self.twins: dict[str, int] = {}
        self.doubts: list[str] = []
        self.number = self.last_s = 0
        self.latest_s = wanted.entry.mtime_ns // NS

    def convert(self, body: Body) -> None:
        """Take the messages one by one; afterwards, in the final pass, drop those that are no longer there."""
        octets = 0
        try:
            octets = self._take_apart(body)
        except OldHostError as why:
            self.box.tally.problems.append(f"{self.box.address}: {shown(self.wanted.path)}: {why}")
            return
        if octets != self.wanted.entry.size:
            self.box.put_off(self.wanted.path, f"{octets} octets came, {self.wanted.entry.size} were announced")
            return
        self.box.batch.commit()
        if self.doubts:  # not converted to its end, so that each pass says so
            file = f"{self.box.address}: {shown(self.wanted.path)}"
            self.box.tally.problems += [f"{file}: {doubt}" for doubt in self.doubts]
            return
        journal = self.box.target.journal
        if self.box.final:
            for record in [record for key, record in journal.records.items() if key not in self.seen]:
                self.box.tally.removed += self.box.target.remove(record)
        journal.write_converted(self.wanted.entry.size, self.wanted.entry.mtime_ns)

    def _take_apart(self, body: Body) -> int:
        octets = 0

        def counted() -> Iterator[bytes]:
            nonlocal octets
            for chunk in self.box.pace.slowed(body):
                octets += len(chunk)
                yield chunk

        staged: Staged | None = None
        head = start = b""
        try:
            for piece in mbox.split(counted(), self.quoting, self.doubts):
                if piece.start:
                    if staged is not None:
                        self._add(staged, start, head)
                    self.box.pace.files.take(1)
                    staged, head, start = self.box.batch.stage(self.box.target), b"", piece.start
                if staged is not None:
                    staged.write(piece.octets)
                    head += piece.octets[: mbox.HEAD_OCTETS - len(head)]
            if staged is not None:
                last, staged = staged, None
                self._add(last, start, head)
        except BaseException:
            if staged is not None:
                staged.drop()
            raise
        return octets

    def _add(self, staged: Staged, start: bytes, head: bytes) -> None:
        """One whole message: known by its content, so that a later pass finds it again wherever it stands then."""
        self.number += 1
        digest = staged.sha256
        self.twins[digest] = self.twins.get(digest, -1) + 1
        key = b"%s.%d" % (digest[:32].encode(), self.twins[digest])
        self.seen.add(key)
        known = self.box.target.journal.records.get(key)
        if known is not None or mbox.is_folder_data(head):
            staged.drop()
            self._skip(known)
            return
        own_s = mbox.date_of(start, head)
        self.last_s = max(min(self.latest_s if own_s is None else own_s, self.latest_s), self.last_s)
        name = b"%d.M%06dP%s.popbox" % (self.last_s, self.number, digest[:16].encode())
        flags = mbox.flags_of(head)
        place = b"new/" + name if flags is None else b"cur/" + name + b":2," + flags
        self.box.batch.add(staged, Record(key, staged.size, digest, self.last_s * NS + self.number, place))
        self.box.count_copied(staged.size)

    def _skip(self, known: Record | None) -> None:
        """One that an earlier pass brought, or the notes of a mail reader."""
        if known is None:
            self.box.tally.notes.append(f"{self.box.address}: {shown(self.wanted.path)}: a mail reader's own notes")
            return
        self.last_s = max(self.last_s, known.mtime_ns // NS)
        self.box.tally.known += 1
        self.box.tally.deleted_there += self.box.target.place_of(known) is None
        self.box.pace.meter.known_already(1, known.size)
