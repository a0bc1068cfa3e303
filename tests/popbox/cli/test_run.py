"""``popbox run``: many scenarios at a time, results in the order of the files, and reports of what came of them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.popbox.cli.test_cli import popbox
from tests.popbox.cli.test_interrupt import WAITS
from tests.popbox.report.test_report import a_result

from popbox.cli.main import cli
from popbox.errors import HostError
from popbox.hosts.choose import Choice
from popbox.journey.model import Disposition
from popbox.journey.store import Filters, Store
from popbox.report import run_report
from popbox.report.live import LiveScreen, Screen
from popbox.report.text import wrong
from popbox.result import Report, Result, Verdict
from popbox.run.suite import JOBS, LOCAL_JOBS, run_all
from popbox.scenario.load import ScenarioFile, load

WITHIN_S = 30

SENDS = """
title = "{name}"
[accounts.domains."{name}.example".mailboxes.joe]
login = "{name}"
crypt = "DmIMm9e5Hc8ic"
{before}
[[step]]
send = {{ from = "paul@example.org", to = ["joe@{name}.example"], id = "one" }}
"""
GONE = "[[step]]\nbreak = { remove = 'popboxes/gone-example/joe/Maildir' }\n"


def test_a_run_writes_reports_that_say_what_became_of_each_message(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SENDS.format(name="fine", before=""))
    (tmp_path / "b.toml").write_text(SENDS.format(name="gone", before=GONE))
    out, alone = tmp_path / "out", tmp_path / "x/alone.json"
    done = popbox("run", str(tmp_path), "--host", "local", "--report", str(out), "--json", str(alone), state=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"report: {out / 'report.html'}" in done.stdout
    jsonschema.validate(json.loads(alone.read_text()), run_report.schema())
    report = Report.model_validate_json((out / "report.json").read_text())
    assert [result.title for result in report.results] == ["fine", "gone"]
    fates = [message.ended.value for result in report.results for message in result.messages]
    assert fates == ["delivered exactly once", "deferred"]
    assert "Unable to chdir to maildir" in (out / "report.html").read_text()


def test_a_folder_that_cannot_be_made_is_exit_2_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = popbox("demo", "--host", "local", "--report", str(tmp_path / "file/deeper"), state=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "file/deeper" in done.stderr


class FakeHost:
    """A host on which every scenario ends at once; it notes when it was taken away."""

    name, mta, uid = "local", "stand-in", 888

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def cannot(self, _ability: object) -> str:
        return ""


def files(tmp_path: Path, own: tuple[bool, ...], of_qmail: int = -1) -> list[ScenarioFile]:
    loaded = []
    for number, alone in enumerate(own):
        path = tmp_path / f"{number}.toml"
        mta = ', mta = ["qmail"]' if number == of_qmail else ""
        needs = f"needs = {{ own-host = true{mta} }}\n" if alone else ""
        path.write_text(f'title = "{number}"\n{needs}[[step]]\nhup = "smtp"\n')
        loaded.append(load(path))
    return loaded


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[ScenarioFile], None]], list[FakeHost]]:
    """Replace the runner by a function; gives the list of hosts that were started."""
    hosts: list[FakeHost] = []

    def install(work: Callable[[ScenarioFile], None]) -> list[FakeHost]:
        def run(file: ScenarioFile, host: FakeHost, _watcher: object) -> Result:
            work(file)
            return a_result(Verdict.PASSED, file.scenario.title, [])

        monkeypatch.setattr("popbox.run.suite.run", run)
        return hosts

    return install


def started(hosts: list[FakeHost]) -> Callable[[], FakeHost]:
    def start(_own_disk: bool) -> FakeHost:
        hosts.append(FakeHost())
        return hosts[-1]

    return start


def test_results_come_in_the_order_of_the_files(tmp_path: Path, faked: Callable[..., list[FakeHost]]) -> None:
    """The later a file, the sooner it ends; hosts of their own are in between."""
    ended = [threading.Event() for _ in range(6)]
    ended[5].set()

    def work(file: ScenarioFile) -> None:
        number = int(file.scenario.title)
        assert ended[number + 1].wait(WITHIN_S)
        ended[number].set()

    hosts = faked(work)
    results = run_all(files(tmp_path, (False, True, False, True, False)), started(hosts), jobs=5)  # type: ignore[arg-type]
    assert [result.title for result in results] == ["0", "1", "2", "3", "4"]
    assert len(hosts) == 3, "one shared, two of their own"
    assert all(host.closed for host in hosts)


def test_no_host_is_brought_up_for_what_the_shared_one_cannot_run(
    tmp_path: Path, faked: Callable[..., list[FakeHost]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_is_up = threading.Event()

    class Pool(ThreadPoolExecutor):
        def submit(self, work: Any, file: ScenarioFile, *rest: Any) -> Any:  # type: ignore[override]
            if not file.scenario.needs.own_host:
                shared_is_up.set()
            return super().submit(work, file, *rest)

    monkeypatch.setattr("popbox.run.suite.ThreadPoolExecutor", Pool)
    hosts = faked(lambda _: None if shared_is_up.wait(WITHIN_S) else pytest.fail("no shared host"))
    results = run_all(files(tmp_path, (True, True, False), of_qmail=1), started(hosts), jobs=1)  # type: ignore[arg-type]
    assert [result.title for result in results] == ["0", "1", "2"]
    assert len(hosts) == 2, "one shared, one for the first"


def test_what_waits_for_mail_begins_between_what_has_a_host_of_its_own(
    tmp_path: Path, faked: Callable[..., list[FakeHost]]
) -> None:
    begun: list[str] = []
    hosts = faked(lambda file: begun.append(file.scenario.title))
    own = (True, True, False, True, False)
    assert len(list(run_all(files(tmp_path, own), started(hosts), jobs=1))) == 5  # type: ignore[arg-type]
    assert begun == ["0", "2", "1", "4", "3"]
    assert [host.closed for host in hosts] == [1] * 4, "none is asked again to go"


WAITING = {
    "nothing": "explain = { address = 'a@b.example' }",
    "a copy that comes late": "send = { from = 'a@b.example', to = ['c@d.example'], id = 'one' }",
    "a greeting that does not come": "wait-until = { silent = 'pop3' }",
    "a refused login": 'telnet = """\nC: USER a\nS: +OK...\nC: PASS b\nS: -ERR...\n"""\n[[step]]\nhup = \'smtp\'',
    "a conversation": "[step.telnet]\nat-least-s = 3\ntranscript = 'S: +OK...'",
}


def test_what_waits_longest_begins_first(tmp_path: Path, faked: Callable[..., list[FakeHost]]) -> None:
    loaded = []
    for number, step in enumerate(WAITING.values()):
        path = tmp_path / f"{number}.toml"
        path.write_text(f'title = "{number}"\n[[step]]\n{step}\n')
        loaded.append(load(path))
    begun: list[str] = []
    hosts = faked(lambda file: begun.append(file.scenario.title))
    results = run_all(loaded, started(hosts), jobs=1)  # type: ignore[arg-type]
    assert [result.title for result in results] == ["0", "1", "2", "3", "4"]
    assert begun == ["4", "2", "3", "1", "0"]


@pytest.mark.parametrize(("host", "jobs"), [("local", LOCAL_JOBS), ("docker", JOBS)])
def test_images_are_built_once_and_before_any_host_starts(
    host: Literal["local", "docker"], jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def run_none(_files: object, _start: object, at_a_time: int, _watcher: object) -> Iterator[Result]:
        asked.append(at_a_time)
        return iter(())

    monkeypatch.setattr("popbox.cli.run.choose", lambda *_: Choice(host, "stand-in", ""))
    monkeypatch.setattr("popbox.cli.run.prepare", lambda choice, _settings: asked.append(choice.host))
    monkeypatch.setattr("popbox.cli.run.run_all", run_none)
    files(tmp_path, (False, True))
    for more in ([], ["--jobs", "3"]):
        CliRunner().invoke(cli, ["run", str(tmp_path), *more], catch_exceptions=False)
    assert asked == [host, jobs, host, 3]


def test_no_more_than_jobs_run_at_a_time(tmp_path: Path, faked: Callable[..., list[FakeHost]]) -> None:
    now, most, lock, three = [0], [0], threading.Lock(), threading.Barrier(3)

    def work(_file: ScenarioFile) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        three.wait(WITHIN_S)
        with lock:
            now[0] -= 1

    hosts = faked(work)
    assert len(list(run_all(files(tmp_path, (False,) * 9), started(hosts), jobs=3))) == 9  # type: ignore[arg-type]
    assert most == [3]


def test_an_error_takes_all_hosts_away_and_drops_what_has_not_begun(
    tmp_path: Path, faked: Callable[..., list[FakeHost]]
) -> None:
    begun = []

    def work(file: ScenarioFile) -> None:
        begun.append(file.scenario.title)
        if file.scenario.title == "0":
            raise HostError("it broke")
        deadline = time.monotonic() + WITHIN_S
        while not any(host.closed for host in hosts) and time.monotonic() < deadline:
            time.sleep(0.005)

    hosts = faked(work)
    with pytest.raises(HostError, match="it broke"):
        list(run_all(files(tmp_path, (True, True, *(False,) * 20)), started(hosts), jobs=2))  # type: ignore[arg-type]
    assert len(begun) < 10
    assert all(host.closed for host in hosts)


def test_a_terminal_shows_what_runs_and_what_it_waits_for(tmp_path: Path) -> None:
    one, two = files(tmp_path, (False, True))
    screen = LiveScreen(print, 5, steps=False)
    screen.step_begins(one, 3, "it [bold]lies[/] there", "expect-delivered message one, 15 s at most")
    screen.step_begins(two, 0, "gone", "nothing")
    screen.ended(two, a_result(Verdict.FAILED, "t", []))
    console = Console(width=100, file=None, record=True, force_terminal=True)
    with console.capture() as got:
        console.print(screen)
    text = got.get()
    assert "1 of 5" in text
    assert "1 failed" in text
    assert "3 it [bold]lies[/] there:" in Console().render_str(text, markup=False).plain.replace("\x1b[2m", "").replace(
        "\x1b[0m", ""
    )
    assert "expect-delivered message one" in text
    assert "gone" not in text


def test_what_did_not_pass_is_shown_whole_as_it_ends_and_in_order_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen, (one, *_) = Screen(print, 3, steps=False), files(tmp_path, (False,))
    good, bad = (a_result(verdict, verdict.value, []) for verdict in (Verdict.PASSED, Verdict.FAILED))
    unseen = good.model_copy(update={"verdict": Verdict.NOT_PROVED, "title": "unseen", "scenario": "unseen.toml"})
    screen.ended(one, bad)
    lines = capsys.readouterr().out.splitlines()
    assert "  FAIL message one: lost" in lines
    assert "    why: failed" in lines
    assert lines[-1] == "FAILED: failed (1.5 s), host local, MTA stand-in: failed"
    screen.ended(one, good)
    screen.ended(one, unseen)
    assert "NOT PROVED: unseen (1.5 s), host local, MTA stand-in" in capsys.readouterr().out
    for result in (good, unseen, bad):
        screen.result(result)
    assert capsys.readouterr().out == "PASSED: passed (1.5 s), host local, MTA stand-in\n"
    assert list(wrong([good, unseen, bad])) == [
        "\nWhat did not pass, in the order of the files:",
        "  not proved unseen (unseen.toml): ",
        "  failed     failed (scenarios/failed-failed.toml): failed",
    ]
    assert list(wrong([bad])) == list(wrong([good, good])) == []


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_failure_is_seen_while_others_run(kind: str, open_tmp: Path) -> None:
    (open_tmp / "bad.toml").write_text('title = "bad"\n[[step]]\nshell = { script = "false" }\n')
    ours, theirs = os.openpty() if kind == "terminal" else os.pipe()
    environ = {**os.environ, "XDG_STATE_HOME": str(open_tmp), "TMPDIR": str(open_tmp), "TERM": "xterm"}
    argv = [sys.executable, "-m", "popbox", "run", str(WAITS), str(open_tmp / "bad.toml"), "--host", "local"]
    child = subprocess.Popen(argv, env=environ, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    try:
        said, deadline = b"", time.monotonic() + 60  # the other one waits for two minutes
        while b"FAILED:" not in said:
            assert select.select([ours], [], [], deadline - time.monotonic())[0], said
            assert time.monotonic() < deadline, said
            said += os.read(ours, 65536)
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)
        os.close(ours)


def test_a_run_keeps_the_journeys_of_its_host(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SENDS.format(name="gone", before=GONE))
    kept = tmp_path / "journeys.db"
    done = popbox("run", str(tmp_path / "a.toml"), "--host", "local", "--store", str(kept), state=tmp_path)
    assert (done.returncode, f"journeys: {kept}" in done.stdout) == (0, True), done.stdout + done.stderr
    with Store.open(kept, write=False) as store:
        (journey,) = [store.journey(of) for of in store.search(Filters(to="joe@gone.example"))]
    assert journey is not None
    assert journey.end is Disposition.DEFERRED


@pytest.mark.parametrize(
    ("more", "said"), [((), "one scenario, or --keep"), (("--keep",), "another process writes this store")]
)
def test_a_store_that_cannot_be_kept_is_exit_2_before_anything_starts(
    tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(SENDS.format(name=name, before=""))
    kept = tmp_path / "journeys.db"
    with Store.open(kept):
        done = popbox("run", str(tmp_path), "--host", "local", "--store", str(kept), *more, state=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
