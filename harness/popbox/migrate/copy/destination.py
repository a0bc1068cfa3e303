"""Where an import goes: a directory of its own, or that and the mailboxes of this machine's qmail home."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from popbox.environment import of_programs
from popbox.errors import PopboxError
from popbox.hosts.process import run_bounded
from popbox.migrate.copy.accounts import write_private
from popbox.migrate.copy.folder import Folder
from popbox.migrate.copy.maildir import Target
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.units import size
from popbox.scratch import scratch

APPLY_S = 3_600.0  # our choice: 100,000 mailboxes take about 90 s
SPARE_OCTETS = 64 << 20  # our choice: a disk is never filled to its last block
FILE_OCTETS = 4_096  # what a small file takes on disk, and a part of a directory
ACCOUNTS, LEFT, STATE = "accounts.toml", "not-carried.txt", "state"
FILES, POP3 = "files", "POP3"


@dataclass(slots=True)
class Place:
    """``to``: accounts.toml, not-carried.txt, state/ and, without ``home``, popboxes/ with the mail."""

    to: Path
    home: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)  # what mailhost may have of it
    over: str = FILES  # how the old host is read, which decides what a journal knows a message by

    def open(self) -> int:
        """Make the directory, lock it, and bind it to where its mail goes.

        Raises:
            PopboxError: another import works there, or it is bound to another home or another kind of source.
        """
        (self.to / STATE).mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.to / STATE / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as why:
            os.close(lock)
            raise PopboxError(f"{self.to}: another import is at work there") from why
        try:
            self._bind()
        except BaseException:
            os.close(lock)
            raise
        return lock

    @contextmanager
    def named(self) -> Iterator[None]:
        """Where the disk refuses something without saying where: name both directories, and what to do.

        Raises:
            PopboxError: it has.
        """
        try:
            yield
        except OSError as why:
            if why.filename is not None:
                raise
            where = f"{self.popboxes} or {self.to / STATE}"
            raise PopboxError(f"{where}: {why.strerror}; what was placed stays, run it again") from why

    def _bind(self) -> None:
        bound, over, here = self.to / STATE / "target", self.to / STATE / "source", str(self.popboxes)
        came = over.read_text("utf-8").rstrip("\n") if over.exists() else FILES if bound.exists() else self.over
        if came != self.over:
            raise PopboxError(f"{self.to}: its mail came from {came} so far, not from {self.over}; take another --to")
        if not over.exists():
            write_private(over, f"{self.over}\n".encode())
        if not bound.exists():
            write_private(bound, f"{here}\n".encode())
        elif (there := bound.read_text("utf-8").rstrip("\n")) != here:
            raise PopboxError(f"{self.to}: its mail went to {there} so far, not to {here}; take another --to for that")

    @property
    def popboxes(self) -> Path:
        """Below which the mailboxes lie, as <prefix>/<local>/Maildir."""
        return (self.home or self.to).resolve() / "popboxes"

    def target(self, box: Box, prefix: str) -> Target:
        """The Maildir of a box. In a home the box is there already, and what comes into it is its owner's.

        Raises:
            FolderError: a link or something else has the place of one of its folders.
        """
        directory = self.popboxes / prefix / box.local
        owner = None
        if self.home is None:
            self.popboxes.mkdir(parents=True, exist_ok=True)
        elif os.geteuid() == 0:
            owner = Folder(self.popboxes, directory / "Maildir").owner()
        return Target(directory / "Maildir", self.journal(box, prefix), owner, self.popboxes)

    def journal(self, box: Box, prefix: str) -> Path:
        """What was put into a box is noted there."""
        return self.to / STATE / prefix / f"{box.local}.journal"

    def check_space(self, messages: int, octets: int) -> None:
        """See that what is still to come fits.

        Raises:
            PopboxError: the disk has too little room.
        """
        there = next(path for path in (self.popboxes, *self.popboxes.parents) if path.exists())
        disk = os.statvfs(there)
        needed = octets + messages * FILE_OCTETS + SPARE_OCTETS
        free = disk.f_bavail * disk.f_frsize
        if free < needed:
            raise PopboxError(f"{there}: {size(needed)} are needed for {messages} messages, {size(free)} are free")
        if disk.f_files and disk.f_favail < messages:
            raise PopboxError(f"{there}: {messages} inodes are needed, {disk.f_favail} are free")

    def apply(self) -> str:
        """Declare the accounts: on the home for good, else on a scratch one, to see that mailhost takes them.

        Raises:
            PopboxError: it does not.
        """
        if self.home is not None:
            return self._mailhost(self.home, "apply", "--no-delete", str(self.to / ACCOUNTS))
        with scratch("popbox-import-") as home:
            self._mailhost(home, "init", "--me", "mail.popbox.invalid")
            return self._mailhost(home, "plan", str(self.to / ACCOUNTS))

    def measure(self) -> str:
        """Have the sizes in large mailboxes learned before a client asks for them; a line that says what came of it.

        Only time depends on it, so its failure is reported and does not fail the import.
        """
        if self.home is None:
            return ""
        try:
            return self._mailhost(self.home, "mailbox", "measure").rstrip("\n")
        except PopboxError as why:
            return f"sizes were not measured ahead: {why}"

    def _mailhost(self, home: Path, *argv: str) -> str:
        command = [sys.executable, "-P", "-m", "mailhost", "--home", str(home.resolve()), *argv]
        done = run_bounded(command, within_s=APPLY_S, env=of_programs(self.environ))
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise PopboxError(f"`mailhost {' '.join(argv)}` ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")
