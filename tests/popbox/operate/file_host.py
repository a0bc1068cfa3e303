"""A host that is files only, for backup and restore."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from popbox.errors import HostError
from popbox.hosts.base import Command

BOX = "popboxes/domain-com/joe"
POPUSER = 888


class Files:
    """A host that is files only: its services note what is done with them."""

    mta = "stand-in"

    def __init__(self, home: Path) -> None:
        for part in ("control", "users/domains", "users/.mailhost", "alias", "popboxes", "queue/lock"):
            (home / part).mkdir(parents=True)
        (home / "alias").chmod(0o2755)  # as qmail's installer has it: each folder in it inherits the bit
        (home / "control/me").write_text("mail.example.net\n")
        (home / "users/poppasswd").write_text("")
        (home / "users/poppasswd").chmod(0o600)
        self.place, self.done = home, list[str]()
        self.thawed: Callable[[], object] = lambda: None
        self.fails = ""

    def home(self) -> str:
        return str(self.place)

    def describe(self) -> str:
        return "host files"

    def beside(self, *argv: str) -> Command:
        return Command([sys.executable, *argv], {})

    def pause(self, service: str, on: bool) -> None:
        if not on and service == "pop3":
            self.thawed()

    def stop(self, service: str) -> None:
        self.done.append(f"stop {service}")

    def restart(self, service: str, deadline: float) -> None:
        self.done.append(f"restart {service}")
        if self.fails and self.done.count(self.fails) == 1 and self.done[-1] == self.fails:
            raise HostError("does not answer")

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """Every path with mode, owner and octets; times of files."""
        found = {}
        for path in sorted(self.place.rglob("*"), key=os.fsencode):
            status = path.lstat()
            octets = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            when = status.st_mtime if octets is not None else 0
            found[str(path.relative_to(self.place))] = (status.st_mode, status.st_uid, status.st_gid, when, octets)
        return found


def moved_in(old: Files, new: Files, path: Path) -> None:
    """An archive names its host's home: the new one takes that place."""
    old.place.rename(old.place.with_name("gone"))
    new.place.rename(old.place)
    new.place = old.place
