"""How tests share a machine when several processes run them (pytest-xdist); ``conftest.py`` registers it.

Any process takes any test, with two exceptions. Tests with a fixture of their module stay together, so that it is made
once.
Tests marked ``quiet`` measure time or CPU: each runs while no other test does, and they come last.
"""

from __future__ import annotations

import fcntl
import functools
import re
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHEAP = {"tests/popbox/conformance/test_faults.py", "tests/mailhost/cli/test_crash.py"}
"""Their fixtures are made in a moment, and their tests are many: better made once for each process."""


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
        """Stacks of containers take longest, so they begin first."""
        items.sort(
            key=lambda item: 2 if item.get_closest_marker("quiet") else 0 if item.get_closest_marker("docker") else 1
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Outside of all others, so that no test's timeout counts the wait."""
        if self.room is None:
            return (yield)
        with self.room.held(alone=item.get_closest_marker("quiet") is not None):
            return (yield)

    def pytest_unconfigure(self) -> None:
        """Take the locks' files away; whoever still waits has them open."""
        if self.room:
            self.room.remove()


def unit(root: Path, nodeid: str) -> str:
    """What goes to one process whole: a module that makes something for several of its tests, else the one test."""
    file = nodeid.partition("::")[0]
    return file if file not in CHEAP and together(root / file) else nodeid


@functools.cache
def together(path: Path) -> bool:
    """Whether a fixture of the module, or of a class in it, is made for several tests."""
    return path.suffix == ".py" and re.search(r"scope=\"(module|class|package)\"", path.read_text("utf-8")) is not None


class Room:
    """Many may be in it, or one alone. Who wants to be alone holds the door, so that nobody else comes in meanwhile."""

    def __init__(self, path: Path) -> None:
        self._door, self._inside = (path.with_name(f"{path.name}-{part}") for part in ("door", "inside"))

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """Inside; the kernel releases a lock when its holder dies."""
        with self._door.open("a") as door, self._inside.open("a") as inside:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
            try:
                yield
            finally:
                fcntl.flock(inside, fcntl.LOCK_UN)  # close() alone would not: a forked child has it open too

    def remove(self) -> None:
        """Its files."""
        for path in (self._door, self._inside):
            path.unlink(missing_ok=True)
