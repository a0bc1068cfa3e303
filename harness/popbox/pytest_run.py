"""What one process of a pytest run holds for popbox: its hosts, and the results for reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from popbox.errors import NotPossibleError, UnusableError
from popbox.hosts.base import Ability, Host, closing
from popbox.hosts.choose import Choice, choose, start
from popbox.hosts.process import end_as_interrupted, owned
from popbox.hosts.shared_hosts import SharedHosts
from popbox.hosts.state import Process
from popbox.pytest_notes import OWN_HOST, OWNER, RESULTS, SETTINGS, wanted

if TYPE_CHECKING:
    from popbox.result import Result

NAME = "popbox of this process"


def plugin(config: pytest.Config) -> Plugin:
    """What this process holds; the first call makes it, and from then on pytest calls its hooks."""
    held: Plugin | None = config.pluginmanager.get_plugin(NAME)
    if held is None:
        held = Plugin(config)
        config.pluginmanager.register(held, NAME)
    return held


@contextmanager
def own(config: pytest.Config, marker: pytest.Mark) -> Iterator[Host]:
    """A host of its own for a test with that marker; where it cannot have small disks, the test is skipped.

    Raises:
        UnusableError: the marker has an argument that it does not know.
        HostError: the host did not come up.
    """
    if marker.args or marker.kwargs.keys() - {"small_disks"}:
        raise UnusableError(f"{OWN_HOST}{marker.args or marker.kwargs}: small_disks=True is all that it takes")
    mine, small = plugin(config), bool(marker.kwargs.get("small_disks"))
    mine.end_on_signals()
    choice = choose(*(wanted(config) or ("auto", "auto")), mine.settings)
    with closing(start(choice, mine.settings, own_disk=small)) as host:
        if small and (why := host.cannot(Ability.OWN_DISK)):
            raise NotPossibleError(why)
        yield host


class Plugin:
    """What one process of a run holds, and what is done with it at the run's end."""

    def __init__(self, config: pytest.Config) -> None:
        """Hosts belong to the controller's process; without xdist that is this one."""
        carried = getattr(config, "workerinput", {}).get(OWNER)
        self.is_worker = carried is not None
        self.owner = Process(*carried) if carried else Process.of(os.getpid())
        self.settings = config.stash[SETTINGS]
        self.hosts = SharedHosts(self.settings, self.owner)
        self.results: list[Result] = []
        self.began = datetime.now(UTC)

    def host(self, choice: Choice) -> Host:
        """The run's host of that world.

        Raises:
            HostError: it did not come up.
        """
        self.end_on_signals()
        return self.hosts.host(choice)

    def end_on_signals(self) -> None:
        """Have HUP and TERM end the run as Ctrl-C does, hosts taken away; a run without hosts ends as it always did."""
        owned(self, True)
        end_as_interrupted()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """xdist, in a worker: hand over the results."""
        if self.is_worker:
            carried = [one.model_dump_json() for one in self.results]
            session.config.workeroutput[RESULTS] = carried  # type: ignore[attr-defined]

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Below the table of worlds: the reports written, and the hosts that are left up."""
        if folder := config.getoption("popbox_report"):
            for path in self._write_reports(folder):
                terminalreporter.write_line(f"report: {path}")
        if config.getoption("popbox_keep"):
            for host in self.hosts.end(keep=True):
                smtp, pop3 = host.address("smtp"), host.address("pop3")
                terminalreporter.write_line(f"{host.describe()} stays up: SMTP {smtp}, POP3 {pop3}; by hand:")
                terminalreporter.write_line(f"  {host.by_hand()} mailbox list\n`popbox down` removes it.")

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """The end of the run, also of an interrupted one: take the hosts away, or leave them up where wanted."""
        if not self.is_worker and not config.getoption("popbox_keep"):
            self.hosts.end()
        owned(self, False)

    def _write_reports(self, folder: Path) -> Iterator[Path]:
        """One report for each world, as JSON and as HTML: ``docker-qmail.html``; gives the names."""
        from popbox.report import html, run_report  # only for those who want a report

        folder.mkdir(parents=True, exist_ok=True)
        for host, mta in sorted({(one.host, one.mta) for one in self.results}):
            mine = [one for one in self.results if (one.host, one.mta) == (host, mta)]
            report = run_report.make(host, mta, "", self.began, sorted(mine, key=lambda one: one.began))
            for suffix, form in (("json", run_report.as_json), ("html", html.render)):
                path = folder / f"{host}-{mta}.{suffix}"
                path.write_text(form(report), encoding="utf-8")
                yield path
