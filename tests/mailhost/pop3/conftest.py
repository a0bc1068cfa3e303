"""Thin fixtures over ``support``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.mailhost.pop3 import support
from tests.mailhost.pop3.support import Box, Running, new_home, remove


@pytest.fixture
def box() -> Iterator[Box]:
    """A fresh home with one login."""
    home = new_home()
    yield Box(home)
    remove(home)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test may count a server's descriptors; root may do that anyway."""
    if os.geteuid():
        monkeypatch.setattr(support, "PROGRAM", ["-c", support.SEEN])


@pytest.fixture
def serve(box: Box) -> Iterator[Callable[..., Running]]:
    """Start servers on ``box``; all are stopped at the end."""
    started: list[Running] = []

    def start(*arguments: str, descriptors: int = 0) -> Running:
        started.append(Running(box.home, *arguments, descriptors=descriptors))
        return started[-1]

    yield start
    for server in started:
        server.stop()
        server.errors.close()
