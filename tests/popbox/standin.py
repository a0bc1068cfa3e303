"""An empty mail host on this machine for tests, with the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from popbox.hosts.base import Host, closing
from popbox.hosts.choose import choose, start
from popbox.settings import Settings, find_assets


@contextmanager
def standin(state: Path) -> Iterator[Host]:
    """One that is up; popbox keeps its record in ``state``."""
    settings = Settings(find_assets(), state, None)
    with closing(start(choose("local", "standin", settings), settings)) as up:
        yield up
