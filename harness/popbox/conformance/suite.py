"""Runs the checks, one after the other, and says how each ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from popbox.conformance.box import Box, Options
from popbox.conformance.check import Check, Need
from popbox.conformance.masking import masked
from popbox.conformance.profiles import Profile
from popbox.conformance.verdict import Broken, Departs, Finding, Skip, Status
from popbox.errors import ConnectionFailed, StepTimeout

SILENT_CHECKS = 4  # our choice: so many checks in a row that end in silence, and the server is taken for dead
SHOWN_LINES = 60  # the end of a transcript is where it went wrong
DEAD = "the server has stopped answering"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why no check can be made: the login is not accepted. ``said`` is the reply."""

    said: str


def chosen(table: Sequence[Check], profile: Profile, only: Sequence[str], skip: Sequence[str]) -> list[Check]:
    """The rows to run: of this profile, in ``only`` if given, not in ``skip`` (checks, areas or deviations)."""
    rows = [row for row in table if not row.only or profile.name in row.only]
    if only:
        rows = [row for row in rows if _named(row, only)]
    return [row for row in rows if not _named(row, skip)]


def _named(row: Check, names: Sequence[str]) -> bool:
    return any(name in (row.name, row.area, row.deviation) for name in names)


def unusable(options: Options) -> Refused | None:
    """Log in once; returns Refused for a clean -ERR to the login.

    Raises:
        ConnectionFailed: nothing listens.
    """
    box = Box(options)
    box.connect().close()
    try:
        box.login().close()
    except Broken as refused:
        return Refused(masked(str(refused), options.password)) if "-ERR" in str(refused) else None
    except (StepTimeout, ConnectionFailed):
        return None
    return None


def run(
    options: Options,
    profile: Profile,
    rows: Sequence[Check],
    *,
    exact: bool = False,
    show: Callable[[Finding], None] = lambda _: None,
) -> list[Finding]:
    """Run ``rows`` in order; ``show`` gets each finding as it comes. Placed messages are removed whatever happens.

    With ``exact``, a deviation that the profile expects and that does not occur is a failure.
    """
    box = Box(options)
    findings: list[Finding] = []
    try:
        for row in _in_order(rows, box):
            finding = _not_made(row) if _dead(findings) else _make(row, box, profile, exact)
            findings.append(finding)
            show(finding)
    finally:
        box.remove_placed()
    return findings


def _in_order(rows: Sequence[Check], box: Box) -> Iterator[Check]:
    """The rows; the corpus is in the box for those that change nothing, and out of it for the others."""
    reading = [row for row in rows if Need.CHANGES not in row.needs]
    if reading:
        box.place_corpus()
        yield from reading
        box.remove_placed()
    yield from (row for row in rows if Need.CHANGES in row.needs)


def _dead(findings: list[Finding]) -> bool:
    last = findings[-SILENT_CHECKS:]
    return len(last) == SILENT_CHECKS and all(_silence(finding) or finding.said == DEAD for finding in last)


def _silence(finding: Finding) -> bool:
    return finding.status is Status.FAILED and finding.said.startswith(("waited ", "cannot connect "))


def _not_made(row: Check) -> Finding:
    """A row that is skipped because the server is dead."""
    return Finding(row.name, row.area, row.source, row.statement, Status.SKIPPED, DEAD)


def _make(row: Check, box: Box, profile: Profile, exact: bool) -> Finding:
    """One check, from its needs to its finding."""
    finding = Finding(row.name, row.area, row.source, row.statement, Status.PASSED)
    missing = _missing(row, box)
    if missing:
        return replace(finding, status=Status.SKIPPED, said=missing)
    box.used = []
    began = time.monotonic()
    status, said, deviation = _judge(row, box, profile, exact)
    if status is Status.FAILED or deviation:
        box.drop()
    return replace(
        finding,
        status=status,
        said=masked(said, box.options.password),
        deviation=deviation,
        transcript=_transcript(box) if status is Status.FAILED else (),
        took_s=round(time.monotonic() - began, 3),
    )


def _judge(row: Check, box: Box, profile: Profile, exact: bool) -> tuple[Status, str, str]:
    """Status, what was seen, and the deviation where it is one."""
    try:
        row.run(box)
    except Skip as skip:
        return Status.SKIPPED, str(skip), ""
    except Departs as departs:
        deviation = departs.deviation or row.deviation
        expected = profile.source(deviation) is not None
        return (Status.DEVIATION if expected else Status.FAILED), str(departs), deviation
    except (Broken, StepTimeout, ConnectionFailed) as broken:
        return Status.FAILED, str(broken), ""
    except (ValueError, IndexError) as unreadable:  # a number or word of a reply that is not there
        return Status.FAILED, f"a reply could not be read: {unreadable}", ""
    if exact and row.deviation in profile.expected:
        return Status.FAILED, f"{profile.name} is known for '{row.deviation}', and it does not show", ""
    return Status.PASSED, "", ""


def _missing(row: Check, box: Box) -> str:
    """Why the check cannot be made; empty where it can."""
    options = box.options
    there = {
        Need.MAIL: Need.MAIL not in row.needs or bool(box.names) or box.has_mail(),
        Need.CORPUS: options.maildir is not None,
        Need.CHANGES: options.changes,
        Need.CLEAR: options.target.tls is None,
    }
    return next((need.value for need in Need if need in row.needs and not there[need]), "")


def _transcript(box: Box) -> tuple[str, ...]:
    """The end of what was said on each connection of this check."""
    lines: list[str] = []
    for number, session in enumerate(box.used, 1):
        said = [str(line) for line in session.wire.log]
        lines += [f"-- connection {number}", *said[-SHOWN_LINES:]]
    return tuple(masked(line, box.options.password) for line in lines)
