"""A throw-away home that popuser may enter, and servers that do not outlive their test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mailhost.standin.support import Home, Serve, Server
from tests.places import in_memory

ROOM_OCTETS = 1 << 30  # a queue of some tests has 80 MB, and several of them run at once


@pytest.fixture
def home() -> Iterator[Home]:
    top = Path(tempfile.mkdtemp(prefix="popbox-standin-", dir=in_memory(ROOM_OCTETS, programs=True)))
    top.chmod(0o755)
    (top / "home").mkdir()
    yield Home(top / "home")
    shutil.rmtree(top)


@pytest.fixture
def serve(home: Home) -> Iterator[Serve]:
    running: list[Server] = []

    def start(*options: str, **kwargs: tuple[str, ...]) -> Server:
        server = Server(home, *options, **kwargs)
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()
        print(server.log[-3000:])  # pytest shows it when the test has failed
