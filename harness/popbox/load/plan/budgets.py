"""What may come of a load run: limits on what was measured, which decide the exit code. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import RootModel, model_validator

from popbox.load.plan.units import seconds

# name -> its unit. Times are in seconds, ``count`` is a number of messages, ``share`` 0 to 1, ``MB/h`` a slope.
MEASURES = {
    "lost": "count",
    "doubled": "count",
    "altered": "count",
    "misdelivered": "count",
    "renumbered": "count",
    "returned": "count",
    "strangers": "count",
    "explained": "count",
    "backlog_end": "count",
    "errors": "count",
    "accept_p50": "time",
    "accept_p99": "time",
    "visible_p50": "time",
    "visible_p99": "time",
    "pop3_login_p99": "time",
    "pop3_session_p99": "time",
    "recovery": "time",
    "fairness": "share",
    "accepted_rate": "rate",
    "rss_slope": "MB/h",
    "descriptors_slope": "/h",
    "threads_slope": "/h",
}
ALWAYS = ("lost=0", "doubled=0", "altered=0", "misdelivered=0", "renumbered=0", "returned=0", "strangers=0")
_LIMIT = re.compile(r"([a-z0-9_]+)\s*(<=|>=|=)\s*([0-9.]+)\s*([A-Za-z/]*)")
_SIGNS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, "=": operator.le}


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit; ``sign`` is ``<=`` or ``>=``, ``limit`` in the measure's unit (seconds for a time)."""

    measure: str
    sign: str
    limit: float
    text: str

    def kept(self, value: float) -> bool:
        """Whether a value is within it."""
        return _SIGNS[self.sign](value, self.limit)


def budget(text: str) -> Budget:
    """One limit as it is written: ``lost=0``, ``accept_p99=250ms``, ``fairness>=0.9``, ``rss_slope=1MB/h``.

    ``=`` allows at most that.

    Raises:
        ValueError: it is none; says what is known.
    """
    found = _LIMIT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no budget; such as lost=0, accept_p99=250ms or fairness>=0.9")
    measure, sign, number, unit = found.groups()
    if measure not in MEASURES:
        raise ValueError(f"{measure!r} is not measured; known are {', '.join(MEASURES)}")
    return Budget(measure, "<=" if sign == "=" else sign, _in_unit(measure, number, unit), text.strip())


def _in_unit(measure: str, number: str, unit: str) -> float:
    wanted = MEASURES[measure]
    if wanted == "time":
        return seconds(number + (unit or "s"))
    if unit and unit != wanted:
        raise ValueError(f"{measure} is a {wanted}, and {unit!r} is none")
    try:
        return float(number)
    except ValueError:
        raise ValueError(f"{measure}: {number!r} is no number") from None


class Budgets(RootModel[tuple[str, ...]]):
    """The limits of a run; those that forbid loss and its like hold unless the file gives others."""

    root: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_table(cls, value: Any) -> Any:
        """A table of TOML: ``accept_p99 = "250ms"``, ``fairness = ">=0.9"``, ``lost = 0``."""
        if isinstance(value, Mapping):
            return tuple(f"{key}{_signed(one)}" for key, one in value.items())
        return value

    @model_validator(mode="after")
    def _readable(self) -> Budgets:
        for one in self.root:
            budget(one)
        return self

    def limits(self, more: tuple[str, ...] = ()) -> tuple[Budget, ...]:
        """All that hold; of two for one measure the later one does.

        Raises:
            ValueError: one of ``more`` is no budget.
        """
        found = {one.measure: one for one in map(budget, (*ALWAYS, *self.root, *more))}
        return tuple(found.values())


def _signed(value: object) -> str:
    text = str(value)
    return text if text.startswith(("<", ">", "=")) else f"={text}"
