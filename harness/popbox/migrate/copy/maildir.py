"""One Maildir of the new host, as an import writes to it. What the new host delivered there is never touched.

A message is written to ``tmp/popbox-import-N``, given its date, synced, read back and compared, noted in the journal
(synced too), linked to its place, which never overwrites, and taken out of tmp: new/ and cur/ hold whole messages only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from popbox.errors import PopboxError
from popbox.migrate.copy.folder import Folder, FolderError
from popbox.migrate.copy.journal import Journal, Record

STAGED = b"popbox-import-"
READ_OCTETS = 1 << 20


class Staged:
    """A message in tmp/, open: ``write`` its octets, then `sync_and_check`, then `Target.place`."""

    def __init__(self, target: Target, name: bytes, tmp: int) -> None:
        """Make the file in the target's open ``tmp``; the target's owner gets it."""
        self.target, self.name = target, name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.file = os.open(name, flags, 0o600, dir_fd=tmp)
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

    @property
    def path(self) -> str:
        """Where it was made, for messages."""
        return os.fsdecode(self.target.maildir + b"/tmp/" + self.name)

    def dress(self, record: Record) -> None:
        """Give it its date and owner; the record says where it is to go."""
        os.utime(self.file, ns=(record.mtime_ns, record.mtime_ns))
        if self.target.owner is not None:
            os.fchown(self.file, *self.target.owner)
        self.record = record

    def sync_and_check(self) -> None:
        """Put it on disk, drop it from the page cache, read it again and compare.

        Raises:
            PopboxError: the copy on disk differs from what was read.
        """
        os.fsync(self.file)
        os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_DONTNEED)
        again, offset = hashlib.sha256(), 0
        while offset <= self.size:  # one octet more than there should be is asked for, so that a longer file shows
            octets = os.pread(self.file, wanted := min(READ_OCTETS, self.size + 1 - offset), offset)
            again.update(octets)
            offset += len(octets)
            if len(octets) < wanted:
                break
        if offset != self.size or again.digest() != self._hash.digest():
            raise PopboxError(f"{self.path}: {offset} octets read back are not the {self.size} written")

    def drop(self, tmp: int | None = None) -> None:
        """Forget it, whatever has come of it; ``tmp`` is the open folder it lies in, None: found by a walk."""
        if self.file < 0:
            return
        os.close(self.file)
        self.file = -1
        with contextlib.suppress(OSError, FolderError):
            if tmp is not None:
                os.unlink(self.name, dir_fd=tmp)
                return
            with self.target.folder.open(b"tmp") as folder:
                os.unlink(self.name, dir_fd=folder)


@dataclass(frozen=True, slots=True)
class Placing:
    """What did not get its place: another message has it, or the file in tmp/ is no longer the one written."""

    conflicts: list[Record] = field(default_factory=list)
    refused: list[FolderError] = field(default_factory=list)


class Target:
    """The Maildir of one mailbox, with its journal."""

    def __init__(self, maildir: Path, journal: Path, owner: tuple[int, int] | None, base: Path | None = None) -> None:
        """Make what is missing, settle what a killed run left. ``owner``: uid and gid to give files to, None: ours.

        ``base`` is the directory above that is trusted (None: the one that the Maildir lies in).

        Raises:
            FolderError: the Maildir, or a folder on the way, is a link or no folder.
        """
        self.maildir, self.owner = os.fsencode(maildir), owner
        if base is None:
            maildir.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Folder(base or maildir.parent, maildir)
        self.folder.make(owner)
        self.journal = Journal(journal)
        self._writing = threading.Lock()  # a batch is placed while the next one is read
        self._remove_staged()
        self.places = self._index()
        self._settle()

    def _remove_staged(self) -> None:
        with self.folder.open(b"tmp") as tmp:
            for name in map(os.fsencode, os.listdir(tmp)):
                if name.startswith(STAGED):
                    with contextlib.suppress(IsADirectoryError, PermissionError):  # none of ours then
                        os.unlink(name, dir_fd=tmp)

    def _index(self) -> dict[bytes, list[bytes]]:
        """UIDL -> places, of everything that is there, whoever put it there."""
        places: dict[bytes, list[bytes]] = {}
        for part in (b"new", b"cur"):
            with self.folder.open(part) as folder:
                names = map(os.fsencode, os.listdir(folder))
            for name in names:
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

    def stage(self, number: int, tmp: int) -> Staged:
        """A new file in the open ``tmp``."""
        return Staged(self, STAGED + b"%d" % number, tmp)

    def prepare(self) -> None:
        """Make durable what was made for this mailbox: folders and journal. A folder that is gone is `place`'s to tell.

        Raises:
            OSError: the disk refuses a write.
        """
        with contextlib.suppress(FolderError):
            self.folder.sync_made()
        self.journal.make()

    def place(self, staged: Iterable[Staged]) -> Placing:
        """Link synced messages to their places, after `prepare`; what cannot have its place leaves the journal again.

        Raises:
            FolderError: a folder cannot be opened; nothing was placed.
            OSError: the disk refuses a write. What was placed is found in its place by the next run.
        """
        these = [(one, one.record) for one in staged if one.record is not None]
        placing = Placing()
        parts = {b"tmp", *(part_of(record.place) for _, record in these)}
        with self._writing, self.folder.open_parts(parts) as at:
            self.journal.write_taken([record for _, record in these])
            for one, record in these:
                try:
                    self._link(one, record.place, at)
                except FileExistsError:
                    placing.conflicts.append(record)
                    self.journal.write_removed(record.key)
                except FolderError as why:
                    placing.refused.append(why)
                    self.journal.write_removed(record.key)
                else:
                    self.places.setdefault(uid_of(record.place), []).append(record.place)
                one.drop(at[b"tmp"])
            for part in at.keys() - {b"tmp"}:
                os.fsync(at[part])
            self.journal.write_placed()
        return placing

    def adopt(self, record: Record) -> None:
        """Note a message that is in its place already."""
        with self._writing:
            self.journal.write_taken([record])
            self.journal.write_placed()

    def _link(self, staged: Staged, place: bytes, at: dict[bytes, int]) -> None:
        """Give a message its place; it must be the file that we wrote, whoever has its name in tmp/ by now."""
        part, _, name = place.partition(b"/")
        tmp, folder = at[b"tmp"], at[part]
        try:
            os.link(staged.name, name, src_dir_fd=tmp, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError as why:
            raise FolderError(f"{staged.path}: was taken away before it could be placed") from why
        if not os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(staged.file)):
            os.unlink(name, dir_fd=folder)
            raise FolderError(f"{staged.path}: is another file than the one that was written")

    def same(self, place: bytes, size: int) -> str | None:
        """The hash of a message that is there, where it has this size; None where it cannot be it."""
        part, _, name = place.partition(b"/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            with self.folder.open(part) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                    return None
                with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, FolderError):
            return None

    def move(self, record: Record, place: bytes) -> bool:
        """Move a message of ours as the old host moved it; False where another message has the name."""
        here = self.place_of(record)
        if here != place:
            if here != record.place or not self._rename(record.place, place):
                return False
            self.places[uid_of(place)] = [place]
        self.journal.write_moved(record.key, place)
        return True

    def _rename(self, old: bytes, new: bytes) -> bool:
        """False where another message has the name."""
        (source, _, name), (target, _, wanted) = old.partition(b"/"), new.partition(b"/")
        with self.folder.open(source) as above, self.folder.open(target) as folder:
            with contextlib.suppress(FileNotFoundError):
                os.stat(wanted, dir_fd=folder, follow_symlinks=False)
                return False
            os.rename(name, wanted, src_dir_fd=above, dst_dir_fd=folder)
        return True

    def remove(self, record: Record) -> bool:
        """Remove a message of ours, which the old host no longer has; False where it is gone already."""
        here = self.place_of(record)
        if here is not None:
            part, _, name = here.partition(b"/")
            with self.folder.open(part) as folder:
                os.unlink(name, dir_fd=folder)
            self.places[uid_of(here)].remove(here)
        self.journal.write_removed(record.key)
        return here is not None

    def sync_directories(self) -> None:
        """Make the names in new/ and cur/ durable."""
        for part in (b"new", b"cur"):
            with self.folder.open(part) as folder:
                os.fsync(folder)


def part_of(place: bytes) -> bytes:
    """``new`` or ``cur``."""
    return place.partition(b"/")[0]


def uid_of(place: bytes) -> bytes:
    """The UIDL of a place."""
    return place.partition(b"/")[2].partition(b":")[0]
