"""Where an export goes: a directory of its own, which no other thing has written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from popbox.errors import UnusableError
from popbox.migrate.copy.accounts import write_private
from popbox.migrate.copy.destination import STATE, Place
from popbox.migrate.copy.maildir import Target
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.oldhost.dialects.exported import ENDED

MAIL = "mail"


@dataclass(slots=True)
class Out(Place):
    """``to`` takes mail/DOMAIN/LOCAL/Maildir. ``owner``: uid and gid that the mail is given to, where we are root."""

    owner: tuple[int, int] | None = None

    def open(self) -> int:
        """As for an import.

        Raises:
            UnusableError: the directory holds something that no export has put there.
            PopboxError: another export works there, or it is one of another kind.
        """
        if self.to.exists() and any(self.to.iterdir()) and not self._begun():
            raise UnusableError(f"{self.to}: is not empty, and no export has made it; take another --out")
        lock = Place.open(self)
        (self.to / ENDED).unlink(missing_ok=True)
        return lock

    def _begun(self) -> bool:
        """Whether an export has made it, perhaps one that was killed, or found the disk full, at its first steps."""
        state = self.to / STATE
        only = [path.name for path in self.to.iterdir()] == [STATE] and state.is_dir() and not state.is_symlink()
        return (state / "source").exists() or (
            only and {path.name for path in state.iterdir()} <= {"lock", ".source.new"}
        )

    def ended(self, losses: int) -> None:
        """Note that it is whole but for ``losses``, which were named: for an import that takes it as its source."""
        write_private(self.to / ENDED, b"%d\n" % losses)

    @property
    def popboxes(self) -> Path:
        """Below which the mailboxes lie."""
        return self.to.resolve() / MAIL

    def maildir(self, box: Box) -> Path:
        """The Maildir of a box."""
        return self.popboxes / box.domain / box.local / "Maildir"

    def target(self, box: Box, prefix: str) -> Target:
        """The same, to be written to.

        Raises:
            FolderError: a link or something else has the place of one of its folders.
        """
        self.popboxes.mkdir(parents=True, exist_ok=True)
        target = Target(self.maildir(box), self.journal(box, prefix), self.owner, self.popboxes)
        if self.owner is not None:
            for path in (self.maildir(box).parent, self.maildir(box).parent.parent):
                os.chown(path, *self.owner, follow_symlinks=False)
        return target

    def apply(self) -> str:
        """Nothing is declared here."""
        return ""

    def measure(self) -> str:
        """Nothing is measured here."""
        return ""
