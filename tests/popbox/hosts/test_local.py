"""Host local as two popbox processes see it: what one starts again, the other knows."""

from __future__ import annotations

import time
from pathlib import Path

from tests.popbox.standin import standin

from popbox.hosts.choose import attach
from popbox.hosts.state import Registry
from popbox.settings import Settings, find_assets


def test_a_service_that_another_popbox_has_started_again_is_not_gone(tmp_path: Path) -> None:
    with standin(tmp_path) as host:
        host.keep()
        registry = Registry(tmp_path)
        (record,) = registry.all()
        other = attach(record, Settings(find_assets(), tmp_path, None), registry)
        first = other.pid("pop3")
        host.restart("pop3", time.monotonic() + 60)
        assert (other.alive("pop3"), other.ailments()) == ("", [])
        assert other.pid("pop3") == host.pid("pop3") != first
        host.stop("pop3")
        assert other.alive("pop3") == "its process is gone"
        assert other.pid("pop3") == 0
        host.restart("pop3", time.monotonic() + 60)
