"""What one process of a pytest run holds for popbox, and what its tests note of the worlds that they ran in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from popbox.hosts.base import Host
from popbox.hosts.choose import Choice, HostName, MtaName
from popbox.hosts.process import end_as_interrupted, owned
from popbox.hosts.shared_hosts import SharedHosts
from popbox.hosts.state import Process
from popbox.printable import plain
from popbox.result import Result
from popbox.settings import Settings

EXERCISED, SKIPPED = "popbox exercised", "popbox skipped"
OWNER, RESULTS = "popbox_owner", "popbox_results"  # what xdist carries to a worker, and back from it


class Plugin:
    """What one process of a run holds."""

    def __init__(self, config: pytest.Config, environ: Mapping[str, str]) -> None:
        """Hosts belong to the controller's process; without xdist that is this one."""
        carried = getattr(config, "workerinput", {}).get(OWNER)
        self.is_worker = carried is not None
        self.owner = Process(*carried) if carried else Process.of(os.getpid())
        self.settings = Settings.from_environment(environ, partial(_say, config))
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

    def end(self, keep: bool) -> None:
        """The end of the run."""
        if not self.is_worker and not keep:
            self.hosts.end()
        owned(self, False)

    def write_reports(self, folder: Path) -> Iterator[Path]:
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


PLUGIN = pytest.StashKey[Plugin]()


def wanted(config: pytest.Config) -> tuple[HostName, MtaName] | None:
    """The world named on the command line, where one is named."""
    host, mta = config.getoption("popbox_host"), config.getoption("popbox_mta")
    return (host or "auto", mta or "auto") if host or mta else None


def note_exercised(item: pytest.Item, world: str) -> None:
    """Count a test for a world in the closing table."""
    item.user_properties.append((EXERCISED, world))


def note_skipped(item: pytest.Item, world: str, why: str) -> None:
    """Name a world and the reason it was skipped in the closing table."""
    item.user_properties.append((SKIPPED, f"{world}: {why}"))
