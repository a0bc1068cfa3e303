"""The figures of a run of ``tests.bench.serve.tab``, of what its samples say."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 2**20
MEMORY = (
    ("heap", "JS heap of the first tab"),
    ("renderer", "its renderer"),
    ("renderer_anon", "its renderer, own memory"),
    ("serve", "serve"),
)


def figures(samples: Path) -> Iterator[str]:
    """Lines of text: each quarter of an hour's median, and the slope of the later half."""
    taken: list[dict[str, Any]] = [json.loads(one) for one in samples.read_text().splitlines()]
    if len(taken) < 2:
        yield f"{len(taken)} samples"
        return
    first, last = taken[0], taken[-1]
    passed = last["s"] - first["s"]
    loads = [one["load"] for one in taken]
    middle = statistics.median(loads)
    yield f"{last['s'] / 60:.0f} minutes, load average {min(loads):.1f} to {max(loads):.1f}, median {middle:.1f}"
    yield f"{last['sent']} sent ({last['sent'] / last['s']:.1f}/s), {last['fetched']} fetched, {last['stored']} stored"
    most = max(one["missing"] for one in taken)
    yield f"{last['shown']} rows shown; missing at a sample at most {most}, at last {last['missing']}"
    for key, name in MEMORY:
        yield f"{name}: {growth(taken, key, MIB)} MiB a minute"
    for key in ("nodes", "listeners"):
        yield f"{key}: {growth(taken, key, 1)} a minute"
    collected = [f"{one['heap'] / MIB:.2f}" for one in taken if one["collected"]]
    yield f"JS heap after a collection, MiB: {', '.join(collected)}"
    cpu = {key: (last[key] - first[key]) / passed * 100 for key in ("serve_cpu_s", "started_cpu_s", "renderer_cpu_s")}
    yield "of a core: " + ", ".join(f"{key.removesuffix('_cpu_s')} {value:.1f} %" for key, value in cpu.items())
    yield f"store {last['store'] / MIB:.0f} MiB, {last['store'] / max(last['stored'], 1) / 1024:.1f} KiB a message"


def growth(taken: list[dict[str, Any]], key: str, unit: float) -> str:
    """Medians of the run's eighths, the most, and the slope of the later half, for ``key`` in ``unit``."""
    values = [one[key] / unit for one in taken]
    cut = max(1, len(values) // 8)
    parts = [statistics.median(values[at : at + cut]) for at in range(0, len(values), cut)][:8]
    later = taken[len(taken) // 2 :]
    slope = statistics.linear_regression([one["s"] / 60 for one in later], [one[key] / unit for one in later]).slope
    return f"{' '.join(f'{one:.1f}' for one in parts)}, at most {max(values):.1f}; later half {slope:+.3f}"
