"""Where the files lie below the home, and whose they are."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts.errors import BusyError, InputError
from mailhost.system.beneath import Beneath
from mailhost.system.privileges import ID, NAME


@dataclass(frozen=True, slots=True)
class Identity:
    """The one user all boxes belong to, as it stands in users/assign and users/poppasswd."""

    user: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The qmail home (absolute) and the identity; every path of the package comes from here."""

    home: Path
    identity: Identity

    @property
    def control(self) -> Path:
        """control/, qmail's settings."""
        return self.home / "control"

    @property
    def users(self) -> Path:
        """users/: assign, cdb, poppasswd, domains/."""
        return self.home / "users"

    @property
    def parts(self) -> Path:
        """users/domains/: one part of users/assign for each domain."""
        return self.users / "domains"

    @property
    def poppasswd(self) -> Path:
        """users/poppasswd."""
        return self.users / "poppasswd"

    @property
    def temporary(self) -> Path:
        """users/poppasswd.temporary: second passwords of logins, each for a time."""
        return self.users / "poppasswd.temporary"

    @property
    def scramkey(self) -> Path:
        """users/scramkey: what the POP3 side makes up SCRAM salts from."""
        return self.users / "scramkey"

    @property
    def work(self) -> Path:
        """users/.mailhost/: the writers' lock and journal, and what we know of files we wrote."""
        return self.users / ".mailhost"

    @property
    def popboxes(self) -> Path:
        """popboxes/: <prefix>/<box>/ for each box, and .removed/ for what was taken away."""
        return self.home / "popboxes"

    @property
    def alias(self) -> Path:
        """alias/: the ~alias trio."""
        return self.home / "alias"

    def beneath(self, directory: Path) -> Beneath:
        """popboxes/ or another directory whose insides are not ours, opened.

        Raises:
            BusyError: it is missing, or cannot be opened.
        """
        require(directory)
        try:
            return Beneath(directory)
        except OSError as why:
            raise BusyError(f"{directory}: cannot be read: {why.strerror}") from why

    def box(self, prefix: str, name: str) -> Path:
        """The directory of one box or forward."""
        return Path(f"{self.home}/popboxes/{prefix}/{name}")

    def home_of(self, prefix: str, name: str) -> bytes:
        """The same directory as it stands in users/assign and users/poppasswd."""
        return os.fsencode(f"{self.home}/popboxes/{prefix}/{name}")

    def shown(self, path: Path) -> str:
        """A path as error texts name it: relative to the home where it lies below it."""
        return str(path.relative_to(self.home)) if path.is_relative_to(self.home) else str(path)


def require(directory: Path) -> None:
    """See that a directory of the host is there: qmail's files are all optional, so a mistyped home reads as empty.

    Raises:
        BusyError: it is missing, or cannot be looked at.
    """
    try:
        there = stat.S_ISDIR(directory.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except OSError as why:
        raise BusyError(f"{directory}: cannot be read: {why.strerror}") from why
    if not there:
        raise BusyError(f"{directory}: missing; `mailhost init` makes it")


def layout(home: Path) -> Layout:
    """The layout of a home, with the identity that this process can give to files.

    Raises:
        InputError: the path of the home cannot stand in a line of users/assign.
    """
    text = str(home)
    if not home.is_absolute() or any(c in ":\n\0" for c in text) or not text.isprintable():
        rule = "must be absolute, valid UTF-8, without ':' or control characters: it stands in users/assign"
        raise InputError(rule, field="home")
    return Layout(home, _identity())


def _identity() -> Identity:
    """Root gives the boxes to popuser (its passwd entry, else 888:888 as the HOWTO has it); anyone else keeps them."""
    uid = os.geteuid()
    try:
        entry = pwd.getpwnam(NAME) if uid == 0 else pwd.getpwuid(uid)
    except KeyError:
        return Identity(NAME, ID, ID) if uid == 0 else Identity(str(uid), uid, os.getegid())
    return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid if uid == 0 else os.getegid())
