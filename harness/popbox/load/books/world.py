"""What a run was: noted beside its journals, so that it can be judged again without the host."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from popbox.load.plan.noted import read_back

FILE = "world.json"


@dataclass(frozen=True, slots=True)
class World:
    """Which host and MTA, what was wanted, what was broken, and what went wrong with the run itself (``troubles``)."""

    host: str = "unknown"
    mta: str = "unknown"
    title: str = ""
    seed: int = 0
    users: int = 0
    processes: int = 0
    mailboxes: int = 0
    lasts_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    interrupted: str = ""

    @classmethod
    def read(cls, folder: Path) -> World:
        """As it was noted; unknown where it was not, as of a run that was killed.

        Raises:
            UnusableError: the note is damaged.
        """
        return read_back(folder / FILE, TypeAdapter(cls).validate_json) or cls()

    def write(self, folder: Path) -> None:
        """Note it."""
        (folder / FILE).write_text(json.dumps(asdict(self)), "utf-8")
