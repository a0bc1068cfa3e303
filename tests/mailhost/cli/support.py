"""A scratch home and the mailhost command, run on it in this process."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailhost.cli import main

HOWTO_CRYPT = "DmIMm9e5Hc8ic"


def with_popuser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see the account that every mail host has, also on a machine that is none: lint looks for it."""
    by_name = pwd.getpwnam
    known = pwd.struct_passwd(("popuser", "x", 888, 888, "", "/var/qmail/popboxes", "/bin/true"))

    def getpwnam(name: str) -> pwd.struct_passwd:
        try:
            return by_name(name)
        except KeyError:
            if name != "popuser":
                raise
            return known

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)


@dataclass(frozen=True, slots=True)
class Host:
    """A home and its command; `ok` and `refused` state the exit code too."""

    home: Path

    def run(self, *words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, ["--home", str(self.home), *words], input=stdin, catch_exceptions=False)

    def ok(self, *words: str, stdin: str | bytes | None = None) -> str:
        done = self.run(*words, stdin=stdin)
        assert done.exit_code == 0, done.output
        return done.stdout

    def refused(self, *words: str, code: int = 2, stdin: str | bytes | None = None) -> str:
        before = self.tree()
        done = self.run(*words, stdin=stdin)
        assert done.exit_code == code, done.output
        assert self.tree() == before, "a refused change must change nothing"
        return done.stderr

    def text(self, path: str) -> str:
        return (self.home / path).read_text()

    def tree(self) -> dict[str, tuple[int, int, bytes]]:
        """Every path below the home with mode, owner and text; without what tells an inode, or is random."""
        volatile = {"users/.mailhost/lock", "users/.mailhost/assign", "users/poppasswd.sorted", "users/scramkey"}
        found = {str(p.relative_to(self.home)): p for p in self.home.rglob("*")}
        return {
            name: (path.stat().st_mode, path.stat().st_uid, path.read_bytes() if path.is_file() else b"")
            for name, path in sorted(found.items())
            if name not in volatile
        }

    @property
    def owner(self) -> str:
        """user:uid:gid as users/assign must have it: popuser's where root runs the tests."""
        if os.geteuid() == 0:
            try:
                entry = pwd.getpwnam("popuser")
            except KeyError:
                return "popuser:888:888"
            return f"popuser:{entry.pw_uid}:{entry.pw_gid}"
        return f"{pwd.getpwuid(os.geteuid()).pw_name}:{os.geteuid()}:{os.getegid()}"
