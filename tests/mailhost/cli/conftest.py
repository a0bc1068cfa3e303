"""Hosts to start from: nothing, an empty one, and the HOWTO's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host, with_popuser
from tests.mailhost.pop3.support import new_home, remove
from tests.places import in_memory

ROOM_OCTETS = 32 << 20


@pytest.fixture(autouse=True)
def _popuser(monkeypatch: pytest.MonkeyPatch) -> None:
    with_popuser(monkeypatch)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is room: a survey of kills makes and removes some hundred homes."""
    with tempfile.TemporaryDirectory(
        prefix="popbox-cli-", dir=in_memory(ROOM_OCTETS), ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


@pytest.fixture
def empty(tmp_path: Path) -> Host:
    """Nothing at all."""
    return Host(tmp_path / "qmail")


@pytest.fixture
def host(empty: Host) -> Host:
    """After `mailhost init`."""
    empty.ok("init", "--me", "mail.example.net")
    return empty


@pytest.fixture
def howto(host: Host) -> Host:
    """With the HOWTO's domain and mailbox."""
    host.ok("domain", "add", "domain.com")
    host.ok("mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT)
    return host


@pytest.fixture
def served() -> Iterator[Host]:
    """The HOWTO's host in a place that popuser can reach, as a server needs it."""
    place = new_home()
    place.chmod(0o755)
    host = Host(place / "qmail")
    host.ok("init", "--me", "mail.example.net")
    host.ok("domain", "add", "domain.com")
    host.ok("mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT)
    yield host
    remove(place)
