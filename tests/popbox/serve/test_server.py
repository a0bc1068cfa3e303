"""The server as every program runs it, ``popbox serve`` and the image popbox/box alike."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from popbox.serve.server import ARENAS, COLLECT, COLLECT_ALL_S, server


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


class Page:
    """It has itself, as what Jinja renders a page with does."""

    def __init__(self) -> None:
        self.of = self


def test_what_old_pages_leave_is_collected_each_five_minutes() -> None:
    """It was hours by the collector's numbers: `serve` grew by 200 octets a message until then."""
    page = Page()
    left = weakref.ref(page)
    gc.collect()  # it is old
    del page
    made = server(nothing, lambda: None)
    asyncio.run(made.on_tick(COLLECT_ALL_S * 10 - 1))
    assert left() is not None
    asyncio.run(made.on_tick(COLLECT_ALL_S * 10))
    assert left() is None


THREADS = """
import ctypes, threading
from popbox.serve.server import settle
settle()
here = threading.Barrier(9)
def hold(held):
    held.append(bytes(4_000))
    here.wait()
    here.wait()
for _ in range(8):
    threading.Thread(target=hold, args=([],)).start()
here.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
here.wait()
"""


def test_threads_share_memory_as_each_keeps_what_its_greatest_answer_took() -> None:
    """glibc has an arena for each of 16 threads on two processors, and gives little of them back."""
    said = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, timeout=60)
    assert 1 <= said.stdout.count("<heap nr=") <= ARENAS
