"""What the copying of a mailbox works with, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from popbox.migrate.copy.batch import Batch
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.limits import Limit
from popbox.migrate.copy.maildir import Target, uid_of
from popbox.migrate.copy.progress import Meter
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.split import Parts
from popbox.migrate.oldhost.mboxes.survey import Reading
from popbox.migrate.oldhost.tree import Body, FileRequest

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class MboxRead:
    """One mbox that was taken apart: whose, which file, how it was read, and what its octets are."""

    address: str
    file: str
    reading: Reading
    parts: Parts


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
    mboxes: list[MboxRead] = field(default_factory=list)

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


class BoxWork:
    """One mailbox at work."""

    def __init__(self, address: str, target: Target, batch: Batch, pace: Pace, tally: Tally, *, final: bool) -> None:
        self.address, self.target, self.batch, self.pace, self.tally = address, target, batch, pace, tally
        self.final = final
        self.ours = {uid_of(record.place) for record in target.journal.records.values()}

    def put_off(self, path: bytes, why: str) -> None:
        """The old host was at work on it: normal while it runs, a problem in the final pass."""
        if self.final:
            self.tally.problems.append(f"{self.address}: {shown(path)}: {why}")
        else:
            self.tally.later += 1

    def count_copied(self, octets: int) -> None:
        """One message more is on its way."""
        self.tally.copied += 1
        self.tally.octets += octets
        self.pace.meter.done(octets)

    def is_there(self, record: Record, uid: bytes) -> bool:
        """Whether the new host has that name already: ours from before a lost journal, or a stranger, who is kept."""
        places = self.target.places.get(uid, [])
        if not places or uid in self.ours:
            return False
        if self.target.same(places[0], record.size) != record.sha256:
            told = f"the new host has another message of that name: {shown(places[0])}"
            self.tally.problems.append(f"{self.address}: {shown(record.key)}: {told}; not copied")
        else:
            self.ours.add(uid)
            self.target.adopt(record._replace(place=places[0]))
            self.tally.known += 1
        self.pace.meter.known_already(1, record.size)
        return True
