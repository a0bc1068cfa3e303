"""Scenario files as pytest items: one for each world, a host and an MTA; and the hosts that a run's items need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import closing
from popbox.hosts.choose import Choice, HostName, MtaName, choose, prepare, start
from popbox.printable import plain
from popbox.pytest_notes import OWN_HOST, SETTINGS, WORLD, note_exercised, note_skipped, wanted
from popbox.pytest_run import plugin
from popbox.report.text import result_lines, step_lines
from popbox.result import Verdict
from popbox.run.runner import run
from popbox.scenario.load import load


class ScenarioCollector(pytest.File):
    """One scenario file."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each world."""
        named = wanted(self.config)
        for world in ["/".join(named)] if named else self.config.getini("popbox_worlds"):
            host, _, mta = world.partition("/")
            if host not in get_args(HostName) or mta not in get_args(MtaName):
                raise pytest.UsageError(f"popbox_worlds: {world!r} is no world; write for example local/standin")
            yield ScenarioItem.from_parent(self, name=world, host=host, mta=mta)


class ScenarioItem(pytest.Item):
    """One scenario in one world."""

    def __init__(self, *, host: HostName, mta: MtaName, **kwargs: Any) -> None:
        """``host`` and ``mta`` as on the command line."""
        super().__init__(**kwargs)
        self.host, self.mta = self.stash[WORLD] = host, mta
        if host == "docker":
            self.add_marker("docker")
        if mta == "qmail":
            self.add_marker("realqmail")

    def wants_own_host(self) -> bool:
        """Whether it breaks its host, or wants it for itself; of a file that cannot be read, yes."""
        try:
            return load(self.path).scenario.needs.own_host
        except PopboxError:
            return True

    def runtest(self) -> None:
        """Bring up the world, run, take it away.

        Raises:
            ScenarioFailed: the verdict is failed or not proved; its text is the whole report.
        """
        held = plugin(self.config)
        file = load(self.path)
        try:
            choice = choose(self.host, self.mta, held.settings)
        except HostError as error:
            if wanted(self.config):
                raise
            note_skipped(self, f"{self.host}/{self.mta}", error.what)
            pytest.skip(str(error))
        note_exercised(self, f"host {choice.host}, MTA {choice.mta}")
        if file.scenario.needs.own_host:
            held.end_on_signals()
            with closing(start(choice, held.settings, own_disk=file.scenario.needs.own_disk)) as host:
                result = run(file, host)
        else:
            result = run(file, held.host(choice))
        held.results.append(result)
        if result.verdict is Verdict.SKIPPED:
            note_skipped(self, f"scenario in {self.host}/{self.mta}", result.reason)
            pytest.skip(plain(result.reason))
        if result.verdict in (Verdict.FAILED, Verdict.NOT_PROVED):
            steps = [line for step in result.steps for line in step_lines(step)]
            raise ScenarioFailed(plain("\n".join([*steps, *result_lines(result)])))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The story alone for what popbox raises; a traceback for anything else."""
        if isinstance(excinfo.value, ScenarioFailed | PopboxError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the test is, for pytest's headings."""
        return self.path, None, f"{self.path.name} [{self.name}]"


class ScenarioFailed(Exception):
    """A scenario's verdict is failed; the text is its report."""


def bring_up(items: list[pytest.Item]) -> None:
    """Start the hosts that these items share, and build the images of the others.

    What cannot be brought up fails the tests that ask for it, in their own words.
    """
    for choice, shared in _needed(items):
        held = plugin(items[0].config)
        with suppress(PopboxError):
            if shared:
                held.host(choice)
            else:
                prepare(choice, held.settings)


def _needed(items: list[pytest.Item]) -> dict[tuple[Choice, bool], None]:
    """The worlds that the items need, in that order; True: the host that they share, False: its images."""
    wishes: dict[tuple[HostName, MtaName, bool], None] = {}
    for item in items:
        if isinstance(item, ScenarioItem):
            wishes[item.host, item.mta, not item.wants_own_host()] = None
        elif not item.get_closest_marker("skip"):
            wishes[*(wanted(item.config) or ("auto", "auto")), not item.get_closest_marker(OWN_HOST)] = None
    found: dict[tuple[Choice, bool], None] = {}
    for host, mta, shared in wishes:
        with suppress(HostError):
            found[choose(host, mta, items[0].config.stash[SETTINGS]), shared] = None
    return found
