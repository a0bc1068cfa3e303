"""However a test run or a program with a MailHostContainer ends, its hosts go; no test pays for bringing them up."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from popbox.hosts.state import Record, Registry

pytest_plugins = ["pytester"]

GOES_ON = "import signal\ndef test_it(mailhost):\n    signal.pause()\n"
SLOW_FIRST = """
import signal
import popbox.hosts.shared_hosts
started = popbox.hosts.shared_hosts.start
def first(choice, settings, registry):
    settings.say("building the images, it takes minutes")
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0, "a test's time limit runs, by pytest-timeout's timer"
    return started(choice, settings, registry)
popbox.hosts.shared_hosts.start = first
"""
NEVER_STOPPED = """
import popbox.container
from popbox.hosts.choose import Choice
popbox.container.choose = lambda host, mta, settings: Choice("local", "stand-in", "")
host = popbox.container.MailHostContainer().start()
assert host.exec("domain", "list").code == 0
{then}
"""


pytestmark = pytest.mark.usefixtures("hup_counts")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    return pytester


def hosts(project: pytest.Pytester) -> list[Record]:
    return Registry(project.path / "state/popbox").all()


def until_up(project: pytest.Pytester, child: subprocess.Popen[bytes]) -> Record:
    """The record of the host that a run brings up, with both of its daemons."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        for one in hosts(project):
            if len(one.processes) == 2:
                return one
        time.sleep(0.05)
    child.kill()
    pytest.fail("no host came up")


def end(child: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Signal a run and wait for its exit code; one that goes on is killed, so that the test does not wait for it."""
    child.send_signal(number)
    try:
        return child.wait(60)
    except subprocess.TimeoutExpired:
        child.kill()
        pytest.fail(f"it goes on a minute after {number.name}")


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["one process", "xdist"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_run_that_is_ended_takes_its_hosts_away(
    number: signal.Signals, options: tuple[str, ...], project: pytest.Pytester
) -> None:
    project.makepyfile(GOES_ON)
    with subprocess.Popen([sys.executable, "-m", "pytest", *options], stdout=subprocess.DEVNULL) as child:
        record = until_up(project, child)
        assert end(child, number) == pytest.ExitCode.INTERRUPTED
    assert hosts(project) == []
    assert not Path(record.place).exists()
    assert not any(one.lives() for one in record.processes.values())


def test_a_run_that_was_killed_is_cleared_away_by_the_next(project: pytest.Pytester) -> None:
    project.makepyfile(GOES_ON)
    with subprocess.Popen([sys.executable, "-m", "pytest"], stdout=subprocess.DEVNULL) as child:
        record = until_up(project, child)
        child.kill()
    assert any(one.lives() for one in record.processes.values())
    project.makepyfile("def test_it(mailhost): pass")
    project.runpytest_subprocess().assert_outcomes(passed=1)
    assert hosts(project) == []
    assert not Path(record.place).exists()
    assert not any(one.lives() for one in record.processes.values())


def test_a_run_without_hosts_ends_as_it_would_without_popbox(project: pytest.Pytester) -> None:
    project.makepyfile("import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGTERM)")
    assert project.runpytest_subprocess().ret == -signal.SIGTERM


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["one process", "xdist"])
def test_what_takes_long_the_first_time_is_said_and_is_on_no_tests_time(
    options: tuple[str, ...], project: pytest.Pytester
) -> None:
    project.makeconftest(SLOW_FIRST)
    project.makepyfile("def test_it(popbox_host): pass")
    done = project.runpytest_subprocess("--timeout=200", *options)
    done.assert_outcomes(passed=1)
    assert "popbox: building the images, it takes minutes" in done.stdout.str() + done.stderr.str()


def test_nothing_is_brought_up_for_tests_that_need_no_host(project: pytest.Pytester) -> None:
    project.makeconftest(SLOW_FIRST)
    project.makepyfile("def test_it(): pass\ndef test_other(mailhost): pass")
    for options in (["-k", "test_it"], ["--collect-only"]):
        assert "building" not in project.runpytest_subprocess(*options).stdout.str()


@pytest.mark.parametrize("then", ["", "raise RuntimeError", "raise SystemExit(3)", "import os\nos.fork() or exit()"])
def test_a_container_that_nobody_stops_goes_with_its_process(then: str, project: pytest.Pytester) -> None:
    project.run(sys.executable, "-c", NEVER_STOPPED.format(then=then))
    assert hosts(project) == []


CONTAINER = NEVER_STOPPED.format(then="import signal\nsignal.pause()")
DIRECT = """
from pathlib import Path
from popbox.hosts.base import closing
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
import signal
def test_it():
    with closing(LocalHost.start(Registry(Path("state/popbox").absolute()))):
        signal.pause()
"""
UP_IN = {  # what brings a host up, and how it ends by a signal
    "program": (CONTAINER, ("program.py",), -signal.SIGINT),
    "test": (f"def test_it():\n{textwrap.indent(CONTAINER, '    ')}", ("-m", "pytest", "program.py"), 2),
    "test, a host of its own": (DIRECT, ("-m", "pytest", "program.py"), 2),
}


@pytest.mark.parametrize("what", UP_IN)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_what_brought_a_host_up_itself_takes_it_away_when_it_is_ended(
    number: signal.Signals, what: str, project: pytest.Pytester
) -> None:
    text, argv, code = UP_IN[what]
    (project.path / "program.py").write_text(text)
    silent = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, *argv], stdout=silent, stderr=silent) as child:
        record = until_up(project, child)
        assert end(child, number) == code
    assert hosts(project) == []
    assert not Path(record.place).exists()
    assert not any(one.lives() for one in record.processes.values())


def test_a_program_whose_host_is_stopped_ends_as_it_would_without_popbox(project: pytest.Pytester) -> None:
    then = "host.stop()\nimport os, signal\nos.kill(os.getpid(), signal.SIGTERM)"
    assert project.run(sys.executable, "-c", NEVER_STOPPED.format(then=then)).ret == -signal.SIGTERM


def test_a_fork_that_is_ended_leaves_its_parents_container(project: pytest.Pytester) -> None:
    then = """
import os, signal
try:
    if (child := os.fork()) == 0: os.kill(os.getpid(), signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert host.exec('domain', 'list').code == 0
finally:
    host.stop()
"""
    assert project.run(sys.executable, "-c", NEVER_STOPPED.format(then=then)).ret == 0
    assert hosts(project) == []


def test_a_fork_does_not_take_its_parents_container(project: pytest.Pytester) -> None:
    then = "import os, sys\nif os.fork() == 0: sys.exit()\nos.wait()\nassert host.exec('domain', 'list').code == 0"
    assert project.run(sys.executable, "-c", NEVER_STOPPED.format(then=then)).ret == 0
    assert hosts(project) == []
