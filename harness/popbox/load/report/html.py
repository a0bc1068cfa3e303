"""A load run as one HTML file."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from popbox.load.books.outcome import PASSED, Outcome
from popbox.load.books.samples import read
from popbox.load.books.series import LATENCIES, Series
from popbox.load.report import pictures
from popbox.report.pages import environment

WORDS = {
    "lost": "accepted, and nowhere",
    "altered": "other octets than were sent",
    "misdelivered": "in the box of another",
    "doubled": "two copies, or handed out twice, and no crash of that service explains it",
    "returned": "handed out after its deletion was confirmed",
    "renumbered": "its unique-id changed, or stood for two",
    "stranger": "was not sent by this run",
    "not yet": "accepted, not in its box at the end, and found in the queue or a file",
    "bounced": "accepted, and reported to the sender as undeliverable",
    "explained": "two copies, and the MTA broke between; or handed out twice, and POP3 broke before the reply to QUIT",
    "once": "in its box, once, octet for octet",
}


def render(outcome: Outcome, folder: Path) -> str:
    """The whole page; ``folder`` is that of the run, for its samples."""
    samples = read(folder)
    series, recoveries = outcome.series, outcome.figures.recoveries
    drawn = {
        "flow": pictures.flow(series, recoveries),
        "backlog": pictures.backlog(series, recoveries),
        "heat": pictures.heat(series, recoveries),
        "verbs": pictures.verbs(outcome.figures),
        "fairness": pictures.fairness(series),
        **({"errors": pictures.errors(series, recoveries)} if series.errors else {}),
        **({"memory": pictures.memory(samples)} if samples else {}),
    }
    page = environment("popbox.load.report").get_template("load.html.j2")
    return page.render(
        run=outcome,
        verdict="not judged" if outcome.not_judged else "passed" if outcome.exit_code == PASSED else "failed",
        words=WORDS,
        heat=_heat(series),
        failing=_failing(series),
        # drawn by matplotlib, which escapes the text that it sets
        pictures={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704
    )


def _heat(series: Series) -> tuple[list[float], list[tuple[float, list[int]]]]:
    """The table behind the heat map: upper ends of latencies that occur, and for each moment how many of each."""
    late = sorted({one for _, one, _ in series.heat})
    counts: dict[int, dict[int, int]] = {}
    for at, one, many in series.heat:
        counts.setdefault(at, {})[one] = many
    rows = [(at * series.width, [found.get(one, 0) for one in late]) for at, found in sorted(counts.items())]
    return [LATENCIES[one] for one in late], rows


def _failing(series: Series) -> list[tuple[float, list[int]]]:
    """The table behind the picture of errors: for each moment that had one, how many of each kind."""
    counts = [dict(one.counts) for one in series.errors]
    return [(at * series.width, [one.get(at, 0) for one in counts]) for at in sorted(set().union(*counts))]
