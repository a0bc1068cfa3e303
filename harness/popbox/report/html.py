"""A report as one HTML file that needs nothing else: no script, no request, and all text from outside escaped."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from popbox.ledger.proof import Disposition, Leg, LegStatus, Message
from popbox.report.howto import WORST_FIRST, checklist
from popbox.report.pages import environment, seconds
from popbox.report.text import summary
from popbox.result import Report, Verdict

MARKS = {"passed": "✓", "failed": "✗", "skipped": "–", "not proved": "?", "not looked at": "?"}
# Control characters, and those that turn the direction of text: a subject must not be able to hide what follows it.
CENTRES = (12.5, 37.5, 62.5, 87.5)  # of the four legs, percent of the width


def render(report: Report) -> str:
    """The whole page."""
    pages = environment("popbox.report")
    pages.filters |= {"mark": MARKS.__getitem__, "word": _word}
    pages.globals |= {"path": path, "edges": edges}
    proved = [line for line in checklist(report.results) if line.verdict or _speaks_of_howto(report)]
    return pages.get_template("report.html.j2").render(
        report=report,
        verdict=_verdict(report),
        summary=summary(report.results),
        howto=proved,
        fates=_fates(report),
        number={result.scenario: number for number, result in enumerate(report.results, 1)},
    )


def _word(verdict: str) -> str:
    """A verdict as the name of a style."""
    return str(verdict).replace(" ", "-")


def path(message: Message) -> list[tuple[float, Leg]]:
    """The legs with the place of each, percent of the width."""
    return list(zip(CENTRES, message.legs, strict=True))


def edges(message: Message) -> list[tuple[float, float, str, str]]:
    """The lines between the legs: from, to, style (of the leg that it leads to), and the time in between."""
    drawn = []
    for (left, before), (right, after) in pairwise(path(message)):
        known = before.at_s is not None and after.at_s is not None
        label = f"+{seconds(max(0.0, (after.at_s or 0.0) - (before.at_s or 0.0)))}" if known else ""
        drawn.append((left, right, _word(after.verdict.value), label))
    return drawn


def _verdict(report: Report) -> Verdict:
    verdicts = {result.verdict for result in report.results}
    return next((one for one in WORST_FIRST if one in verdicts), Verdict.SKIPPED)


def _fates(report: Report) -> list[tuple[str, str, int]]:
    """How the messages ended: fate, verdict and how many; delivered first, then by number."""
    counted: Counter[tuple[Disposition, LegStatus]] = Counter(
        (message.ended, message.verdict) for result in report.results for message in result.messages
    )
    ordered = sorted(counted.items(), key=lambda item: (item[0][0] is not Disposition.ONCE, -item[1], item[0]))
    return [(fate.value, verdict.value, count) for (fate, verdict), count in ordered]


def _speaks_of_howto(report: Report) -> bool:
    return any(statement.startswith("H-") for result in report.results for statement in result.proves)
