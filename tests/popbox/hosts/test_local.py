"""Host local as two popbox processes see it: what one starts again, the other knows."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from tests.popbox.standin import standin

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.hosts.choose import attach
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.settings import Settings, find_assets


def attached(host: Host, state: Path) -> Host:
    """The host, kept from now on, as another popbox has it."""
    host.keep()
    registry = Registry(state)
    (record,) = registry.all()
    return attach(record, Settings(find_assets(), state, None), registry)


def test_a_service_that_another_popbox_has_started_again_is_not_gone(tmp_path: Path) -> None:
    with standin(tmp_path) as host:
        other = attached(host, tmp_path)
        first = other.pid("pop3")
        host.restart("pop3", time.monotonic() + 60)
        assert (other.alive("pop3"), other.ailments()) == ("", [])
        assert other.pid("pop3") == host.pid("pop3") != first
        host.stop("pop3")
        assert other.alive("pop3") == "its process is gone"
        assert other.pid("pop3") == 0
        host.restart("pop3", time.monotonic() + 60)


def test_two_that_start_services_again_lose_nothing_of_the_record(tmp_path: Path) -> None:
    with standin(tmp_path) as host:
        registry = Registry(tmp_path)
        other = attached(host, tmp_path)
        host.restart("pop3", time.monotonic() + 60)
        other.restart("smtp", time.monotonic() + 60)
        (record,) = registry.all()
        assert [one.lives() for one in record.processes.values()] == [True, True]
        assert record.kept
        other.close()


def test_what_another_popbox_has_started_ends_in_order(tmp_path: Path) -> None:
    """Also where it is frozen: it was not let go of, and killed after a while."""
    with standin(tmp_path) as host:
        registry = Registry(tmp_path)
        other = attached(host, tmp_path)
        host.restart("pop3", time.monotonic() + 60)
        host.pause("pop3", True)
        other.close()
        assert isinstance(host, LocalHost)
        assert host._children["pop3"].wait(60) == 0, "by TERM, and not by KILL"
        assert registry.all() == []


def test_a_service_is_frozen_once_pause_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP takes its time on a busy machine: what looks next must not see a service that works."""
    signalled = os.killpg
    with standin(tmp_path) as host:
        with monkeypatch.context() as patched:
            patched.setattr(os, "killpg", lambda *of: threading.Timer(0.2, signalled, of).start())
            host.pause("smtp", True)
        assert host.ailments() == ["smtp: its process is stopped (SIGSTOP) and does not answer"]
        host.kill("smtp")
        with pytest.raises(HostError, match="its process was killed by signal 9"):
            host.pause("smtp", True)
