"""What tests of the command line share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A directory that popuser may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="popbox-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
