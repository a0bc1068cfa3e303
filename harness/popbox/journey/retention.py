"""What a store keeps, by age and size. It runs between passes, in small steps, so that no news waits for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from popbox.journey.store import Store

AT_ONCE = 50  # our choice: journeys of one step
LOOK_S = 10.0  # our choice: between looks, once there was nothing to take out
BUDGET_S = 0.3  # our choice: of steps with a pass after each, in one pass of the caller's


class Passing(Protocol):
    """What runs passes, see ``journey.recorder.Recorder``."""

    def run_pass(self) -> int:
        """Store all that is new; returns the cursor behind it."""

    def close(self) -> None:
        """Let go of logs and programs."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Journeys at their end go when they are older, in seconds, or the oldest while the store is greater, in octets."""

    age_s: float | None = None
    most_octets: int | None = None


class Retaining:
    """Passes of a recorder, each with a little of what ``kept`` demands. For the recorder's thread."""

    def __init__(self, recorder: Passing, store: Store, kept: Kept) -> None:
        """Nothing is taken out yet."""
        self._recorder, self._store, self._kept = recorder, store, kept
        self._look_at = 0.0

    def run_pass(self) -> int:
        """As the recorder's; see there for what is raised."""
        cursor, began = self._recorder.run_pass(), time.monotonic()
        while self._look_at <= time.monotonic() < began + BUDGET_S:
            if self._step():
                cursor = self._recorder.run_pass()
            else:
                self._look_at = time.monotonic() + LOOK_S
        return cursor

    def close(self) -> None:
        """As the recorder's."""
        self._recorder.close()

    def _step(self) -> int:
        before = 0.0 if self._kept.age_s is None else time.time() - self._kept.age_s
        return self._store.prune_some(before, self._kept.most_octets, AT_ONCE)
