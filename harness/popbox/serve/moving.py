"""What the console shows of a move, handed in by who starts the server: readers of an old host are no part of serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


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
