"""Findings for people (a table by area) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from popbox.conformance.check import Check
from popbox.conformance.profiles import Profile
from popbox.conformance.verdict import Finding, Status
from popbox.printable import counted

SCHEMA = "popbox.pop3-check/1"
WORDS = {Status.PASSED: "passed", Status.DEVIATION: "deviation", Status.FAILED: "FAILED", Status.SKIPPED: "skipped"}


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """How many ended in which way."""
    return {status.value: sum(finding.status is status for finding in findings) for status in Status}


def summary(findings: Sequence[Finding], profile: Profile) -> str:
    """The last line."""
    found = count(findings)
    return (
        f"{counted(len(findings), 'check')}, profile {profile.name}: {found['passed']} passed, "
        f"{counted(found['deviation'], 'expected deviation')}, {found['failed']} failed, {found['skipped']} skipped"
    )


def table(findings: Sequence[Finding], profile: Profile, every: bool = False) -> Iterator[str]:
    """Lines grouped by area: the counts, then each check that did not pass (``every``: all checks)."""
    yield f"{'area':<18}{'passed':>8}{'deviates':>10}{'failed':>8}{'skipped':>9}"
    for area in dict.fromkeys(finding.area for finding in findings):
        rows = [finding for finding in findings if finding.area == area]
        found = count(rows)
        yield f"{area:<18}{found['passed']:>8}{found['deviation']:>10}{found['failed']:>8}{found['skipped']:>9}"
        for row in rows:
            if row.status in (Status.DEVIATION, Status.FAILED) or (every and row.status is Status.PASSED):
                yield from _row(row, profile)
        yield from _skipped(rows)


def _row(row: Finding, profile: Profile) -> Iterator[str]:
    known = f"; expected: {profile.source(row.deviation)}" if row.status is Status.DEVIATION else ""
    name = f"{row.check} [{row.deviation}]" if row.deviation else row.check
    yield f"    {WORDS[row.status]:<10}{name}: {row.statement} ({row.source}{known})"
    if row.said and row.status is not Status.PASSED:
        yield f"              {row.said}"
    if row.status is Status.FAILED:
        yield from (f"                | {line}" for line in row.transcript[-12:])


def _skipped(rows: Sequence[Finding]) -> Iterator[str]:
    """The skipped checks, by reason."""
    left = [row for row in rows if row.status is Status.SKIPPED]
    for reason in dict.fromkeys(row.said for row in left):
        yield f"    skipped   {reason}: {', '.join(row.check for row in left if row.said == reason)}"


def listing(rows: Sequence[Check]) -> Iterator[str]:
    """The table itself: name, source, statement, what it needs."""
    for area in dict.fromkeys(row.area for row in rows):
        yield area
        for row in rows:
            if row.area == area:
                needs = "".join(f", {need.name.lower()}" for need in sorted(row.needs, key=lambda need: need.name))
                only = f", only {'/'.join(sorted(row.only))}" if row.only else ""
                yield f"    {row.name:<28}{row.statement} ({row.source}{needs}{only}) [{row.deviation}]"
    yield f"{len(rows)} checks"


def as_json(server: str, tls: bool, profile: Profile, began: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The shape that README.md documents."""
    return {
        "schema": SCHEMA,
        "server": server,
        "tls": tls,
        "profile": profile.name,
        "began": began,
        "took_s": round(sum(finding.took_s for finding in findings), 3),
        "summary": count(findings),
        "deviations": sorted({finding.deviation for finding in findings if finding.deviation}),
        "checks": [asdict(finding) for finding in findings],
    }
