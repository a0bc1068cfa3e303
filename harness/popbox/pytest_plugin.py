"""The pytest front door: scenario files become tests, and a run ends by saying which worlds it exercised.

A *world* is a host and an MTA, written ``host/mta``. Each scenario file runs once in each world of the ini option
``popbox_worlds`` (default ``auto/auto``); a world that this machine does not have is a skip that says what is missing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import Host, closing
from popbox.hosts.choose import Choice, HostName, MtaName, choose, start
from popbox.model import Verdict
from popbox.report.text import result_lines, step_lines
from popbox.runner import run
from popbox.scenario import load
from popbox.settings import Settings

EXERCISED, SKIPPED = "popbox exercised", "popbox skipped"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ini options: where scenario files lie, and in which worlds they run."""
    parser.addini("popbox_scenarios", "directories whose *.toml files are popbox scenarios", type="paths", default=[])
    parser.addini("popbox_worlds", "worlds (host/mta) in which each scenario runs", type="args", default=["auto/auto"])


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that scenario items carry, for ``-m "not docker"``."""
    config.stash[SHARED] = SharedHosts()
    config.addinivalue_line("markers", "docker: needs a Docker engine")
    config.addinivalue_line("markers", "realqmail: runs the real qmail programs")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect ``*.toml`` that lies directly in a scenario directory."""
    folders = [Path(folder).resolve() for folder in parent.config.getini("popbox_scenarios")]
    if file_path.suffix == ".toml" and file_path.parent.resolve() in folders:
        return ScenarioCollector.from_parent(parent, path=file_path)
    return None


class ScenarioCollector(pytest.File):
    """One scenario file."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each world."""
        for world in self.config.getini("popbox_worlds"):
            host, _, mta = world.partition("/")
            if host not in get_args(HostName) or mta not in get_args(MtaName):
                raise pytest.UsageError(f"popbox_worlds: {world!r} is no world; write for example local/standin")
            yield ScenarioItem.from_parent(self, name=world, host=host, mta=mta)


class ScenarioItem(pytest.Item):
    """One scenario in one world."""

    def __init__(self, *, host: HostName, mta: MtaName, **kwargs: Any) -> None:
        """``host`` and ``mta`` as on the command line."""
        super().__init__(**kwargs)
        self.host, self.mta = host, mta
        if host == "docker":
            self.add_marker("docker")
        if mta == "qmail":
            self.add_marker("realqmail")

    def runtest(self) -> None:
        """Bring up the world, run, take it away. Raises ScenarioFailed with the whole story."""
        settings = Settings.from_environment(os.environ)
        file = load(self.path)
        try:
            choice = choose(self.host, self.mta, settings)
        except HostError as error:
            note_skipped(self, f"{self.host}/{self.mta}", error.what)
            pytest.skip(str(error))
        note_exercised(self, f"host {choice.host}, MTA {choice.mta}")
        if file.scenario.needs.own_host:
            with closing(start(choice, settings)) as host:
                result = run(file, host)
        else:
            result = run(file, self.config.stash[SHARED].host(choice, settings))
        if result.verdict is Verdict.SKIPPED:
            pytest.skip(result.reason)
        if result.verdict is Verdict.FAILED:
            steps = [line for step in result.steps for line in step_lines(step)]
            raise ScenarioFailed("\n".join([*steps, *result_lines(result)]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The story alone for what popbox raises; a traceback for anything else."""
        if isinstance(excinfo.value, ScenarioFailed | PopboxError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the test is, for pytest's headings."""
        return self.path, None, f"{self.path.name} [{self.name}]"


class SharedHosts:
    """One host for each world of this pytest process, brought up when first needed, taken away at the end."""

    def __init__(self) -> None:
        self._up: dict[Choice, Host] = {}

    def host(self, choice: Choice, settings: Settings) -> Host:
        """The host of that world."""
        if choice not in self._up:
            self._up[choice] = start(choice, settings)
        return self._up[choice]

    def close(self) -> None:
        """Take all of them away."""
        while self._up:
            self._up.popitem()[1].close()


SHARED = pytest.StashKey[SharedHosts]()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The end of the run, also of an interrupted one."""
    config.stash[SHARED].close()


class ScenarioFailed(Exception):
    """A scenario's verdict is failed; the text is its report."""


def note_exercised(item: pytest.Item, world: str) -> None:
    """Count a test for a world in the closing table."""
    item.user_properties.append((EXERCISED, world))


def note_skipped(item: pytest.Item, world: str, why: str) -> None:
    """Name a world and the reason it was skipped in the closing table."""
    item.user_properties.append((SKIPPED, f"{world}: {why}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The closing table: which hosts and MTAs were exercised, which were skipped and why."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and (report.when == "call" or report.skipped)
    ]
    noted = Counter(tuple(entry) for report in reports for entry in report.user_properties)
    lines = [f"  exercised  {what}  (tests: {count})" for (kind, what), count in noted.items() if kind == EXERCISED]
    lines += [f"  skipped    {what}" for kind, what in noted if kind == SKIPPED]
    if lines:
        terminalreporter.section("popbox: hosts and MTAs")
        for line in sorted(lines):
            terminalreporter.write_line(line)
