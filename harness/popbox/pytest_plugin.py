"""The pytest front door: fixtures for tests in Python, scenario files as tests, and a table of what was exercised.

A *world* is a host and an MTA, written ``host/mta``. Each scenario file runs once in each world of the ini option
``popbox_worlds`` (default ``auto/auto``); a world that this machine does not have is a skip that says what is missing.
``--popbox-host`` and ``--popbox-mta`` name the one world of fixtures, and then of scenarios too; there a
world that is unavailable is an error. All processes of a run (pytest-xdist) share one host for each world.

Every pytest run of the environment imports this module: what it needs for hosts it imports where a test asks for one.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from popbox.errors import HostError, NotPossibleError, PopboxError
from popbox.printable import plain
from popbox.pytest_notes import (
    EXERCISED,
    OWN_HOST,
    OWNER,
    RESULTS,
    SETTINGS,
    SKIPPED,
    WORLD,
    note_exercised,
    note_skipped,
    wanted,
)
from popbox.settings import HostName, MtaName, Settings

if TYPE_CHECKING:
    from popbox.clients.pop3 import Pop3
    from popbox.hosts.base import Host
    from popbox.testing import Mailbox, MailHost, Sent

CALLED = pytest.StashKey[pytest.TestReport]()
REASON = pytest.StashKey[str]()  # why the call failed
MINE: pytest.StashKey[MailHost] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ini options: where scenario files lie, and in which worlds they run. Options: the world of this run."""
    parser.addini("popbox_scenarios", "directories whose *.toml files are popbox scenarios", type="paths", default=[])
    parser.addini("popbox_worlds", "worlds (host/mta) in which each scenario runs", type="args", default=["auto/auto"])
    group = parser.getgroup("popbox", "popbox: mail hosts for tests")
    group.addoption("--popbox-host", choices=get_args(HostName), help="where the mail host runs (default auto)")
    group.addoption("--popbox-mta", choices=get_args(MtaName), help="what takes the mail (default auto)")
    group.addoption("--popbox-keep", action="store_true", help="leave the hosts up; `popbox down` removes them")
    group.addoption("--popbox-allow-empty", action="store_true", help="0 also where every scenario was skipped")
    group.addoption("--popbox-report", metavar="DIR", type=Path, help="write HOST-MTA.json and HOST-MTA.html here")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that scenario items carry, for ``-m "not docker"``."""
    config.stash[SETTINGS] = Settings.from_environment(os.environ, partial(_say, config))
    _check_places(config)
    config.addinivalue_line("markers", "docker: needs a Docker engine")
    config.addinivalue_line("markers", "realqmail: runs the real qmail programs")
    config.addinivalue_line("markers", f"{OWN_HOST}(small_disks=False): a mail host for this test alone, to be broken")


def _check_places(config: pytest.Config) -> None:
    """Refuse folders that cannot be what they are for, before the first test.

    Raises:
        UsageError: scenarios would be left out without a word, or the reports be lost at the end of the run.
    """
    for folder in config.getini("popbox_scenarios"):
        if not folder.is_dir():
            raise pytest.UsageError(f"popbox_scenarios: {folder} is no directory")
    if report := config.getoption("popbox_report"):
        try:
            report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(f"--popbox-report {report}: {error.strerror}") from error
        if not os.access(report, os.W_OK | os.X_OK):
            raise pytest.UsageError(f"--popbox-report {report}: {os.strerror(errno.EACCES)}")


def _say(config: pytest.Config, line: str) -> None:
    """To the terminal, past pytest's capture; a worker of xdist has only the standard error that it shares."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        if reporter and not hasattr(config, "workerinput"):
            reporter.ensure_newline()
            reporter.write_line(plain(f"popbox: {line}"))
        else:
            print(plain(f"popbox: {line}"), file=sys.stderr, flush=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist, in the controller: tell a worker whose hosts it shares."""
    from popbox.pytest_run import plugin

    mine = plugin(node.config)
    mine.end_on_signals()  # its workers may bring hosts up, which are its own to take away
    node.workerinput[OWNER] = (mine.owner.pid, mine.owner.started, mine.owner.where)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """xdist, in the controller: take over what a worker has seen."""
    if carried := getattr(node, "workeroutput", {}).get(RESULTS):
        from popbox.pytest_run import plugin
        from popbox.result import Result

        plugin(node.config).results += [Result.model_validate_json(one) for one in carried]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run of which every scenario was skipped is no success."""
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and session.exitstatus == pytest.ExitCode.OK and _nothing_ran(session.config):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def _nothing_ran(config: pytest.Config) -> bool:
    """Whether the run was of scenarios alone and all of them were skipped, unless ``--popbox-allow-empty``."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.getoption("popbox_allow_empty"):
        return False
    reports = {kind: reporter.stats.get(kind, []) for kind in ("passed", "failed", "error", "xfailed", "xpassed")}
    skipped = [one.nodeid.partition("::")[0] for one in reporter.stats.get("skipped", [])]
    return bool(skipped) and not any(reports.values()) and all(path.endswith(".toml") for path in skipped)


@pytest.fixture(scope="session")
def popbox_host(pytestconfig: pytest.Config) -> Host:
    """The running host of ``--popbox-host`` and ``--popbox-mta``, shared by all tests and processes of the run."""
    from popbox.hosts.choose import choose
    from popbox.pytest_run import plugin

    mine = plugin(pytestconfig)
    try:
        return mine.host(choose(*(wanted(pytestconfig) or ("auto", "auto")), mine.settings))
    except HostError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def mailhost(request: pytest.FixtureRequest) -> Iterator[MailHost]:
    """The mail host as this test sees it: declare mailboxes, send, look, open POP3 sessions."""
    from popbox.testing import MailHost

    with _own_host(request) as own:
        host: Host = own or request.getfixturevalue("popbox_host")
        note_exercised(request.node, host.describe())
        mine = request.node.stash[MINE] = MailHost(host, request.node.nodeid, request.path.parent)
        yield mine
        mine.close()
        _report(request, mine)


def _report(request: pytest.FixtureRequest, mine: MailHost) -> None:
    """Keep the test's result for the reports, while its host is up."""
    from popbox.pytest_run import plugin

    called = request.node.stash.get(CALLED, None)
    if request.config.getoption("popbox_report") and called and not called.skipped:
        plugin(request.config).results.append(mine.result(failed=request.node.stash[REASON]))


@contextmanager
def _own_host(request: pytest.FixtureRequest) -> Iterator[Host | None]:
    """The host of a test with the marker `popbox_own_host`, for as long as the test; None without the marker."""
    marker = request.node.get_closest_marker(OWN_HOST)
    if marker is None:
        yield None
        return
    from popbox.pytest_run import own

    with own(request.config, marker) as host:
        yield host


@pytest.fixture
def mailbox(mailhost: MailHost) -> Mailbox:
    """A mailbox in a domain that no other test has."""
    return mailhost.mailbox()


@pytest.fixture(scope="module")
def module_mailbox(request: pytest.FixtureRequest, popbox_host: Host) -> Iterator[Mailbox]:
    """A mailbox that the tests of one module share, in a domain of its own."""
    yield from _shared_mailbox(request, popbox_host)


@pytest.fixture(scope="session")
def session_mailbox(request: pytest.FixtureRequest, popbox_host: Host) -> Iterator[Mailbox]:
    """A mailbox that all tests of a run (under pytest-xdist: of a process) share, in a domain of its own."""
    yield from _shared_mailbox(request, popbox_host)


def _shared_mailbox(request: pytest.FixtureRequest, host: Host) -> Iterator[Mailbox]:
    from popbox.testing import MailHost

    mail = MailHost(host, f"{request.node.nodeid or 'session'} {request.scope}", request.config.rootpath)
    yield mail.mailbox()
    mail.close()


@pytest.fixture
def send_mail(mailhost: MailHost) -> Callable[..., Sent]:
    """``send_mail(to, text)`` or ``send_mail(to, mail=FILE)``, FILE beside the test: sends one message over SMTP."""
    return mailhost.send


@pytest.fixture
def pop3(mailhost: MailHost) -> Callable[[Mailbox], Pop3]:
    """``pop3(mailbox)``: a session, logged in; closed without QUIT at the test's end."""
    return mailhost.session


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Before the first test: bring up the hosts that tests share, and build images, on no test's time limit.

    A first build takes minutes.
    """
    asking = [item for item in session.items if _asks(item)]
    option = session.config.option
    runs = not (option.collectonly or getattr(option, "setupplan", False))  # -p no:setupplan takes that option away
    if asking and runs and not session.testsfailed:
        from popbox.pytest_scenarios import bring_up

        bring_up(asking)
    return (yield)


def _asks(item: pytest.Item) -> bool:
    return WORLD in item.stash or not {"popbox_host", "mailhost"}.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Skip a test whose fixture takes a step that the engine of its host refuses."""
    with _skipping_the_impossible(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Skip a test that takes a step that the engine of its host refuses, as a scenario is skipped."""
    with _skipping_the_impossible(item):
        return (yield)


@contextmanager
def _skipping_the_impossible(item: pytest.Item) -> Iterator[None]:
    try:
        yield
    except NotPossibleError as why:
        reason = f"not possible on this host: {why.what}"
        note_skipped(item, "test", reason)
        pytest.skip(plain(reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails, or whose set-up fails, shows its steps and sessions, and what the mail host logged on them."""
    if call.excinfo and not item.config.getoption("fulltrace"):
        _hide_our_frames(call.excinfo.value)
    report = yield
    if report.when == "call":
        item.stash[CALLED] = report
        item.stash[REASON] = _reason(call) if report.failed else ""
    if report.failed and MINE in item.stash:
        report.sections += [(heading, plain(text)) for heading, text in item.stash[MINE].story()]
    return report


def _reason(call: pytest.CallInfo[None]) -> str:
    """Why a test failed, in a line: the first one that its assertion, or its error, says."""
    assert call.excinfo is not None
    said = str(call.excinfo.value).strip()
    return plain(said.splitlines()[0]) if said else call.excinfo.typename


def _hide_our_frames(error: BaseException) -> None:
    """What popbox raises on purpose says itself what is wrong: its traceback ends at the line of the test.

    pytest looks for `__tracebackhide__` among a frame's globals too. Of an error that popbox does not raise on purpose
    every frame is shown.
    """
    if _is_on_purpose(error):
        ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == "popbox"]
        for module in ours:
            vars(module).setdefault("__tracebackhide__", _on_purpose)


def _on_purpose(caught: pytest.ExceptionInfo[BaseException]) -> bool:
    return _is_on_purpose(caught.value)


def _is_on_purpose(error: BaseException) -> bool:
    return isinstance(error, PopboxError) or type(error).__module__ == "popbox.testing"  # `Unproved`


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect ``*.toml`` that lies directly in a scenario directory."""
    folders = [Path(folder).resolve() for folder in parent.config.getini("popbox_scenarios")]
    if file_path.suffix == ".toml" and file_path.parent.resolve() in folders:
        from popbox.pytest_scenarios import ScenarioCollector

        return ScenarioCollector.from_parent(parent, path=file_path)
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The closing table: which hosts and MTAs were exercised, which were skipped and why."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and (report.when == "call" or report.skipped)
    ]
    noted = Counter(tuple(entry) for report in reports for entry in report.user_properties)
    lines = [f"  exercised  {what}  (tests: {count})" for (kind, what), count in noted.items() if kind == EXERCISED]
    lines += [f"  skipped    {what}  (tests: {count})" for (kind, what), count in noted.items() if kind == SKIPPED]
    if lines:
        terminalreporter.section("popbox: hosts and MTAs")
        for line in sorted(lines):
            terminalreporter.write_line(plain(line))
    if _nothing_ran(config):
        terminalreporter.write_line("popbox: every scenario was skipped, so nothing is proved: exit code 5")
