"""Tests spread over processes: what is made once stays together, and what measures is alone."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INI = f"[pytest]\nmarkers =\n quiet: x\n docker: x\n needs: x\npythonpath = {HERE.parent}\n"
pytest_plugins = ["pytester"]


@pytest.mark.parametrize("place", [".", "elsewhere"])
def test_modules_stay_together_and_what_measures_is_alone(pytester: pytest.Pytester, place: str) -> None:
    """Also where the test lies outside of the conftest's folder, as scenarios do."""
    pytester.makeini(INI)
    pytester.mkdir("tests").joinpath("conftest.py").write_text((HERE / "conftest.py").read_text())
    folder = pytester.path / "tests" / place
    folder.mkdir(exist_ok=True)
    made = pytester.path / "made"
    (folder / "test_one.py").write_text(
        f"""
import os, time, pytest
from pathlib import Path
MADE, NOW = Path({str(made)!r}), Path({str(pytester.path)!r}, "now")
NOW.mkdir(exist_ok=True)

@pytest.fixture(scope="module")
def stack():
    with MADE.open("a") as file:
        file.write("made ")

@pytest.mark.parametrize("n", range(4))
def test_with_it(stack, n): pass

@pytest.fixture
def inside(request):
    mine = NOW / request.node.name.replace("/", "-")
    mine.touch()
    yield
    mine.unlink()

@pytest.mark.parametrize("n", range(20))
def test_any(inside, n): time.sleep(0.05)

@pytest.mark.quiet
@pytest.mark.parametrize("n", range(4))
def test_quiet(inside, n):
    for _ in range(10):
        assert len(list(NOW.iterdir())) == 1
        time.sleep(0.01)
"""
    )
    done = pytester.runpytest_subprocess("-n", "3", "--dist", "loadscope", "--no-loadscope-reorder", "tests")
    done.assert_outcomes(passed=28)
    assert made.read_text() == "made "


def test_without_other_processes_there_is_nothing_to_wait_for(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makeconftest((HERE / "conftest.py").read_text())
    pytester.makepyfile("import pytest\n\n@pytest.mark.quiet\ndef test_quiet(): pass\n\ndef test_any(): pass")
    done = pytester.runpytest_subprocess("-v")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*test_any PASSED*", "*test_quiet PASSED*"])


def test_a_child_that_outlives_its_test_does_not_keep_the_lock(pytester: pytest.Pytester) -> None:
    """A forked child has the lock's file open too; closing it in the test's process alone releases nothing."""
    pytester.makeini(INI + "timeout = 60\n")
    pytester.makeconftest((HERE / "conftest.py").read_text())
    pytester.makepyfile(
        """
import os, signal, pytest
from pathlib import Path

def test_forks():
    child = os.fork()
    if not child:
        signal.pause()
    Path("child").write_text(str(child))

@pytest.mark.quiet
def test_quiet():
    os.kill(int(Path("child").read_text()), signal.SIGKILL)
"""
    )
    child = pytester.path / "child"
    try:
        done = pytester.runpytest_subprocess("-n", "1", "--dist", "loadscope", "--no-loadscope-reorder", timeout=30)
    finally:
        if child.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child.read_text()), signal.SIGKILL)
    done.assert_outcomes(passed=2)
