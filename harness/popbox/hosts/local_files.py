"""The files of a mail host on this machine, below its home."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from popbox.errors import HostError
from popbox.hosts.base import DirEntry, Found

_ASSIGNABLE = re.compile(r"[^:\x00-\x1f\x7f\ud800-\udfff]+")  # as mailhost asks of a home


def scratch() -> str:
    """The directory that hosts of this machine are made in.

    Raises:
        HostError: there is none, or its path cannot stand in users/assign.
    """
    try:
        place = str(Path(tempfile.gettempdir()).absolute())  # Python leaves `.` as it is
    except FileNotFoundError as error:
        raise HostError(f"{error.strerror}: set TMPDIR to one") from error
    if not _ASSIGNABLE.fullmatch(place):
        raise HostError(
            f"{place!a} has ':', a control character or no UTF-8 in it, and a host's path stands in users/assign: "
            "set TMPDIR to another directory"
        )
    return place


def loopback() -> str:
    """This machine's own address, for ADDR:PORT: 127.0.0.1, or [::1] where there is no IPv4."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", 0))
        except OSError:
            return "[::1]"
    return "127.0.0.1"


def remove_tree(top: Path) -> None:
    """Remove a folder with all in it, also what was closed to its owner, as a scenario closes a Maildir."""
    shutil.rmtree(top, ignore_errors=True)
    for folder, inner, _ in os.walk(top):  # what is left; each before it is looked into
        for path in (Path(folder, name) for name in inner):
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(top, ignore_errors=True)


class LocalReading:
    """The methods of ``hosts.base.Host`` that look at files."""

    def home(self) -> str:
        """See Host."""
        raise NotImplementedError

    def describe(self) -> str:
        """See Host."""
        raise NotImplementedError

    def find(self, maildir: str, needle: str) -> list[Found]:
        """See Host."""
        top = Path(self.home(), maildir)
        found = _holding([*_files(top / "new", deep=False), *_files(top / "cur", deep=False)], top, (needle,))
        return [one for one in found if one.readable or not needle]

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        """See Host."""
        home = Path(self.home())
        return list(_holding(_files(home / "popboxes"), home, needles))

    @contextmanager
    def _place(self, verb: str, path: str) -> Iterator[Path]:
        """A path below the home; what the system refuses is a HostError."""
        try:
            yield Path(self.home(), path)
        except OSError as error:
            raise HostError(f"cannot {verb} {path} on {self.describe()}: {error.strerror}") from error

    def read(self, path: str) -> bytes:
        """See Host."""
        with self._place("read", path) as file:
            return file.read_bytes()

    def mode(self, path: str) -> int:
        """See Host."""
        with self._place("look at", path) as file:
            return file.stat().st_mode & 0o7777


class LocalFiles(LocalReading):
    """Those that change them, too."""

    uid: int  # whose the mail is

    def write(self, path: str, octets: bytes) -> None:
        """See Host."""
        with self._place("write", path) as file:
            new = not file.exists()
            file.write_bytes(octets)
            if new:
                file.chmod(0o644)  # whatever the umask: each MTA reads its control files as a user of its own
            if new and path.startswith("popboxes/") and os.geteuid() == 0:
                os.chown(file, self.uid, self.uid)

    def chmod(self, path: str, mode: int) -> None:
        """See Host."""
        with self._place("change the mode of", path) as file:
            file.chmod(mode)

    def remove(self, path: str) -> None:
        """See Host."""
        with self._place("remove", path) as place:
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink()


def _files(top: Path, *, deep: bool = True) -> Iterator[Path]:
    """What is in a folder and is none itself. One that has vanished since is empty; ``Path.rglob`` would raise."""
    for folder, _, names in os.walk(top):
        yield from (Path(folder, name) for name in names)
        if not deep:
            return


def _holding(paths: Iterable[Path], top: Path, needles: tuple[str, ...]) -> Iterator[Found]:
    """The regular files that hold one of the texts or cannot be read; files that vanish are left out."""
    wanted = [needle.encode() for needle in needles]
    for path in sorted(paths):
        try:
            seen, octets, readable = path.lstat(), b"", True
            if not stat.S_ISREG(seen.st_mode):
                continue
            octets = path.read_bytes()
        except FileNotFoundError:
            continue
        except PermissionError:
            readable = False
        if not readable or any(needle in octets for needle in wanted):
            name, mode = str(path.relative_to(top)), stat.S_IMODE(seen.st_mode)
            yield Found(DirEntry(name, mode, seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime), octets, readable)
