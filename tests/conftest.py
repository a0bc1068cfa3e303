"""What all tests share: needs are looked at before anything is set up, and the closing table counts them by name.

How tests are spread over processes stands in ``spread.py``. No test may leave a signal blocked or ignored.

The table also counts the tests that ran real qmail's programs on this machine.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.needs import NEEDS, PREFIX, require
from tests.spread import Spread

from popbox.pytest_notes import EXERCISED, SKIPPED

HERE = Path(__file__).parent
UNHEARD = pytest.StashKey[set[int]]()
PROGRAMS = "real qmail's programs in /var/qmail"


def pytest_configure(config: pytest.Config) -> None:
    """For tests outside of this folder too: scenarios. Hypothesis's deadlines judge the machine, not the code.

    Ctrl-C counts in each test, and in each program that a test starts.
    """
    settings.register_profile("popbox", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("popbox")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell without job control starts what ends with &
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Spread(config), "popbox-spread")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A need that is not in the table would never be met."""
    for item in items:
        for mark in item.iter_markers("needs"):
            if unknown := set(mark.args) - NEEDS.keys():
                raise pytest.UsageError(f"{item.nodeid} needs {', '.join(sorted(unknown))}: not in tests/needs.py")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here before any of its fixtures begins."""
    item.stash[UNHEARD] = unheard()
    for mark in item.iter_markers("needs"):
        require(*mark.args)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """A signal that a test leaves blocked or ignored is so in every program of the tests after it: they would hang.

    Nor could their time limits end them, which are signals.
    """
    try:
        return (yield)
    finally:
        if left := unheard() - item.stash[UNHEARD]:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, left)
            for number in left:
                if signal.getsignal(number) is signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            pytest.fail(f"it leaves blocked or ignored: {', '.join(map(name_of, sorted(left)))}", pytrace=False)


@pytest.fixture
def hup_counts() -> Iterator[None]:
    """HUP has its default action also below nohup(1), which has it ignored by every program that is started."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def unheard() -> set[int]:
    """The signals that this thread blocks, or this process ignores."""
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    return ignored | signal.pthread_sigmask(signal.SIG_BLOCK, ())


def name_of(number: int) -> str:
    """Not every real-time signal has one."""
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what a skipped test lacked, and each test marked ``realqmail`` that drives the programs themselves."""
    report = yield
    reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
    folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
    if report.skipped and reason.startswith(PREFIX):
        report.user_properties.append((SKIPPED, reason.removeprefix(PREFIX)))
    elif report.when == "call" and folder in ("parity", "contract") and item.get_closest_marker("realqmail"):
        report.user_properties.append((EXERCISED, PROGRAMS))
    return report
