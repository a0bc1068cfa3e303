"""What a wait learns and when, and how recording goes on after errors. No host."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.journey.model import Event, Kind
from popbox.journey.store import Store
from popbox.serve import live as module
from popbox.serve.live import FAST, Live, Pace

LONG_S = 60.0


class Recorder:
    """Passes as the test wants them."""

    def __init__(self, run: Callable[[], int]) -> None:
        self.run_pass, self.closed = run, False

    def close(self) -> None:
        self.closed = True


@contextmanager
def living(tmp_path: Path, run: Callable[[Store], int] = Store.cursor, pace: Pace = FAST) -> Iterator[Live]:
    with Store.open(tmp_path / "journeys") as store:
        recorder = Recorder(lambda: run(store))
        with Live(cast(Host, None), store, recorder, pace) as live:
            yield live
        assert recorder.closed


def note(store: Store) -> int:
    return store.append([Event(time.time(), Kind.NOTE, None, {"what": "x"}, "test")])[0]


def test_a_thousand_waits_end_with_the_next_event_and_need_no_thread(tmp_path: Path) -> None:
    async def waits(live: Live) -> tuple[list[int], int]:
        tasks = [asyncio.create_task(live.changed(0, LONG_S)) for _ in range(1_000)]
        await asyncio.sleep(0)
        threads = threading.active_count()
        await asyncio.to_thread(note, live.store)
        return await asyncio.gather(*tasks), threads

    with living(tmp_path) as live:
        before = threading.active_count()
        got, threads = asyncio.run(waits(live))
        assert got == [1] * 1_000
        assert threads <= before + 1
        assert asyncio.run(live.changed(0, LONG_S)) == 1, "what is there already is told at once"
        assert asyncio.run(live.changed(1, 0.05)) == 1, "at its limit a wait returns the cursor as it is"


def test_the_end_of_the_server_ends_waits(tmp_path: Path) -> None:
    async def wait(live: Live) -> int:
        task = asyncio.create_task(live.changed(0, LONG_S))
        await asyncio.sleep(0)
        live.end_waits()
        await task
        return await live.changed(0, LONG_S)

    with living(tmp_path) as live:
        began = time.monotonic()
        assert asyncio.run(wait(live)) == 0
        assert live.ending
        assert time.monotonic() - began < LONG_S / 2


def test_a_pass_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_S", 0.1)
    begun, over, ended = threading.Event(), threading.Event(), threading.Event()

    def run(store: Store) -> int:
        begun.set()
        assert over.wait(LONG_S)
        try:
            return note(store)
        finally:
            ended.set()

    began = time.monotonic()
    with Store.open(tmp_path / "journeys") as store:
        recorder = Recorder(lambda: run(store))
        with Live(cast(Host, None), store, recorder):
            assert begun.wait(LONG_S)
    assert time.monotonic() - began < LONG_S / 2
    over.set()
    assert ended.wait(LONG_S), "it goes on, and stores nothing more"
    with Store.open(tmp_path / "journeys") as again:
        assert again.cursor() == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (HostError("no answer", "its log"), "no answer"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (KeyError("secret"), "popbox has a fault: KeyError"),
    ],
)
def test_a_pass_that_fails_is_told_put_off_and_tried_again(tmp_path: Path, error: Exception, told: str) -> None:
    fails = threading.Event()
    fails.set()

    def run(store: Store) -> int:
        if fails.is_set():
            raise error
        return note(store)

    async def until(live: Live) -> list[Any]:
        while (failed := live.state).failed < 1:
            await asyncio.sleep(0.01)
        fails.clear()
        live.kick()  # does not wait for retry_at
        assert await live.changed(0, LONG_S) == 1
        while live.state.failed:
            await asyncio.sleep(0.01)
        return [failed, live.state]

    with living(tmp_path, run) as live:
        failed, well = asyncio.run(until(live))
    assert (failed.error, failed.whole_since) == (told, None)
    assert failed.retry_at - failed.ended_at == pytest.approx(2.0 ** (failed.failed - 1))
    assert (well.error, well.failed, well.retry_at) == ("", 0, None)
    assert well.cursor >= 1


def test_passes_are_close_together_only_while_there_are_waits(tmp_path: Path) -> None:
    passes: list[float] = []

    def run(store: Store) -> int:
        passes.append(time.monotonic())
        return note(store) if len(passes) == 3 else store.cursor()

    with living(tmp_path, run, Pace(idle_s=2 * LONG_S)) as live:
        assert asyncio.run(live.changed(0, LONG_S)) == 1, "idle, the third would come two minutes later"


def test_waits_that_come_and_go_do_not_have_pass_follow_pass(tmp_path: Path) -> None:
    """A hundred streams begin to wait again after each event: that ends a long pause only, not the short one."""
    passes: list[float] = []

    def run(store: Store) -> int:
        passes.append(time.monotonic())
        return store.cursor()

    async def coming_and_going(live: Live) -> None:
        for _ in range(50):
            await live.changed(0, 0.001)
            with live.watch("", lambda _one: False, 1):
                await asyncio.sleep(0.001)

    with living(tmp_path, run, Pace(idle_s=LONG_S, watched_s=LONG_S / 2)) as live:
        while not passes:
            time.sleep(0.01)
        asyncio.run(coming_and_going(live))
        assert len(passes) <= 3, "the first, one that the first wait asks for, and one for a wait within that"
