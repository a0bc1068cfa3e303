"""A whole run as one report, and the report as JSON with its schema."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from popbox.result import Report, Result

SCHEMA = Path(__file__).with_name("schema.json")


def make(host: str, mta: str, why: str, began: datetime, results: Iterable[Result]) -> Report:
    """The report of a run that began then and ends now."""
    return Report(
        host=host,
        mta=mta,
        why=why,
        versions={"popbox": _popbox(), "Python": platform.python_version(), "system": platform.platform(terse=True)},
        machine=platform.node(),
        began=began,
        took_s=round((datetime.now(UTC) - began).total_seconds(), 3),
        results=tuple(results),
    )


def _popbox() -> str:
    try:
        return version("popbox")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "not installed"


def as_json(report: Report) -> str:
    """The report as JSON text; ``schema.json`` describes it."""
    return report.model_dump_json(indent=1) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``as_json``. ``python -m popbox.report.run_report`` writes it to schema.json."""
    made = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n", "utf-8")
