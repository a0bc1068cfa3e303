"""A throw-away qmail home whose boxes the delivering user can enter."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailhost.qmail import assign
from mailhost.qmail.control import Controls, Reader, load

UID = os.getuid() or 888  # root may not be delivered to
GID = os.getgid() or 888


class Home:
    """The files of a host, written in one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("control", "users", "alias", "box"):
            (path / name).mkdir()
        self.own(path / "alias")
        self.control("me", "mx1.example.net\n")

    def control(self, name: str, text: str | bytes) -> Path:
        """Write control/``name``."""
        path = self.path / "control" / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def controls(self, reader: Reader = Reader.ALL) -> Controls:
        """The current control files."""
        return load(self.path, reader)

    def assign(self, *lines: str, end: str = ".\n", build: bool = True) -> Path:
        """Write users/assign, and users/cdb from it. ``BOX`` in a line stands for a box, ``IDS`` for user:uid:gid."""
        text = "".join(f"{line}\n" for line in lines) + end
        path = self.path / "users/assign"
        path.write_text(text.replace("BOX", str(self.path / "box")).replace("IDS", f"popuser:{UID}:{GID}"))
        if build:
            assign.newu(self.path)
        return path

    def box(self, name: str, dot_qmail: str | None = None, maildir: bool = False, mode: int = 0o700) -> Path:
        """Make a home directory owned by the mail user, with a .qmail file and a maildir if asked for."""
        path = self.path / "box" / name
        path.mkdir(parents=True, exist_ok=True)
        if maildir:
            for part in ("tmp", "new", "cur"):
                (path / "Maildir" / part).mkdir(parents=True, exist_ok=True)
        if dot_qmail is not None:
            (path / ".qmail").write_text(dot_qmail)
        self.own(path)
        path.chmod(mode)
        return path

    @staticmethod
    def own(path: Path) -> None:
        """Give everything below ``path`` to the mail user, unless we are that user."""
        if os.getuid() == 0:
            for each in (path, *path.rglob("*")):
                os.chown(each, UID, GID, follow_symlinks=False)

    def virtual(self, domain: str = "domain.com", prefix: str = "domain-com") -> None:
        """Accept mail for a domain and give it a prefix, as the HOWTO does."""
        self.control("rcpthosts", f"{domain}\n")
        self.control("virtualdomains", f"{domain}:{prefix}\n")


@contextmanager
def throw_away() -> Iterator[Path]:
    """A directory that other users may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="popbox-qmail-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        for each in path.rglob("*"):  # a plain user must be let into a directory to empty it
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o700)
        shutil.rmtree(path)
