"""Tests spread over processes: what is made once stays together, what measures is alone, no test holds up others."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INI = f"[pytest]\nmarkers =\n quiet: x\n docker: x\n needs: x\npythonpath = {shlex.quote(str(HERE.parent))}\n"
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
        done = pytester.runpytest_subprocess("-n", "1", "--dist", "loadscope", "--no-loadscope-reorder", timeout=120)
    finally:
        if child.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child.read_text()), signal.SIGKILL)
    done.assert_outcomes(passed=2)


def test_a_lock_that_nobody_lets_go_of_ends_the_run_and_its_holder_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makeconftest((HERE / "conftest.py").read_text() + "\nimport tests.spread\ntests.spread.WITHIN_S = 1.0\n")
    pytester.makepyfile(
        """
import fcntl, os, signal, tempfile, time, pytest
from pathlib import Path

def test_forks(testrun_uid):
    child = os.fork()
    if not child:
        os.closerange(0, 256)  # xdist's controller waits for the end of its pipe
        with Path(tempfile.gettempdir(), f"popbox-tests-{testrun_uid}-inside").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            Path("child").write_text(str(os.getpid()))
            signal.pause()
    while not Path("child").exists() or not Path("child").read_text():
        time.sleep(0.01)

@pytest.mark.quiet
def test_quiet():
    Path("begun").touch()
"""
    )
    child = pytester.path / "child"
    try:
        done = pytester.runpytest_subprocess("-n", "1", "--dist", "loadscope", "--no-loadscope-reorder", timeout=120)
        said = done.stdout.str() + done.stderr.str()
        assert f"waited 1 s for {tempfile.gettempdir()}/popbox-tests-" in said
        assert f"held by pid {child.read_text()} (" in said
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(child.read_text()), signal.SIGKILL)
    assert done.ret != 0
    assert not (pytester.path / "begun").exists()


@pytest.mark.usefixtures("hup_counts")
def test_a_signal_that_a_test_leaves_blocked_or_ignored_is_its_own_error(pytester: pytest.Pytester) -> None:
    """Later tests hear it."""
    pytester.makeini(INI)
    pytester.makeconftest((HERE / "conftest.py").read_text())
    pytester.makepyfile(
        """
import signal

def test_blocks():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGRTMIN + 1])

def test_ignores():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

def test_hears():
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""
    )
    done = pytester.runpytest_subprocess()
    done.assert_outcomes(passed=3, errors=2)
    done.stdout.fnmatch_lines([f"it leaves blocked or ignored: {which}" for which in ("SIGALRM, signal 35", "SIGHUP")])
