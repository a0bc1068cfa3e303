"""What a pass of an import prints, and what it writes for ``plan``: the same for files and for POP3."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from popbox.cli.output import echo, write
from popbox.migrate.copy.destination import ACCOUNTS, LEFT
from popbox.migrate.copy.report import SCHEMA, ImportReport
from popbox.migrate.copy.work import Tally
from popbox.migrate.oldhost.mboxes.text import described, reading_as_json
from popbox.migrate.units import duration, size
from popbox.printable import counted

DONE, NOT_ALL, UNAVAILABLE = 0, 1, 3
SHOWN = 20


class Outcome(Protocol):
    """What a pass did. ``losses``: what the new host lacks; ``unavailable``: boxes that could not be read."""

    tally: Tally
    seconds: float
    applied: str
    measured: str

    @property
    def losses(self) -> list[str]:
        """A line for each."""

    @property
    def unavailable(self) -> list[str]:
        """A line for each."""


def report(outcome: Outcome, to: Path, home: Path | None, final: bool, json_file: str | None) -> int:
    """Print what came of it, and the exit code."""
    for line in _lines(outcome, to, home) if json_file != "-" else ():
        echo(line)
    if json_file is not None:
        write(json_file, _as_json(outcome, final))
    if outcome.unavailable:
        return UNAVAILABLE
    return NOT_ALL if outcome.tally.problems or outcome.losses else DONE


def _as_json(outcome: Outcome, final: bool) -> str:
    tally = outcome.tally
    report = ImportReport(
        schema=SCHEMA,
        final=final,
        took_s=round(outcome.seconds, 3),
        copied=tally.copied,
        octets=tally.octets,
        known=tally.known,
        moved=tally.moved,
        removed=tally.removed,
        later=tally.later,
        problems=len(tally.problems) + len(outcome.losses) + len(outcome.unavailable),
        mboxes=[
            {"address": one.address, "file": one.file, **reading_as_json(one.reading, one.parts)}
            for one in tally.mboxes
        ],
    )
    return report.model_dump_json(indent=1, by_alias=True) + "\n"


def _lines(outcome: Outcome, to: Path, home: Path | None) -> list[str]:
    """What came of it."""
    tally, seconds = outcome.tally, max(outcome.seconds, 1e-9)
    lines = outcome.applied.splitlines() if home else []
    lines += _first([f"lost: {loss}" for loss in outcome.losses], "; `migrate audit --all` shows them")
    lines += _first([f"not read: {one}" for one in outcome.unavailable])
    lines += _first([f"not done: {problem}" for problem in tally.problems])
    mboxes = [f"mbox {one.file}: {described(one.reading)}" for one in tally.mboxes]
    lines += _first(mboxes, " mbox files; --json names all")
    rate = f"{tally.copied / seconds:.0f} messages/s, {size(tally.octets / seconds)}/s"
    done = f"copied {counted(tally.copied, 'message')}, {size(tally.octets)} in {duration(seconds)}"
    lines.append(f"{done} ({rate}), each read back")
    lines.append(f"there from earlier passes {tally.known}; moved {tally.moved}; removed {tally.removed}")
    if tally.later:
        lines.append(f"{tally.later} were moved, fetched or written to during the pass: the next pass copies them")
    if tally.deleted_there:
        lines.append(f"{tally.deleted_there} were fetched and deleted on the new host, and stay away")
    lines += [outcome.measured] if outcome.measured else []
    if not (to / LEFT).exists():
        return [*lines, "no mailbox was read: no accounts were made"]
    left = sum(1 for _ in (to / LEFT).open("rb"))
    lines.append(
        f"accounts in {to / ACCOUNTS}; {left} things that are not carried over, or not as they were: {to / LEFT}"
    )
    return lines


def _first(lines: list[str], rest: str = "") -> list[str]:
    """As many as are shown, and how many more there are."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"... and {more} more{rest}"] if more > 0 else [])]
