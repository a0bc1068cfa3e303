"""What a run shows in progress: plain lines; on a terminal also what runs now and what it waits for."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from popbox.printable import plain
from popbox.report.terminal import Echo, Shown
from popbox.report.text import WRONG, message_lines, result_lines, step_lines, whole_lines
from popbox.result import Result, StepResult, Verdict
from popbox.run.runner import Watcher
from popbox.scenario.load import ScenarioFile

STYLES = {
    "ok": "green",
    "FAIL": "bold red",
    "PASSED:": "green",
    "FAILED:": "bold red",
    "SKIPPED:": "yellow",
    "NOT": "yellow",
}
STYLES |= {"passed": "green", "failed": "bold red", "skipped": "yellow", "not": "yellow"}


class Screen(Shown, Watcher):
    """Plain lines, fit for a log file. ``steps``: each step as it ends (for one scenario), otherwise results only."""

    def __init__(self, echo: Echo, total: int, *, steps: bool, transcripts: bool = False) -> None:
        """``total`` scenarios are expected; ``transcripts`` are shown also of steps that passed."""
        self.echo, self.total, self.steps, self.transcripts = echo, total, steps, transcripts
        self._lock = threading.Lock()
        self._shown: set[str] = set()

    def say(self, line: str) -> None:
        """Print one line."""
        self.echo(line)

    def begins(self, file: ScenarioFile) -> None:
        """A scenario that is shown step by step begins."""
        self.say(f"\n{file.scenario.title}")

    def step_ended(self, file: ScenarioFile, step: StepResult) -> None:
        """See Watcher."""
        if self.steps:
            self._say_all(step_lines(step, self.transcripts))

    def ended(self, file: ScenarioFile, result: Result) -> None:
        """See Watcher; what did not pass is shown at once and whole, however long those before it still run."""
        if not self.steps and result.verdict in WRONG:
            self._shown.add(result.scenario)
            self._say_all(whole_lines(result))

    def result(self, result: Result) -> None:
        """A scenario's end, in the order of the files; nothing where it has been shown."""
        if self.steps:
            self._say_all([*message_lines(result), *result_lines(result)])
        elif result.scenario not in self._shown:
            self._say_all(result_lines(result))

    def _say_all(self, lines: Iterable[str]) -> None:
        with self._lock:
            for line in lines:
                self.say(line)


@dataclass(slots=True)
class Running:
    """A scenario that runs: its step, what that waits for, and since when (monotonic)."""

    title: str
    step: str = ""
    awaits: str = ""
    since: float = field(default_factory=time.monotonic)


class LiveScreen(Screen):
    """The same lines on a terminal, in colour, and below them what runs now."""

    def __init__(self, echo: Echo, total: int, *, steps: bool, transcripts: bool = False) -> None:
        """See Screen."""
        super().__init__(echo, total, steps=steps, transcripts=transcripts)
        self._console = Console(soft_wrap=True)
        self._running: dict[Path, Running] = {}
        self._began, self._done, self._failed = time.monotonic(), 0, 0
        self._spinner = Spinner("dots")
        self._live = Live(self, console=self._console, refresh_per_second=10, transient=True)

    def say(self, line: str) -> None:
        """See Screen; the first word of a line that is a verdict gets its colour."""
        line = plain(line)
        text = Text(line)
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word in STYLES and not line.startswith("         "):
            start = line.index(word)
            text.stylize(STYLES[word], start, start + len(word))
        self._console.print(text)

    def step_begins(self, file: ScenarioFile, number: int, name: str, awaits: str) -> None:
        """See Watcher."""
        self._running[file.path] = Running(file.scenario.title, f"{number} {name}", awaits)

    def ended(self, file: ScenarioFile, result: Result) -> None:
        """See Screen."""
        self._running.pop(file.path, None)
        self._done += 1
        self._failed += result.verdict is Verdict.FAILED
        super().ended(file, result)

    def __rich__(self) -> Group:
        """The lower part: progress, and a line for each scenario that runs."""
        now = time.monotonic()
        failed = f", [bold red]{self._failed} failed[/]" if self._failed else ""
        self._spinner.update(text=f"{self._done} of {self.total}{failed}, {now - self._began:.0f} s")
        table = Table.grid(padding=(0, 1), expand=True)
        for ratio in (2, 3):
            table.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True)
        for one in list(self._running.values()):
            step = f"[dim]{escape(plain(one.step))}:[/] {escape(plain(one.awaits))}"
            table.add_row(f"  {escape(plain(one.title))}", step, f"[dim]{now - one.since:.1f} s[/]")
        return Group(self._spinner, table)


def screen(echo: Echo, total: int, *, steps: bool, transcripts: bool = False) -> Screen:
    """The screen that fits the standard output: colour on a terminal, elsewhere lines by ``echo``."""
    kind = LiveScreen if sys.stdout.isatty() else Screen
    return kind(echo, total, steps=steps, transcripts=transcripts)
