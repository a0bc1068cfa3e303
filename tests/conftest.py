"""What all tests share: the closing table also counts the tests that ran real qmail's programs on this machine."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from popbox.pytest_plugin import EXERCISED, SKIPPED

HERE = Path(__file__).parent
PROGRAMS = "real qmail's programs in /var/qmail"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note each test marked ``realqmail`` that drives the programs themselves, and why one was skipped."""
    report = yield
    folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
    if folder in ("parity", "contract") and item.get_closest_marker("realqmail"):
        if report.skipped and isinstance(report.longrepr, tuple):
            report.user_properties.append((SKIPPED, f"{PROGRAMS}: {report.longrepr[2].removeprefix('Skipped: ')}"))
        elif report.when == "call":
            report.user_properties.append((EXERCISED, PROGRAMS))
    return report
