"""Who is silent for too long; time in which the server itself stood still is no silence."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mailhost.pop3.server.metrics import Count
from mailhost.pop3.server.registry import SWEEP_S, Registry


class Clock:
    """A loop whose time is set by hand; the sweep is all that it is asked for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: Callable[[], None] | None = None

    def add(self, *_: object) -> None:
        pass

    def at(self, _when: float, action: Callable[[], None]) -> None:
        self.due = action

    def sweep_after(self, seconds: float) -> None:
        self.now += seconds
        assert self.due is not None
        self.due()


class Peer(SimpleNamespace):
    """A connection: when it was made, when it was last heard, and what it was told at its end."""

    def __init__(self, now: float, *, logged_in: bool) -> None:
        super().__init__(started=now, last=now, logged_in=logged_in, proxied=None, fd=3, ready=None, end="")
        self.dismiss = self.close = lambda why: setattr(self, "end", why)

    __hash__ = object.__hash__


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    limits, profile = SimpleNamespace(idle_s=None, login_s=60), SimpleNamespace(idle_s=600)
    options = SimpleNamespace(limits=limits, profile=profile)
    unused = cast("Any", None)
    return Registry(cast("Any", options), cast("Any", clock), unused, unused, memoryview(bytearray(len(Count))))


def joined(registry: Registry, clock: Clock, *, logged_in: bool = False) -> Peer:
    peer = Peer(clock.now, logged_in=logged_in)
    registry.add(cast("Any", peer))
    return peer


def test_the_limits_where_the_server_runs(registry: Registry, clock: Clock) -> None:
    stranger, silent = joined(registry, clock), joined(registry, clock, logged_in=True)
    for _ in range(60):
        clock.sweep_after(SWEEP_S)
    assert (stranger.end, silent.end) == ("", "")
    clock.sweep_after(SWEEP_S)
    assert (stranger.end, silent.end) == ("no login in time", "")
    for _ in range(540):
        clock.sweep_after(SWEEP_S)
    assert silent.end == "idle"


def test_no_one_is_ended_for_the_time_in_which_the_server_stood_still(registry: Registry, clock: Clock) -> None:
    """kill -STOP, `docker pause`, a virtual machine that was paused: nothing of what they sent could be read."""
    stranger, silent = joined(registry, clock), joined(registry, clock, logged_in=True)
    for _ in range(10):
        clock.sweep_after(SWEEP_S)
    clock.sweep_after(3600)
    clock.sweep_after(SWEEP_S)
    assert (stranger.end, silent.end) == ("", "")
    late = joined(registry, clock)
    for _ in range(48):
        clock.sweep_after(SWEEP_S)
    assert stranger.end == ""
    clock.sweep_after(SWEEP_S)
    assert (stranger.end, late.end) == ("no login in time", "")
    for _ in range(11):
        clock.sweep_after(SWEEP_S)
    assert late.end == "", "it had come after the pause, and has its 60 s"
    clock.sweep_after(SWEEP_S)
    assert late.end == "no login in time"
    assert silent.end == ""
