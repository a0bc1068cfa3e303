"""The corpus of hard messages in a box: placed in a Maildir, and found again.

Their names and mtimes both rise in the order of the table, so that servers that sort by either show them in it;
the last two disagree on purpose.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from popbox.message.hard import BODIES, Mail

CORPUS: tuple[Mail, ...] = BODIES
MARK = "popbox-check"
AGE_S = 7200  # every message is older than the second of any login (Q-POP3-4)
STEP_S = 3
BY_NAME = {mail.name: mail for mail in CORPUS}


def canonical(octets: bytes) -> bytes:
    """A file as RFC 1939 §3 sends it, dots not doubled: every line ends in CR LF, a CR LF that is stored stays one."""
    lines = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def doubled(octets: bytes) -> bytes:
    """A file as qmail-pop3d sends it: each LF becomes CR LF, whatever stands before it (Q-POP3-13)."""
    lines = octets.replace(b"\n", b"\r\n")
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


class Maildir:
    """The box's own directory: places files in new/ as a delivery does and removes only what it placed."""

    def __init__(self, path: Path) -> None:
        """``path`` holds new/, cur/ and tmp/."""
        self.path = path
        owner = (path / "new").stat()
        self._owner = owner.st_uid, owner.st_gid
        self._run = f"{os.getpid()}Q{time.time_ns() % 1_000_000_000}"
        self._count = 0

    def place_corpus(self) -> dict[str, str]:
        """Put in all of CORPUS; gives the file name of each message."""
        swap = {"later-name": len(CORPUS) + 1, "earlier-name": len(CORPUS)}
        began = time.time() - AGE_S
        return {
            mail.name: self.place(mail.octets, began + number * STEP_S, swap.get(mail.name, number + 1))
            for number, mail in enumerate(CORPUS)
        }

    def place(self, octets: bytes, mtime: float | None = None, serial: int | None = None) -> str:
        """Deliver one message, complete before it is seen; gives its file name. Default mtime: an hour ago, rising."""
        self._count += 1
        serial = 1000 + self._count if serial is None else serial
        name = f"{1_000_000_000 + serial}.M{serial}P{self._run}.{MARK}"
        draft = self.path / "tmp" / name
        draft.write_bytes(octets)
        if os.geteuid() == 0:
            os.chown(draft, *self._owner)
        draft.chmod(0o600)
        when = time.time() - AGE_S / 2 + self._count * 2 if mtime is None else mtime
        os.utime(draft, (when, when))
        draft.rename(self.path / "new" / name)
        return name

    def find(self, name: str) -> Path | None:
        """Where a placed file is now: in new/, or in cur/ with or without a suffix."""
        for folder in ("new", "cur"):
            for path in (self.path / folder).glob(name + "*"):
                if re.fullmatch(re.escape(name) + r"([:,;].*)?", path.name):
                    return path
        return None

    def flag(self, name: str, flags: str) -> None:
        """What a mail reader does with a message it has shown: to cur/, with these flags."""
        path = self.find(name)
        if path is not None:
            path.rename(self.path / "cur" / f"{name}:2,{flags}")

    @contextmanager
    def twins(self, one: bytes, two: bytes) -> Iterator[None]:
        """Two messages of one base name, the first in cur/ and flagged. Servers may rename them: they go by content."""
        name, other = self.place(one), self.place(two)
        try:
            self.flag(name, "S")
            (self.path / "new" / other).rename(self.path / "new" / name)
            yield
        finally:
            for path in [*(self.path / "new").iterdir(), *(self.path / "cur").iterdir()]:
                if path.is_file() and path.stat().st_size in (len(one), len(two)) and path.read_bytes() in (one, two):
                    path.unlink(missing_ok=True)

    def remove(self, *names: str) -> None:
        """Take placed files away; those that are gone already are let go."""
        for name in names:
            path = self.find(name)
            if path is not None:
                path.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove everything this run has placed."""
        for folder in ("new", "cur", "tmp"):
            for path in (self.path / folder).glob(f"*P{self._run}.{MARK}*"):
                path.unlink(missing_ok=True)
