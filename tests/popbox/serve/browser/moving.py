"""The move that the town's console shows: an old host, a verification that has not ended, a cut-over sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.popbox.serve.console.acts.test_move import ABOUT, box
from tests.popbox.serve.console.test_explain import old_home

from popbox.migrate.plan.plan import Facts
from popbox.migrate.plan.text import markdown
from popbox.migrate.verify.result import Verdict
from popbox.migrate.verify.state import State

BOXES = 5


@dataclass(frozen=True, slots=True)
class Move:
    """``options`` are those of ``popbox serve``; ``state`` is where the verification notes its boxes."""

    options: tuple[str, ...]
    state: State
    sheet: Path


@contextmanager
def moving(folder: Path) -> Iterator[Move]:
    """Three of the boxes were judged, one of them with a long name; files are made in ``folder``."""
    path, sheet = folder / "verify", folder / "plan.md"
    sheet.write_text(markdown(Facts("old.example", "new.example", ("domain.com",))))
    state = State(path, ABOUT, BOXES)
    state.note(box("testid"))
    state.note(box("x" * 60, "no such message", "other octets", verdict=Verdict.DIFFERENT))
    state.note(box("ann", verdict=Verdict.NOT_JUDGED))
    with old_home() as home:
        yield Move(("--beside", str(home), "--move", str(path), "--sheet", str(sheet)), state, sheet)
