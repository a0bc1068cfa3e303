"""A place that popuser may enter: pytest's own directories are root's alone; and `mailhost` quicker than a program."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.places import in_memory, open_to_others
from tests.popbox.migrate.programs import bounded, kept

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address

ROOM_OCTETS = 1 << 30  # containers often have 64 MiB there, less than an import wants to stay free
Verify = Callable[..., tuple[int, dict[str, Any]]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """The trees stand for hosts as they are; for a test and all its fixtures, a module's too."""
    with open_to_others():
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _programs() -> Iterator[None]:
    with kept():
        yield


@pytest.fixture(autouse=True)
def _quick_mailhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an import in this process. Imports that are programs of their own, to be killed say, start the real one."""
    monkeypatch.setattr("popbox.migrate.copy.destination.run_bounded", bounded)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory open to others, in memory where that is available (thousands of files), removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="popbox-move-", dir=in_memory(ROOM_OCTETS)) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def verify(place: Path) -> Verify:
    """``popbox migrate verify`` with quick retries: exit code and the JSON report; the text is under ``output``."""

    def run(old: Address, new: Address, accounts: Path, *more: str) -> tuple[int, dict[str, Any]]:
        file = place / "report.json"
        file.unlink(missing_ok=True)
        argv = ["verify", "--old", str(old), "--new", str(new), "--accounts", str(accounts), "--json", str(file)]
        done = CliRunner().invoke(migrate, [*argv, "--retry-wait", "0.01", *more], standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        report = json.loads(file.read_text()) if file.exists() else {}
        return int(done.return_value), report | {"output": done.output}

    return run
