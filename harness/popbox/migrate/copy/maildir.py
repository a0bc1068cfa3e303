"""One Maildir of the new host, as an import writes to it. What the new host delivered there is never touched.

A message is written to ``tmp/popbox-import-N``, given its date, synced, read back and compared, noted in the journal
(synced too), linked to its place, which never overwrites, and taken out of tmp: new/ and cur/ hold whole messages only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from popbox.errors import PopboxError
from popbox.migrate.copy.folder import Folder, FolderError
from popbox.migrate.copy.journal import Journal, Record

STAGED = b"popbox-import-"
READ_OCTETS = 1 << 20


class Staged:
    """A message in tmp/, open: ``write`` its octets, then `sync_and_check`, then `Target.place`."""

    def __init__(self, target: Target, name: bytes) -> None:
        """Make the file; the target's owner gets it."""
        self.target, self.name = target, name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with target.folder.open(b"tmp") as tmp:
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
        while octets := os.pread(self.file, READ_OCTETS, offset):
            again.update(octets)
            offset += len(octets)
        if offset != self.size or again.digest() != self._hash.digest():
            path = os.fsdecode(self.target.maildir + b"/tmp/" + self.name)
            raise PopboxError(f"{path}: {offset} octets read back are not the {self.size} written")

    def drop(self) -> None:
        """Forget it, whatever has come of it."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
            with contextlib.suppress(OSError, FolderError), self.target.folder.open(b"tmp") as tmp:
                os.unlink(self.name, dir_fd=tmp)


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

    def stage(self, number: int) -> Staged:
        """A new file in tmp/."""
        return Staged(self, STAGED + b"%d" % number)

    def place(self, staged: Iterable[Staged]) -> list[Record]:
        """Link synced messages to their places; returns those whose place another message has, which are left."""
        these = [(one, one.record) for one in staged if one.record is not None]
        self.journal.write_taken([record for _, record in these])
        taken: list[Record] = []
        for one, record in these:
            try:
                self._link(one, record.place)
            except FileExistsError:
                taken.append(record)
                self.journal.write_removed(record.key)
            else:
                self.places.setdefault(uid_of(record.place), []).append(record.place)
            one.drop()
        self.sync_directories()
        self.journal.write_placed()
        return taken

    def _link(self, staged: Staged, place: bytes) -> None:
        """Give a message its place; it must be the file that we wrote, whoever has its name in tmp/ by now."""
        part, _, name = place.partition(b"/")
        with self.folder.open(b"tmp") as tmp, self.folder.open(part) as folder:
            path = os.fsdecode(self.maildir + b"/tmp/" + staged.name)
            try:
                os.link(staged.name, name, src_dir_fd=tmp, dst_dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError as why:
                raise FolderError(f"{path}: was taken away before it could be placed") from why
            if not os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(staged.file)):
                os.unlink(name, dir_fd=folder)
                raise FolderError(f"{path}: is another file than the one that was written")

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


def uid_of(place: bytes) -> bytes:
    """The UIDL of a place."""
    return place.partition(b"/")[2].partition(b":")[0]
