"""Metric pages as Prometheus' own parser reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

KINDS = ("counter", "gauge", "histogram")


def parsed(text: str) -> dict[str, float]:
    """Sample, as it stands in the text, -> value. Each family has words and a kind, and stands once."""
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is in two places"
    wrong = [family.name for family in families if family.type not in KINDS or not family.documentation]
    assert not wrong, f"no words or no kind: {wrong}"
    samples = [(_as_text(one.name, one.labels), one.value) for family in families for one in family.samples]
    assert len(samples) == len(dict(samples)) == sum(line[:1] not in ("#", "") for line in text.splitlines())
    return dict(samples)


def _as_text(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name
