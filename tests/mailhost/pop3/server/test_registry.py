"""Who is silent for too long; time in which the server itself stood still is no silence."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mailhost.pop3.auth.throttle import Throttle
from mailhost.pop3.options import Limits
from mailhost.pop3.protocol.profiles import RFC1939
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
        super().__init__(started=now, last=now, logged_in=logged_in, busy=False, proxied=None, fd=3, ready=None, end="")
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


def test_who_only_holds_on_to_connections_shuts_no_one_out(clock: Clock) -> None:
    """Slowloris from many addresses: the oldest that has not logged in gives its place, unless it is being checked."""
    limits = Limits(connections=4, per_address=3, unauthenticated=3)
    options, log = SimpleNamespace(limits=limits, profile=RFC1939), SimpleNamespace(session=lambda *_: None)
    counts = memoryview(bytearray(8 * len(Count))).cast("Q")
    registry = Registry(cast("Any", options), cast("Any", clock), cast("Any", log), Throttle(limits), counts)

    def come(address: str) -> Peer | str:
        if (why := registry.refusal(address, balancer=False)) is not None:
            return why
        peer = joined(registry, clock)
        peer.entered_as, peer.retrieved, peer.received, peer.sent = address, 0, 0, 0

        def ends(why: str) -> None:
            peer.end = why
            registry.ended(cast("Any", peer))

        peer.dismiss = ends
        return peer

    first, second, third = (cast("Peer", come(f"192.0.2.{number}")) for number in range(3))
    assert registry.has_room()
    first.busy = True
    fourth = cast("Peer", come("192.0.2.4"))
    assert [one.end for one in (first, second, third, fourth)] == ["", "ended for a newer connection", "", ""]
    third.logged_in = True
    registry.entered(cast("Any", third))
    assert isinstance(come("192.0.2.5"), Peer), "one has logged in, and waits no more"
    assert isinstance(come("192.0.2.6"), Peer), "so too where there are too many in all"
    assert [one.end for one in (third, fourth)] == ["", "ended for a newer connection"]
    for one in registry._waiting:
        one.busy = True
    assert (come("192.0.2.7"), registry.has_room()) == ("too many connections", False)


def test_an_address_with_too_many_connections_ends_no_other(clock: Clock) -> None:
    limits = Limits(per_address=1, unauthenticated=3)
    options = SimpleNamespace(limits=limits, profile=RFC1939)
    unused = cast("Any", None)
    counts = memoryview(bytearray(8 * len(Count))).cast("Q")
    registry = Registry(cast("Any", options), cast("Any", clock), unused, Throttle(limits), counts)
    assert registry.refusal("192.0.2.1", balancer=False) is None
    first = joined(registry, clock)
    assert registry.refusal("192.0.2.1", balancer=False) == "too many connections from this address"
    assert first.end == ""


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
