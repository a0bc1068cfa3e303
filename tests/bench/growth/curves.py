"""A picture of one growth as SVG, drawn by the library that ``popbox load`` uses; alike for the same figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

SIZE = (7.0, 3.6)  # inches


@dataclass(frozen=True, slots=True)
class Curve:
    """The cost of one thing at each size."""

    name: str
    costs: list[float]


def drawn(title: str, sizes: Sequence[int], curves: Sequence[Curve]) -> str:
    """Curves on two logarithmic scales, beside a line that grows as its input; a cost of 0 is not drawn."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "popbox", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            points = [(size, cost) for size, cost in zip(sizes, curve.costs, strict=True) if cost > 0]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=curve.name)
        most = max(curve.costs[-1] for curve in curves)
        axes.plot(sizes, [most * size / sizes[-1] for size in sizes], color="#868e96", ls=":", label="as its input")
        axes.set(xscale="log", yscale="log", xlabel=title, ylabel="CPU ms, or what the name says")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
