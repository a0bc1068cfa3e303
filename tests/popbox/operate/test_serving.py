"""``popbox serve`` beside a kept host: there after ``up`` and ``demo``, ended by ``down``, which ends nothing else."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox.serve.mailing import until
from tests.popbox.serve.served import ask

from popbox.cli.main import cli
from popbox.clients.wire import Address
from popbox.errors import HostError, UnusableError
from popbox.hosts.state import Process, Registry
from popbox.operate import serving
from popbox.settings import Settings, find_assets


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that popuser may enter, unlike pytest's own; what is still up there at the end goes."""
    with tempfile.TemporaryDirectory(prefix="popbox-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
        popbox(Path(name), "down")


@pytest.fixture
def settings(place: Path) -> Settings:
    return Settings(find_assets(), place / "popbox", None)


def begun(place: Path, *argv: str) -> subprocess.Popen[str]:
    """A popbox whose state and hosts lie below that place; what is said to it is of a pipe."""
    environ = {**os.environ, "XDG_STATE_HOME": str(place), "TMPDIR": str(place), "DOCKER_HOST": "unix:///nowhere.sock"}
    command, pipe = [sys.executable, "-m", "popbox", *argv], subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def popbox(place: Path, *argv: str, code: int = 0) -> str:
    """What such a one prints until its end."""
    with begun(place, *argv) as program:
        said, _ = program.communicate(timeout=100)
    assert program.returncode == code, said
    return said


def told(said: str) -> str:
    """The address in what ``up`` or ``demo`` prints."""
    found = re.search(r"^ *HTTP (http://127\.0\.0\.1:\d+)$", said, re.MULTILINE)
    assert found, said
    return found[1]


def ready(url: str) -> bool:
    return not serving.not_ready(url)


@pytest.mark.parametrize("argv", [("up", "--serve", "--host", "local"), ("demo", "--keep", "--host", "local")])
def test_it_is_there_until_down(argv: tuple[str, ...], place: Path, settings: Settings) -> None:
    url = told(popbox(place, *argv))
    assert ready(url)
    (record,) = Registry(settings.state).all()
    served = serving.found(settings, record.id)
    assert served
    assert served.url == url
    (status,) = json.loads(popbox(place, "status", "--json"))
    assert (status["name"], status["http"], status["wrong"]) == (record.id, url, {})
    assert f"ended popbox serve on {url}\n" in popbox(place, "down")
    assert not served.lives()  # another test may have that port by now
    assert not served.process.group_lives()
    assert list(settings.state.glob("serve/*")) == []


def test_a_demo_shows_its_console_until_enter(place: Path, settings: Settings) -> None:
    with begun(place, "demo", "--console", "--allow-writes", "--host", "local") as program:
        assert program.stdin is not None
        assert program.stdout is not None
        line = next(one for one in program.stdout if one.startswith("console: "))
        url, _, invited = line.removeprefix("console: ").strip().partition("/enter?once=")
        assert (ready(url), bool(invited)) == (True, True)
        (record,) = Registry(settings.state).all()
        served = serving.found(settings, record.id)
        assert served
        assert served.lives()
        port, seen = int(url.rpartition(":")[2]), "/v1/journeys?subject=the%20first%20message"
        [journey] = until(lambda: [one for one in ask(port, seen)[1]["journeys"] if one["ended"]])
        assert journey["end"] == "delivered exactly once"
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.wait(100) == 0
    assert not served.lives()  # another test may have that port by now
    assert Registry(settings.state).all() == []
    assert list(settings.state.glob("serve/*")) == []


def test_with_writes_the_token_is_in_a_file_that_goes_with_it(place: Path, settings: Settings) -> None:
    said = popbox(place, "up", "--serve", "--allow-writes", "--host", "local")
    url = told(said)
    found = re.search(r"^writes with the token in (\S+)$", said, re.MULTILINE)
    assert found, said
    file = Path(found[1])
    assert (file.stat().st_mode & 0o777, file.read_text().strip() in said) == (0o600, False)
    assert re.search(rf"^console {url}/enter\?once=\S+$", said, re.MULTILINE), said
    assert made(url, file.read_text().strip()) == 201
    assert made(url, "x" * 20) == 401
    popbox(place, "down")
    assert list(settings.state.glob("serve/*")) == [], "the token, too"


def made(url: str, token: str) -> int:
    """The status of a space that is asked for."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/spaces", "{}", {"content-type": "application/json", "popbox-token": token})
    return connection.getresponse().status


@pytest.mark.parametrize(
    ("token", "options", "variable"),
    [
        (None, (), None),
        ("", ("--allow-writes", "--token-file", "{token}"), None),
        ("x" * 20, ("--allow-writes",), "x" * 20),
    ],
)
def test_a_token_that_was_chosen_is_handed_on(
    token: str | None,
    options: tuple[str, ...],
    variable: str | None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[tuple[Settings, tuple[str, ...]]] = []
    monkeypatch.setattr(serving, "_begun", lambda settings, name, at, *options: begun.append((settings, options)))
    serving.begin(settings, "host", token=token)
    [(with_it, given)] = begun
    file = str(serving.token_file(settings, "host"))
    assert given == tuple(one.format(token=file) for one in options)
    assert with_it.environ.get("POPBOX_TOKEN") == variable
    assert "POPBOX_TOKEN" not in settings.environ


@pytest.mark.parametrize("argv", [("up", "--allow-writes"), ("demo", "--allow-writes")])
def test_writes_need_a_server(argv: tuple[str, ...], place: Path) -> None:
    assert "--allow-writes is of `popbox serve`" in popbox(place, *argv, "--host", "local", code=2)


def test_a_host_stays_up_until_down_or_until_enter() -> None:
    done = CliRunner().invoke(cli, ["demo", "--keep", "--console"])
    assert "--keep leaves the host up until `popbox down`, --console until Enter" in done.output


def test_a_port_that_another_one_takes_in_that_moment_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Address] = []

    def begun(_settings: Settings, _name: str, listen: Address) -> str:
        tried.append(listen)
        if listen == serving.USUAL:
            raise HostError("it ended with 3 before it was ready", f"popbox: {listen} cannot be listened on: in use")
        return "begun"

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(serving, "USUAL", Address("127.0.0.1", taken.getsockname()[1]))
        free, at = [serving.USUAL], serving.at
        monkeypatch.setattr(serving, "at", lambda: free.pop() if free else at())  # free at the first look
        monkeypatch.setattr(serving, "_begun", begun)
        assert serving.begin(settings, "host") == "begun"
    assert [one.port for one in tried] == [serving.USUAL.port, 0]


def test_one_that_was_killed_is_not_shown_and_down_goes_on(place: Path, settings: Settings) -> None:
    popbox(place, "up", "--serve", "--host", "local")
    (record,) = Registry(settings.state).all()
    served = serving.found(settings, record.id)
    assert served
    os.kill(served.process.pid, 9)
    assert serving.wait_until(lambda: not served.lives(), serving.time.monotonic() + 60)
    assert json.loads(popbox(place, "status", "--json"))[0]["http"] == ""
    assert "removed host local" in popbox(place, "down")
    assert list(settings.state.glob("serve/*")) == []


@pytest.mark.parametrize("change", [{"started": 1}, {"where": "other-machine boot pid:[1]"}])
def test_what_is_not_that_very_process_is_left_alone(change: dict[str, object], settings: Settings) -> None:
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as stranger:
        theirs = replace(Process.of(stranger.pid), **change)  # type: ignore[arg-type]
        (settings.state / "serve").mkdir(parents=True)
        serving._save(settings, "abcd", serving.Serving(theirs, "http://127.0.0.1:1"))
        assert serving.end(settings, "abcd") == ""
        assert stranger.poll() is None
        serving._save(settings, "abcd", serving.Serving(Process.of(stranger.pid), "http://127.0.0.1:1"))
        assert serving.end(settings, "abcd") == "http://127.0.0.1:1"
        assert stranger.wait(60) == -15


def test_a_host_of_another_machine_is_left_to_that_machine(place: Path, settings: Settings) -> None:
    """A state directory may lie on a disk that machines share: there a pid names another process than here."""
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as stranger:
        theirs = replace(Process.of(stranger.pid), where="other-machine boot pid:[1]")
        registry = Registry(settings.state, theirs)
        record = registry.new("local", "stand-in", below=f"{place}/")
        registry.save(replace(record, kept=True, processes={"smtp": theirs, "pop3": theirs}))
        assert "runs on other-machine: `popbox down` there" in popbox(place, "down", code=3)
        assert stranger.poll() is None
        assert [one.id for one in registry.all()] == [record.id]
        registry.forget(record)
        stranger.kill()


def test_a_file_that_is_no_record_ends_nothing_and_is_named(place: Path, settings: Settings) -> None:
    popbox(place, "up", "--host", "local")
    (record,) = Registry(settings.state).all()
    (settings.state / "serve").mkdir()
    wrong = settings.state / "serve" / f"{record.id}.json"
    wrong.write_text('{"process": {"pid": 1}, "url": []}')
    assert f"{wrong} is no record of a popbox serve" in popbox(place, "down", code=3)
    assert Registry(settings.state).all() == [record]
    wrong.unlink()


def test_one_that_does_not_start_leaves_nothing_and_says_why(settings: Settings) -> None:
    with pytest.raises(HostError, match=r"(?s)ended with 3 before it was ready.*no host is up by the name 'abcd'"):
        serving.begin(settings, "abcd")
    assert list(settings.state.glob("serve/*")) == []


def test_a_port_that_is_taken_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address(*other.getsockname())
        monkeypatch.setattr(serving, "USUAL", taken)
        assert serving.at() == Address("127.0.0.1", 0)
    assert serving.at() == taken


def test_without_the_extra_up_brings_nothing_up(
    place: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "NEEDED", ("no_such_module",))
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    done = CliRunner().invoke(cli, ["up", "--serve", "--host", "local"])
    assert isinstance(done.exception, UnusableError)
    assert "pip install 'popbox[serve]'" in str(done.exception)
    assert Registry(settings.state).all() == []
