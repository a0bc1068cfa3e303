"""A file that an export puts beside the messages of one Maildir, unless another program has been at work on it."""

from __future__ import annotations

import contextlib
import os
import stat
from hashlib import sha256
from pathlib import Path

from popbox.migrate.copy.accounts import write_private
from popbox.migrate.copy.journal import sync_directory
from popbox.migrate.export.place import Out
from popbox.migrate.verify.files.maildrop import TWIN

MOST_OCTETS = 1 << 30  # our choice: a file of 10,000,000 messages; a larger one is none of ours
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Beside:
    """The file ``name`` in the Maildir that is open as ``maildir``; ``noted`` has the digests of what we wrote."""

    def __init__(self, out: Out, path: Path, maildir: int, name: bytes, noted: Path) -> None:
        """Read what is there: ``before``, None for nothing, ``written_ns`` its date; ``ours``: we wrote it so."""
        self.before, self.written_ns = _read(maildir, name)
        notes = noted.read_text("utf-8").split() if noted.exists() else []
        self.ours = self.before is None or sha256(self.before).hexdigest() in notes
        self._out, self._path, self._maildir, self._name, self._noted = out, path, maildir, name, noted

    def write(self, text: bytes) -> None:
        """Replace it by a file of our owner: whole and on disk, or as it was before.

        Raises:
            OSError: the disk refuses a write.
        """
        if text == self.before:
            return
        self._noted.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{sha256(one).hexdigest()}\n" for one in (self.before, text) if one is not None)
        write_private(self._noted, "".join(lines).encode())  # both: a killed run may leave either
        staged = b".%s.popbox" % self._name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged, dir_fd=self._maildir)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(staged, flags, 0o600, dir_fd=self._maildir)
        with os.fdopen(file, "wb") as written:
            written.write(text)
            written.flush()
            if self._out.owner is not None:
                os.fchown(file, *self._out.owner)
            os.fsync(file)
        os.rename(staged, self._name, src_dir_fd=self._maildir, dst_dir_fd=self._maildir)
        sync_directory(self._path)


def _read(maildir: int, name: bytes) -> tuple[bytes | None, int]:
    """Octets and date; none of ours is a link, a directory, what is no regular file, and what is too large."""
    try:
        with os.fdopen(os.open(name, _READ, dir_fd=maildir), "rb") as file:
            found = os.fstat(file.fileno())
            usable = stat.S_ISREG(found.st_mode) and found.st_size <= MOST_OCTETS
            return file.read(found.st_size) if usable else b"", found.st_mtime_ns
    except FileNotFoundError:
        return None, 0
    except OSError:
        return b"", 0


def twin_of(name: bytes, uidl: bytes) -> str:
    """Why the UIDL of a message cannot be told: which id a second file of one name gets depends on its inode."""
    return "another message has its name too" if uidl.endswith(TWIN.encode()) and uidl != name else ""
