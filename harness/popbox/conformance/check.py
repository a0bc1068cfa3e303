"""The table of checks: each a function with its source, its statement and the name of the deviation from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from popbox.conformance.box import Box

Run = Callable[[Box], None]


class Need(Enum):
    """A precondition of a check; the value is the reason given when the check is skipped."""

    MAIL = "the box is empty: --maildir would put mail in it"
    CORPUS = "needs the hard messages: give --maildir PATH, the Maildir of the box"
    CHANGES = "deletes mail: give --allow-changes, on a test box"
    CLEAR = "needs a connection that begins without TLS"


@dataclass(frozen=True, slots=True)
class Check:
    """One row. ``only`` names the profiles that hold this rule; empty means all of them."""

    name: str
    area: str
    source: str
    statement: str
    deviation: str
    needs: frozenset[Need]
    only: frozenset[str]
    run: Run


class Table:
    """The rows of one area, in the order in which they are made."""

    def __init__(self, area: str) -> None:
        """``area`` is the heading in the report."""
        self.area = area
        self.rows: list[Check] = []

    def check(
        self, source: str, statement: str, deviation: str, *needs: Need, only: tuple[str, ...] = ()
    ) -> Callable[[Run], Run]:
        """Decorator: a row named after its function."""

        def register(run: Run) -> Run:
            self.add(run.__name__.replace("_", "-").strip("-"), source, statement, deviation, run, *needs, only=only)
            return run

        return register

    def add(
        self,
        name: str,
        source: str,
        statement: str,
        deviation: str,
        run: Run,
        *needs: Need,
        only: tuple[str, ...] = (),
    ) -> None:
        """A row whose function was made from data."""
        self.rows.append(Check(name, self.area, source, statement, deviation, frozenset(needs), frozenset(only), run))
