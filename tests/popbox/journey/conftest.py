"""One bench a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox.journey.bench import Bench

from popbox.journey.join import files


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(files, "MISSING_S", 0.0)
    bench = Bench(tmp_path)
    yield bench
    bench.close()
