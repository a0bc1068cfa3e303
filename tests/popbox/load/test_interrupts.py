"""What a signal does to a run at each stage of it, exactly there: it is sent by what the stage calls."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
import tomli_w
from duckdb import DuckDBPyConnection
from tests.popbox.fakehost import FakeHost
from tests.popbox.load.books import Written

from popbox.cli import load as command
from popbox.cli.main import cli
from popbox.clients.wire import Address
from popbox.errors import ConnectionFailed, HostError
from popbox.load.books import outcome as books
from popbox.load.books.journal import Journal
from popbox.load.books.judge import EVIDENCE, Case
from popbox.load.books.outcome import Outcome
from popbox.load.books.tables import INTERRUPTED as BY_DUCKDB
from popbox.load.books.tables import opened
from popbox.load.report import pictures
from popbox.load.stage import drain
from popbox.load.stage import run as stage
from popbox.load.stage.drain import Drain
from popbox.load.stage.interrupts import Interrupts
from popbox.load.stage.processes import Processes

READ = Drain.run
TABLE: dict[str, Any] = {
    "title": "a run",
    "for": "60s",
    "drain": "1s",
    "user": {"office": {"kind": "sender", "rate": 1.0}},
}


class Screen:
    """Shows nothing."""

    def say(self, line: str) -> None:
        pass

    def tick(self, tick: object) -> None:
        pass


class Run:
    """A run without a host and without Locust, in which one message came. ``at`` gives what happens at each stage."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.reports, self.table = folder / "out", list[str](), TABLE
        self.at: dict[str, Callable[[], None]] = {}
        self._real = stage.outcome
        for name, what in (("declare", "mailboxes"), ("search", "search"), ("leftovers", "leftovers")):
            monkeypatch.setattr(stage, name, self._stub(what))
        monkeypatch.setattr(stage, "outcome", self._outcome)
        monkeypatch.setattr(Processes, "running", self._running)
        monkeypatch.setattr(stage, "watch", self._watch)
        monkeypatch.setattr(Drain, "run", self._drain)

    def hit(self, what: str) -> None:
        self.at.pop(what, lambda: None)()

    def _stub(self, what: str) -> Callable[..., Any]:
        def stub(*_: object) -> dict[str, int]:
            self.hit(what)
            return {}

        return stub

    @contextmanager
    def _running(self, *_: object) -> Iterator[None]:
        self.hit("spawning")
        yield
        self.hit("ending")

    def _watch(self, *_: object) -> str:
        books = Written(self.folder, "stage-more")
        books.sent("t1")
        books.fetched("t1", "u1")
        books.ended()
        self.hit("load")
        return ""

    def _drain(self, *_: object, **__: object) -> list[str]:
        self.hit("last fetch")
        return []

    def _outcome(self, *given: Any) -> Outcome:
        judged = self._real(*given)
        self.hit("judging")
        return judged

    def report(self, outcome: Outcome, folder: Path) -> None:
        (folder / "load.json").write_text(outcome.as_json())
        self.reports.append(outcome.world.interrupted)
        self.hit("report")

    def go(self) -> Outcome:
        host = FakeHost(serves={"smtp": Address("127.0.0.1", 1), "pop3": Address("127.0.0.1", 1)})
        return stage.run(host, self.table, self.folder, stage.Wish(), os.environ, Screen(), self.report)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


STAGES = ["mailboxes", "spawning", "load", "ending", "last fetch", "search", "leftovers", "judging", "report"]


@pytest.mark.parametrize("at", STAGES)
def test_a_signal_at_any_stage_leaves_a_report_that_says_so(run: Run, at: str) -> None:
    run.at[at] = send(signal.SIGINT)
    judged = run.go()
    assert not run.at, "the stage did not come"
    kept = json.loads((run.folder / "load.json").read_text())
    for world in (kept["world"], json.loads((run.folder / "world.json").read_text())):
        assert world["interrupted"] == "interrupted: judged so far"
    assert (judged.exit_code, kept["exit_code"]) == (3, 3)
    assert "interrupted: judged so far" in kept["not_judged"]
    assert kept["verdict"]["counts"]["once"] == (1 if at not in ("mailboxes", "spawning") else 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_before_the_mailboxes_are_there_has_none_read(run: Run) -> None:
    """Each login would be wrong, and after the fifth wait for its turn."""
    run.at = {"mailboxes": send(signal.SIGINT), "last fetch": lambda: pytest.fail("a fetch")}
    assert run.go().exit_code == 3
    assert list(run.at) == ["last fetch"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_a_supervisor_or_a_closed_terminal_sends_is_heard_as_well(run: Run, number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # nohup has HUP ignored
    try:
        run.at["judging"] = send(number)
        assert run.go().world.interrupted == "interrupted: judged so far"
    finally:
        signal.signal(number, before)


def test_without_a_signal_nothing_is_interrupted(run: Run) -> None:
    assert run.go().world.interrupted == ""
    assert run.reports == [""]


@pytest.mark.parametrize("at", ["judging", "report"])
def test_a_second_signal_while_it_is_judged_ends_it_at_once(run: Run, at: str) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    run.at[at] = twice
    with pytest.raises(KeyboardInterrupt):
        run.go()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("at", ["", "report"])
def test_a_run_whose_log_is_asked_is_joined_once_and_so_is_one_that_is_interrupted_then(
    run: Run, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The join of 2,000,000 messages takes a minute."""
    joins = list[Path]()

    def joined(folder: Path) -> AbstractContextManager[DuckDBPyConnection]:
        joins.append(folder)
        return opened(folder)

    def unseen() -> None:
        with Journal(run.folder, "stage-other") as journal:
            journal.write("accept", token="t2", box="joe@a", digest="d", octets=9, took_us=1_000)

    def logged(_host: object, cases: Sequence[Case], folder: Path) -> None:
        (folder / EVIDENCE).write_text(json.dumps({one.token: ["a line"] for one in cases}))

    monkeypatch.setattr(books, "opened", joined)
    monkeypatch.setattr(stage, "evidence", logged)
    run.at = {"load": unseen, **({at: send(signal.SIGINT)} if at else {})}
    judged = run.go()
    assert [(one.verdict, one.token, one.log) for one in judged.verdict.cases] == [("lost", "t2", ("a line",))]
    assert len(joins) == 1
    assert run.reports == ["", "interrupted: judged so far"][: len(run.reports)]
    assert judged.exit_code == (3 if at else 1)


def test_a_signal_before_the_host_is_there_leaves_a_report_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def host(*_: object, **__: object) -> Iterator[None]:
        signal.raise_signal(signal.SIGINT)
        yield

    monkeypatch.setattr(command, "_host", host)
    monkeypatch.setattr(pictures, "drawn", lambda _: "<svg></svg>")
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(TABLE))
    words = ["load", str(tmp_path / "plan.toml"), "--host", "local", "--report", str(tmp_path / "out")]
    assert cli.main(words, standalone_mode=False) == 3
    assert "not judged: interrupted: judged so far" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/load.json").read_text())["world"]["interrupted"] == "interrupted: judged so far"
    assert "interrupted: judged so far" in (tmp_path / "out/load.html").read_text()


def test_a_signal_between_two_parts_ends_the_next_one() -> None:
    with Interrupts() as heard:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), heard.cuttable():
            raise AssertionError("it was not ended")
        with heard.cuttable():
            pass
        assert not heard.taken()


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as heard:
            signal.raise_signal(signal.SIGHUP)
            assert not heard.taken()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupt_that_duckdb_hears_first_is_one(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1")
    books.ended()
    with pytest.raises(KeyboardInterrupt), opened(tmp_path):
        raise RuntimeError(BY_DUCKDB)
    with pytest.raises(RuntimeError, match="else"), opened(tmp_path):
        raise RuntimeError("something else")


def test_a_disk_that_is_full_before_the_first_table_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str) -> None:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    Written(tmp_path).ended()
    monkeypatch.setattr(duckdb, "connect", full)
    with pytest.raises(HostError, match="not judged: IO Error: Could not write file"), opened(tmp_path):
        raise AssertionError("it was opened")


def test_a_load_that_a_signal_ended_is_judged_without_the_second_one_that_ended_the_fetch(run: Run) -> None:
    run.at["load"] = run.at["last fetch"] = send(signal.SIGINT)
    assert run.go().world.interrupted == "interrupted: judged so far"
    assert run.reports == ["interrupted: judged so far"]


def test_a_signal_while_boxes_are_read_ends_the_fetch_and_no_further_box_is_opened(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, reading = list[object](), list[Drain]()

    def read(self: Drain, *given: Any, **how: Any) -> list[str]:
        reading.append(self)
        return READ(self, *given, **how)

    class Box:
        """The first visit is interrupted, and none ends before the fetch has heard of it."""

        def __init__(self, *_: object) -> None:
            opened.append(self)
            if len(opened) == 1:
                os.kill(os.getpid(), signal.SIGINT)  # to the main thread, not to this one
            deadline = time.monotonic() + 60
            while reading[0]._until and time.monotonic() < deadline:
                time.sleep(0.001)
            raise ConnectionFailed("it has ended")

    monkeypatch.setattr(Drain, "run", read)
    monkeypatch.setattr(drain, "BulkPop3", Box)
    run.table = {**TABLE, "accounts": {"mailboxes": 5 * drain.PARALLEL}}
    judged = run.go()
    assert judged.world.interrupted == "interrupted: judged so far"
    assert 0 < len(opened) <= drain.PARALLEL
    assert judged.exit_code == 3
    assert run.reports == ["interrupted: judged so far"]
