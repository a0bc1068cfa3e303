"""One Maildir of the new host, as an import writes to it. What the new host delivered there is never touched.

A message is written to ``tmp/popbox-import-N``, given its date, synced, read back and compared, noted in the journal
(synced too), linked to its place, which never overwrites, and taken out of tmp: new/ and cur/ hold whole messages only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from popbox.errors import PopboxError
from popbox.migrate.copy_journal import Journal, Record, sync_directory

STAGED = b"popbox-import-"
READ_OCTETS = 1 << 20


class Staged:
    """A message in tmp/, open: ``write`` its octets, then `sync_and_check`, then `Target.place`."""

    def __init__(self, target: Target, path: bytes) -> None:
        """Make the file; the target's owner gets it."""
        self.target, self.path = target, path
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.file = os.open(path, flags, 0o600)
        self._hash = hashlib.sha256()
        self.size = 0
        self.record: Record | None = None

    def write(self, octets: bytes) -> None:
        """Append."""
        self._hash.update(octets)
        self.size += len(octets)
        view = memoryview(octets)
        while view:
            view = view[os.write(self.file, view) :]

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._hash.hexdigest()

    def dress(self, record: Record) -> None:
        """Give it its date and owner; the record says where it is to go."""
        os.utime(self.file, ns=(record.mtime_ns, record.mtime_ns))
        if self.target.owner is not None:
            os.fchown(self.file, *self.target.owner)
        self.record = record

    def sync_and_check(self) -> None:
        """Put it on disk, drop it from the page cache, read it again and compare. Raises PopboxError."""
        os.fsync(self.file)
        os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_DONTNEED)
        again, offset = hashlib.sha256(), 0
        while octets := os.pread(self.file, READ_OCTETS, offset):
            again.update(octets)
            offset += len(octets)
        if offset != self.size or again.digest() != self._hash.digest():
            raise PopboxError(f"{os.fsdecode(self.path)}: {offset} octets read back are not the {self.size} written")

    def drop(self) -> None:
        """Forget it, whatever has come of it."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)  # noqa: PTH108 - octets


class Target:
    """The Maildir of one mailbox, with its journal."""

    def __init__(self, maildir: Path, journal: Path, owner: tuple[int, int] | None) -> None:
        """Make what is missing, settle what a killed run left. ``owner``: uid and gid to give files to, None: ours."""
        self.maildir, self.owner = os.fsencode(maildir), owner
        self._make(maildir)
        self.journal = Journal(journal)
        self._remove_staged()
        self.places = self._index()
        self._settle()

    def _make(self, maildir: Path) -> None:
        maildir.parent.mkdir(parents=True, exist_ok=True)
        for path in (maildir, *(maildir / part for part in ("tmp", "new", "cur"))):
            with contextlib.suppress(FileExistsError):
                path.mkdir(0o700)
                if self.owner is not None:
                    os.chown(path, *self.owner)

    def _remove_staged(self) -> None:
        for name in os.listdir(self.maildir + b"/tmp"):
            if name.startswith(STAGED):
                os.unlink(self.maildir + b"/tmp/" + name)  # noqa: PTH108 - octets

    def _index(self) -> dict[bytes, list[bytes]]:
        """UIDL -> places, of everything that is there, whoever put it there."""
        places: dict[bytes, list[bytes]] = {}
        for part in (b"new", b"cur"):
            for name in os.listdir(self.maildir + b"/" + part):
                if not name.startswith(b"."):
                    places.setdefault(name.partition(b":")[0], []).append(part + b"/" + name)
        return places

    def _settle(self) -> None:
        """What was taken is in its place, or it is copied again."""
        there = {place for places in self.places.values() for place in places}
        for record in self.journal.unsettled():
            if record.place not in there:
                self.journal.write_removed(record.key)
        if self.journal.unsettled():
            self.journal.write_placed()

    def place_of(self, record: Record) -> bytes | None:
        """Where a message of ours is now: where we put it, or where the new host's POP3 server has moved it."""
        places = self.places.get(uid_of(record.place), [])
        if record.place in places:
            return record.place
        return places[0] if len(places) == 1 else None

    def stage(self, number: int) -> Staged:
        """A new file in tmp/."""
        return Staged(self, self.maildir + b"/tmp/" + STAGED + b"%d" % number)

    def place(self, staged: Iterable[Staged]) -> list[Record]:
        """Link synced messages to their places; returns those whose place another message has, which are left."""
        these = [(one, one.record) for one in staged if one.record is not None]
        self.journal.write_taken([record for _, record in these])
        taken: list[Record] = []
        for one, record in these:
            try:
                os.link(one.path, self.maildir + b"/" + record.place)
            except FileExistsError:
                taken.append(record)
                self.journal.write_removed(record.key)
            else:
                self.places.setdefault(uid_of(record.place), []).append(record.place)
            one.drop()
        self.sync_directories()
        self.journal.write_placed()
        return taken

    def same(self, place: bytes, size: int) -> str | None:
        """The hash of a message that is there, where it has this size; None where it cannot be it."""
        path = self.maildir + b"/" + place
        try:
            if os.lstat(path).st_size != size:
                return None
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    def move(self, record: Record, place: bytes) -> bool:
        """Move a message of ours as the old host moved it; False where another message has the name."""
        here = self.place_of(record)
        if here != place:
            old, new = self.maildir + b"/" + record.place, self.maildir + b"/" + place
            if here != record.place or os.path.lexists(new):
                return False
            os.rename(old, new)  # noqa: PTH104 - octets
            self.places[uid_of(place)] = [place]
        self.journal.write_moved(record.key, place)
        return True

    def remove(self, record: Record) -> bool:
        """Remove a message of ours, which the old host no longer has; False where it is gone already."""
        here = self.place_of(record)
        if here is not None:
            os.unlink(self.maildir + b"/" + here)  # noqa: PTH108 - octets
            self.places[uid_of(here)].remove(here)
        self.journal.write_removed(record.key)
        return here is not None

    def sync_directories(self) -> None:
        """Make the names in new/ and cur/ durable."""
        for part in (b"new", b"cur"):
            sync_directory(self.maildir + b"/" + part)


def uid_of(place: bytes) -> bytes:
    """The UIDL of a place."""
    return place.partition(b"/")[2].partition(b":")[0]
