"""The server as every program runs it, ``popbox serve`` and the image popbox/box alike."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from popbox.serve.server import COLLECT, server


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """No application."""


def test_it_runs_with_a_collector_that_pauses_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """popbox/box ran without: with a thousand waits a full collection stops every thread for 0.3 s."""
    seen: list[tuple[tuple[int, int, int], bool]] = []
    monkeypatch.setattr(
        uvicorn.Server, "run", lambda *_: seen.append((gc.get_threshold(), gc.get_freeze_count() > 10_000))
    )
    server(nothing, lambda: None).run([])
    assert seen == [(COLLECT, True)]
