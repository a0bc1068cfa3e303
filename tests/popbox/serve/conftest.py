"""One kept host and one ``popbox serve`` beside it, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.popbox.serve.recorded import Idle
from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

from popbox.hosts.base import Host
from popbox.journey.store import Store
from popbox.serve.live import Live


@pytest.fixture(scope="package")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="package")
def host(state: Path) -> Iterator[Host]:
    with standin(state / "popbox") as up:
        assert up.run("domain", "add", "domain.com").code == 0
        assert up.run("mailbox", "add", "joe@domain.com", "--login", "joe", "--crypt", "DmIMm9e5Hc8ic").code == 0
        assert up.run("forward", "add", "sales@domain.com", "joe@domain.com").code == 0
        up.keep()
        yield up


@pytest.fixture(scope="package")
def port(state: Path, host: Host) -> Iterator[int]:
    assert host.name == "local"
    with serving(state) as (port, _):
        yield port


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    host = cast(Host, SimpleNamespace(name="local", mta="stand-in"))
    with Store.open(tmp_path / "journeys") as store, Live(host, store, Idle(store)) as live:
        yield live
