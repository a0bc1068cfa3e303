"""A log that grows is read once and whole: through rotation, truncation, restarts and half-written lines."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from popbox.errors import HostError
from popbox.hosts.command_log import CommandFollower
from popbox.hosts.docker.host import DockerHost
from popbox.hosts.following import FileFollower, Follower, end_of


def texts(follower: Follower) -> list[str]:
    return [line.text for line in follower.lines()]


class Log:
    """A log, and what reads it. ``restart`` is what a reader's death and its next start do."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.follower = FileFollower(self.path)
        self.places: list[str] = []

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def read(self) -> list[str]:
        found = list(self.follower.lines())
        self.places += [line.place for line in found]
        assert len(set(self.places)) == len(self.places)
        return [line.text for line in found]

    def restart(self) -> None:
        position = self.follower.position
        self.follower.close()
        self.follower = FileFollower(self.path, position)


@pytest.fixture(params=["maillog", "current"])
def log(tmp_path: Path, request: pytest.FixtureRequest) -> Log:
    return Log(tmp_path, request.param)


@pytest.fixture(params=[True, False], ids=["restarted", "running"])
def meanwhile(request: pytest.FixtureRequest, log: Log) -> Callable[[], None]:
    """What happens to the reader while the log is rotated."""
    return log.restart if request.param else lambda: None


def beside(log: Log, number: int) -> Path:
    """The name of a rotated file: logrotate's, or multilog's and s6-log's."""
    return log.path.with_name(f"@4000000{number}.s" if log.path.name == "current" else f"{log.path.name}.{9 - number}")


def rename(log: Log, to: Path) -> None:
    log.path.rename(to)


def copy_and_truncate(log: Log, to: Path) -> None:
    shutil.copyfile(log.path, to)
    os.truncate(log.path, 0)


def test_a_log_that_is_not_there_yet_is_empty(log: Log) -> None:
    assert log.read() == []
    log.write("one\n")
    assert log.read() == ["one"]


def test_a_torn_last_line_waits_for_its_end(log: Log, meanwhile: Callable[[], None]) -> None:
    log.write("one\ntw")
    assert log.read() == ["one"]
    meanwhile()
    assert log.read() == []
    log.write("o\n")
    assert log.read() == ["two"]


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate])
def test_what_was_not_read_before_a_rotation_comes_first(
    log: Log, meanwhile: Callable[[], None], rotate: Callable[[Log, Path], None]
) -> None:
    log.write("one\ntwo\n")
    assert log.read() == ["one", "two"]
    log.write("three\n")
    meanwhile()
    rotate(log, beside(log, 1))
    log.write("four\n")
    assert log.read() == ["three", "four"]
    assert not log.follower.gap
    assert log.read() == []


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate])
def test_two_rotations_at_once(log: Log, meanwhile: Callable[[], None], rotate: Callable[[Log, Path], None]) -> None:
    log.write("one\n")
    assert log.read() == ["one"]
    log.write("two\n")
    rotate(log, beside(log, 1))
    os.utime(beside(log, 1), (1, 1))
    log.write("three\n")
    meanwhile()
    rotate(log, beside(log, 2))
    log.write("four\n")
    assert log.read() == ["two", "three", "four"]


def test_a_file_cut_to_nothing_and_as_long_again_is_another(log: Log, meanwhile: Callable[[], None]) -> None:
    log.write("one\ntwo\n")
    assert log.read() == ["one", "two"]
    meanwhile()
    os.truncate(log.path, 0)
    log.write("six\nten\n")
    assert log.read() == []
    assert "rotated or removed" in log.follower.gap
    assert log.read() == ["six", "ten"]
    assert not log.follower.gap


def test_a_rotated_file_that_is_gone_is_a_gap_only_if_it_was_not_read(log: Log) -> None:
    log.write("one\n")
    assert log.read() == ["one"]
    log.path.unlink()
    log.write("two\n")
    assert log.read() == ["two"]  # the file was open still, and read to its end
    assert not log.follower.gap
    log.restart()
    log.path.rename(log.path.with_name("elsewhere"))
    log.write("three\n")
    assert (log.read(), bool(log.follower.gap)) == ([], True)
    assert log.read() == ["three"]


def test_reading_stops_anywhere_and_goes_on_behind_the_last_line_taken(log: Log) -> None:
    log.write("".join(f"line {number}\n" for number in range(5000)))
    seen = []
    while True:
        taken = []
        for line in log.follower.lines():
            taken.append(line.text)
            if len(taken) == 700:
                break
        seen += taken
        if not taken:
            break
        log.restart()
    assert seen == [f"line {number}" for number in range(5000)]


def test_what_has_no_end_of_line_does_not_fill_memory(log: Log) -> None:
    log.write("x" * 300_000)
    assert log.read() == []
    log.write("y\nnext\n")
    assert log.read()[-1] == "next"


def test_octets_that_are_no_text_are_taken(log: Log) -> None:
    log.path.write_bytes(b"\xff\0 one\n")
    assert log.read() == ["\ufffd\0 one"]


def test_a_fifo_is_refused_and_not_waited_for(log: Log) -> None:
    os.mkfifo(log.path)
    with pytest.raises(OSError, match="no regular file"):
        log.read()


def test_a_command_that_shows_the_end_of_a_log() -> None:
    shown = [f"msg {number}" for number in range(30)]
    follower = CommandFollower(lambda: "".join(f"{line}\n" for line in shown[-25:]) + "torn")
    assert texts(follower) == shown[-25:]
    shown.append("msg 30")
    follower = CommandFollower(lambda: "".join(f"{line}\n" for line in shown[-25:]), follower.position)
    assert texts(follower) == ["msg 30"]
    shown += [f"msg {number}" for number in range(31, 99)]
    assert (texts(follower), bool(follower.gap)) == ([], True)
    assert (texts(follower), follower.gap) == (shown[-25:], "")


IDLE = "status: local 0/10 remote 0/20"
ONE = ["new msg 5", "starting delivery 1: msg 5 to local x", IDLE, "end msg 5", IDLE]


def command(shown: list[str], position: str = "") -> CommandFollower:
    return CommandFollower(lambda: "".join(f"{line}\n" for line in shown), position)


def test_after_a_short_first_look_lines_that_come_again_hide_none() -> None:
    shown = [IDLE]
    follower = command(shown)
    assert texts(follower) == [IDLE]
    shown += ONE
    follower = command(shown, follower.position)
    assert texts(follower) == ONE, "and not only what is behind the last status"
    assert texts(follower) == []
    shown += ONE * 5
    assert texts(follower) == ONE * 5


def test_of_a_short_log_whose_begin_is_shown_no_more_it_is_told_that_it_cannot_be_told() -> None:
    shown = [IDLE]
    follower = command(shown)
    assert texts(follower) == [IDLE]
    shown[:] = ["begin of service", IDLE, *ONE]
    assert (texts(follower), follower.gap.startswith("the log command shows the few lines")) == ([], True)
    shown.append("new msg 6")
    assert (texts(follower), follower.gap) == (["new msg 6"], "")
    shown[:] = ["only once", IDLE, "new msg 7"]
    follower = command([IDLE])
    assert texts(follower) == [IDLE]
    follower = command(shown, follower.position)
    assert (texts(follower), follower.gap) == (["new msg 7"], "")


def test_a_short_log_after_a_rotation_is_told_once() -> None:
    shown = [f"msg {number}" for number in range(3)]
    follower = command(shown)
    assert texts(follower) == shown
    shown[:] = ["rotated 1", "rotated 2"]
    assert (texts(follower), bool(follower.gap)) == ([], True)
    assert (texts(follower), follower.gap) == (["rotated 1", "rotated 2"], "")
    for number in range(3, 6):
        shown.append(f"rotated {number}")
        assert (texts(follower), follower.gap) == ([f"rotated {number}"], "")


def test_positions_are_text_of_their_own() -> None:
    assert json.loads(FileFollower(Path("/nowhere")).position)[0] == 0


def test_the_end_of_a_containers_log_is_whole_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = b"line 1 of it\nline 2 of it\nline 3 of it\n"
    host = object.__new__(DockerHost)
    monkeypatch.setattr(DockerHost, "_container", lambda *_: SimpleNamespace(logs=lambda tail: logged))
    assert host.log_end("pop3", 30) == "line 2 of it\nline 3 of it\n"
    assert host.log_end("pop3", 300) == logged.decode()


def test_the_end_of_a_log_is_whole_lines_and_no_more_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert end_of(log, 100) == ""
    log.write_bytes("".join(f"line {number} ä\n" for number in range(100)).encode())
    assert end_of(log, 28) == "line 98 ä\nline 99 ä\n"
    assert end_of(log, 5_000) == log.read_text()
    with log.open("r+b") as file:  # a log of 1 GiB, which takes no room: reading it whole would take seconds
        file.seek(1 << 30)
        file.write(b"\nthe last\n")
    began = time.process_time()
    assert end_of(log, 20) == "the last\n"
    assert time.process_time() - began < 0.1
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(HostError, match="no regular file"):
        end_of(log, 20)
