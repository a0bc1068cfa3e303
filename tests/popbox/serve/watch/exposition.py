"""A reader of Prometheus' text form 0.0.4 that refuses what a scrape would: see prometheus.io, "Exposition formats"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import inf

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABELS = r'\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\}'
SAMPLE = re.compile(rf"({NAME})({LABELS})? (NaN|[+-]?Inf|[-+0-9.eE]+)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


@dataclass
class Family:
    """All samples of one name: name and labels as they stand there -> value."""

    kind: str
    samples: dict[str, float] = field(default_factory=dict)


def families(text: str) -> dict[str, Family]:
    """Read a whole scrape; what is wrong is an AssertionError."""
    assert text.endswith("\n"), "the last line ends too"
    found: dict[str, Family] = {}
    helped, current = "", ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert helped not in found, f"{helped}: all lines of a name stand together, and there is one HELP"
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert (current, kind in ("counter", "gauge", "histogram")) == (helped, True), line
            assert kind != "counter" or current.endswith("_total"), line
            found[current] = Family(kind)
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            name, labels, value = sample.groups()
            family = found[current]
            assert name in {current + one for one in SUFFIXES.get(family.kind, ("",))}, f"{line} below {current}"
            key = name + (labels or "")
            assert key not in family.samples, f"{key} comes twice"
            family.samples[key] = float(value)
    for name, family in found.items():
        if family.kind == "histogram":
            _histogram(name, family.samples)
    return found


def _histogram(name: str, samples: dict[str, float]) -> None:
    rows = [(key, value) for key, value in samples.items() if key.startswith(f"{name}_bucket")]
    bounds = [float(key.removeprefix(f'{name}_bucket{{le="').removesuffix('"}')) for key, _ in rows]
    counts = [value for _, value in rows]
    assert bounds == sorted(set(bounds)), bounds
    assert bounds[-1] == inf
    assert counts == sorted(counts), "each bucket holds those before it"
    assert counts[-1] == samples[f"{name}_count"]
    assert samples[f"{name}_sum"] >= 0
