"""The pictures of a load run, as SVG drawn by matplotlib: no script, no request, alike for the same run."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from popbox.load.books.figures import Figures, Recovery
from popbox.load.books.samples import Sample
from popbox.load.books.series import LATENCIES, Series
from popbox.printable import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROGRAMS = ("smtp ", "pop3 ")  # of a service's programs the table tells
LEAST = 1e-5  # seconds: the left end of a scale without a zero
SHORT = 70  # characters of an error beside its colour; the table has all of it
SIZE = (9.0, 2.6)  # inches; the page scales it
FAULT, ACCEPTED, SEEN, BACKLOG = "#d9480f", "#1864ab", "#2b8a3e", "#868e96"


def drawn(draw: Callable[[Axes], None]) -> str:
    """One picture as an ``svg`` element."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "popbox", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure.subplots())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def faults_on(axes: Axes, recoveries: Iterable[Recovery]) -> None:
    """A band for each fault."""
    for one in recoveries:
        axes.axvspan(one.from_s, one.until_s, color=FAULT, alpha=0.18, lw=0)


def flow(series: Series, recoveries: tuple[Recovery, ...]) -> str:
    """Accepted and first seen, a second, and the backlog between them."""

    def draw(axes: Axes) -> None:
        at = [one.at for one in series.bins]
        axes.step(at, [one.accepted / series.width for one in series.bins], color=ACCEPTED, label="accepted/s")
        axes.step(at, [one.seen / series.width for one in series.bins], color=SEEN, label="first seen/s", ls="--")
        axes.set_xlabel("seconds")
        axes.set_ylabel("messages/s")
        other = axes.twinx()
        other.fill_between(at, [one.backlog for one in series.bins], step="pre", color=BACKLOG, alpha=0.3)
        other.set_ylabel("not yet seen")
        faults_on(axes, recoveries)
        axes.legend(loc="upper left", frameon=False)

    return drawn(draw)


def backlog(series: Series, recoveries: tuple[Recovery, ...]) -> str:
    """What waits: by the journals for a POP3 session that lists it, and in the MTA's queue."""

    def draw(axes: Axes) -> None:
        axes.step(
            [one.at for one in series.bins], [one.backlog for one in series.bins], color=SEEN, label="not yet seen"
        )
        seen = [(one.at, one.queue) for one in series.bins if one.queue is not None]
        axes.plot([at for at, _ in seen], [many for _, many in seen], color=ACCEPTED, ls="--", label="in the queue")
        axes.set_xlabel("seconds")
        axes.set_ylabel("messages")
        axes.set_ylim(bottom=0)
        faults_on(axes, recoveries)
        axes.legend(loc="upper left", frameon=False)

    return drawn(draw)


def errors(series: Series, recoveries: tuple[Recovery, ...]) -> str:
    """How often each kind of error or reply came, one above the other."""

    def draw(axes: Axes) -> None:
        below: Counter[int] = Counter()
        for one in series.errors:
            places = [at * series.width for at, _ in one.counts]
            heights = [many for _, many in one.counts]
            under = [below[at] for at, _ in one.counts]
            axes.bar(places, heights, series.width, under, align="edge", label=plain(one.kind)[:SHORT])
            below.update(dict(one.counts))
        axes.set_xlabel("seconds")
        axes.set_ylabel("errors")
        faults_on(axes, recoveries)
        for text in axes.legend(loc="upper left", frameon=False, fontsize=6).get_texts():
            text.set_parse_math(False)

    return drawn(draw)


def heat(series: Series, recoveries: tuple[Recovery, ...]) -> str:
    """How long from 250 until POP3 listed it, for messages accepted at each moment: the darker, the more."""

    def draw(axes: Axes) -> None:
        import numpy as np
        from matplotlib.colors import LogNorm

        columns = max((when for when, _, _ in series.heat), default=0) + 1
        grid = np.zeros((len(LATENCIES), columns))
        for when, late, many in series.heat:
            grid[late, when] = many
        edges = [0.0005, *LATENCIES]
        times = [number * series.width for number in range(columns + 1)]
        if grid.max() > 0:
            shown = np.ma.masked_equal(grid, 0)
            axes.pcolormesh(
                times, edges, shown, norm=LogNorm(1, max(grid.max(), 2)), cmap="viridis_r", rasterized=False
            )
        axes.set_yscale("log")
        axes.set_ylabel("seconds to visible")
        axes.set_xlabel("accepted at second")
        faults_on(axes, recoveries)

    return drawn(draw)


def memory(samples: list[Sample]) -> str:
    """Resident memory of each service and process."""

    def draw(axes: Axes) -> None:
        for who in sorted({one.who for one in samples if not one.who.startswith(PROGRAMS)}):
            mine = [one for one in samples if one.who == who]
            axes.plot([one.at_s for one in mine], [one.rss_kib * 1_024 / 1e6 for one in mine], label=who, lw=1)
        axes.set_xlabel("seconds")
        axes.set_ylabel("MB resident")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", frameon=False, ncols=4)

    return drawn(draw)


def verbs(figures: Figures) -> str:
    """How long each part of a POP3 session took: from p50 to p99, p95 as a mark."""

    def draw(axes: Axes) -> None:
        rows = [("login", figures.login), *figures.verbs]
        for at, (_, one) in enumerate(rows):
            axes.plot([max(one.p50, LEAST), max(one.p99, LEAST)], [at, at], color=SEEN, lw=6, solid_capstyle="butt")
            axes.plot([max(one.p95, LEAST)], [at], "|", color=FAULT, ms=12)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("seconds, p50 to p99; the mark is p95")

    return drawn(draw)


def fairness(series: Series) -> str:
    """The boxes whose mail was kept from visits for longest."""

    def draw(axes: Axes) -> None:
        names = [box for box, _, _ in series.boxes]
        axes.barh(range(len(names)), [mean for _, _, mean in series.boxes], color=SEEN)
        axes.set_yticks(range(len(names)), names, fontsize=6)
        axes.invert_yaxis()
        axes.set_xlabel("mean seconds from the first visit after 250 to the one that listed it")

    return drawn(draw)
