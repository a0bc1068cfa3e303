"""How a check ends: what its function may raise, and the finding that results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Departs(Exception):
    """The server breaks the rule in the way that the check's deviation names. The text is one line of what was seen.

    ``deviation`` names another check's deviation where that one occurs here as well.
    """

    def __init__(self, said: str, deviation: str = "") -> None:
        super().__init__(said)
        self.deviation = deviation


class Broken(Exception):
    """The server breaks the rule in a way that has no name: a failure in every profile."""


class Skip(Exception):
    """The check cannot run here; the text says what is missing."""


class Status(StrEnum):
    """The outcome of one check. ``DEVIATION``: the rule is broken in a way that the profile expects."""

    PASSED = "passed"
    DEVIATION = "deviation"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's end. ``deviation`` is set where the rule was departed from in the named way, expected or not."""

    check: str
    area: str
    source: str
    statement: str
    status: Status
    said: str = ""
    deviation: str = ""
    transcript: tuple[str, ...] = ()
    took_s: float = 0.0


def expect(holds: bool, otherwise: str) -> None:
    """The rule itself.

    Raises:
        Departs: it does not hold; the text is ``otherwise``.
    """
    if not holds:
        raise Departs(otherwise)


def insist(holds: bool, otherwise: str) -> None:
    """What not even a deviation excuses.

    Raises:
        Broken: it does not hold; the text is ``otherwise``.
    """
    if not holds:
        raise Broken(otherwise)


def need(there: bool, missing: str) -> None:
    """A precondition.

    Raises:
        Skip: it does not hold; the text is ``missing``.
    """
    if not there:
        raise Skip(missing)
