"""How tests share a machine when several processes run them (pytest-xdist); ``conftest.py`` registers it.

Any process takes any test, with two exceptions. Tests with a fixture of their module stay together, so that it is made
once.
Tests marked ``quiet`` measure time or CPU: each runs while no other test does, and they come last.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import re
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

CHEAP = {"tests/popbox/conformance/test_faults.py", "tests/mailhost/cli/durability/test_crash.py"}
"""Their fixtures are made in a moment, and their tests are many: better made once for each process."""

WITHIN_S = 600.0
"""Our choice: twice the time limit of a test (pyproject.toml). Whoever waits longer waits for something that hangs."""

POLL_S = 0.02
TOO_LONG = pytest.StashKey[str]()


class Spread:
    """Hooks of one process of a run."""

    def __init__(self, config: pytest.Config) -> None:
        """The locks belong to the run, whose id xdist gives to every process; without xdist there is no other."""
        run = getattr(config, "workerinput", {}).get("testrunuid")
        self.room = Room(Path(tempfile.gettempdir(), f"popbox-tests-{run}")) if run else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """For ``--dist loadscope``, with ``--no-loadscope-reorder``. xdist's own groups are not heard by pytest 9.2."""
        if config.getoption("dist") != "loadscope":
            return None
        from xdist.scheduler import LoadScopeScheduling  # only where it runs

        class Units(LoadScopeScheduling):
            def _split_scope(self, nodeid: str) -> str:
                return unit(config.rootpath, nodeid)

        return Units(config, log)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Stacks of containers take longest and begin first; then slow tests: so no process ends long after others.

        In one process a module's slow tests stay with its others: otherwise its fixtures would be made twice.
        """
        items.sort(key=lambda item: turn(item, slow_first=self.room is not None))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Outside of all others, so that no test's timeout counts the wait."""
        if self.room is None:
            return (yield)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.room.held(alone=item.get_closest_marker("quiet") is not None))
            except TooLong as error:
                item.stash[TOO_LONG] = str(error)
            return (yield)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """The test that waited too long fails, and the run ends."""
        if why := item.stash.get(TOO_LONG, ""):
            item.session.shouldstop = why
            pytest.fail(why, pytrace=False)

    def pytest_unconfigure(self) -> None:
        """Take the locks' files away; whoever still waits has them open."""
        if self.room:
            self.room.remove()


def turn(item: pytest.Item, *, slow_first: bool) -> int:
    """When a test has its turn."""
    if item.get_closest_marker("quiet"):
        return 3
    if item.get_closest_marker("docker"):
        return 0
    return 1 if slow_first and item.get_closest_marker("slow") else 2


def unit(root: Path, nodeid: str) -> str:
    """What goes to one process whole: a module that makes something for several of its tests, or the one test."""
    file = nodeid.partition("::")[0]
    return file if file not in CHEAP and together(root / file) else nodeid


@functools.cache
def together(path: Path) -> bool:
    """Whether a fixture of the module, or of a class in it, is made for several tests."""
    return path.suffix == ".py" and re.search(r"scope=\"(module|class|package)\"", path.read_text("utf-8")) is not None


class Room:
    """Many may be in it, or one alone. Who wants to be alone holds the door, so that no one else comes in before."""

    def __init__(self, path: Path) -> None:
        self._door, self._inside = (path.with_name(f"{path.name}-{part}") for part in ("door", "inside"))

    @contextlib.contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """Inside; the kernel releases a lock when its holder dies."""
        with self._door.open("a") as door, self._inside.open("a") as inside:
            _lock(door, fcntl.LOCK_EX)
            _lock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
            try:
                yield
            finally:
                fcntl.flock(inside, fcntl.LOCK_UN)  # close() alone would not: a forked child has it open too

    def remove(self) -> None:
        """Its files."""
        for path in (self._door, self._inside):
            path.unlink(missing_ok=True)


class TooLong(Exception):
    """A lock that is never released; the text says who has it."""


def _lock(file: IO[str], kind: int) -> None:
    """Take a lock within ``WITHIN_S``.

    Raises:
        TooLong: another process holds it.
    """
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TooLong(f"waited {WITHIN_S:.0f} s for {file.name}, held by {_holders(file.name)}") from None
            time.sleep(POLL_S)


def _holders(path: str) -> str:
    """The processes that hold a lock on the file: whose descriptor of it says so, a forked child's too (proc(5))."""
    found = []
    for info in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            process = info.parents[1]
            if (process / "fd" / info.name).readlink() == Path(path) and "\nlock:" in info.read_text():
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"pid {process.name} ({command.strip()[:80]})")
    return ", ".join(found) or "no process that can be seen"
