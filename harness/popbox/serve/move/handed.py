"""What the console shows of a move, handed in by who starts the server: readers of an old host are no part of serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from popbox.serve.move.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Side:
    """What one host does with an address. ``ends``: kind, and where or why; ``logins``: who opens the stores of it.

    ``where``: files that decided, below the qmail home or absolute, each with ``:LINE`` where a line did.
    """

    home: str
    accepted: bool
    ends: tuple[tuple[str, str], ...]
    logins: tuple[str, ...]
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """An address on both hosts. ``verdict``: ``the same``, ``changed``, ``added`` or ``not judged``."""

    verdict: str
    old: Side
    new: Side


class OldHost(Protocol):
    """The host that was moved from, as its files tell."""

    @property
    def name(self) -> str:
        """Where the files lie on this machine."""

    def compared(self, address: str, new: Mapping[str, Any], home: str, logins: Mapping[str, str]) -> Compared:
        """What the old host does with an address beside what the new one does.

        ``new`` is the new host's line of ``mailhost explain --batch --steps``, ``home`` its qmail home, ``logins`` has
        the login of each of its Maildirs, by absolute path.

        Raises:
            PopboxError: the old host's files cannot be used; says why.
        """

    def file(self, path: str) -> bytes:
        """A file of the old host, by its path below the qmail home.

        Raises:
            LookupError: it is not there, or cannot be read; says why.
        """


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not the same of a box. ``old``, ``new``: the message there; empty where there is none."""

    kind: str
    said: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A box that was compared. ``aspects``: login, uidl, ... -> verdict and, where it was not judged, the reason."""

    login: str
    new_login: str
    equal: bool
    aspects: Mapping[str, tuple[str, str]]
    messages: tuple[int, int]
    findings: tuple[Finding, ...]
    took_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How a verification goes. ``asked``: all its boxes, None where that is not known; ``changed_at``: wall clock."""

    equal: int = 0
    different: int = 0
    asked: int | None = None
    ended: bool = False
    changed_at: float | None = None
    problem: str = ""

    @property
    def open(self) -> int | None:
        """Boxes that have no verdict: yet, or because they could not be asked."""
        return None if self.asked is None else max(0, self.asked - self.equal - self.different)


class Proof(Protocol):
    """A run of ``popbox migrate verify --state``, while it goes on and after."""

    @property
    def name(self) -> str:
        """The file."""

    def look(self) -> tuple[Progress, Sequence[Judged]]:
        """How it goes, and the boxes that were judged, those that differ first. From any thread."""


@dataclass(frozen=True, slots=True)
class Moving:
    """All that is known of a move: its old host, its verification, its cut-over sheet."""

    old: OldHost | None = None
    proof: Proof | None = None
    sheet: Sheet | None = None

    def __bool__(self) -> bool:
        """Whether there is anything for the screen Move."""
        return self.proof is not None or self.sheet is not None
