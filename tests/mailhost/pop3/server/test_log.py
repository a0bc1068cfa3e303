"""The server's log: what a line says, which sessions get none, and a descriptor that takes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mailhost.pop3.protocol.authorization import QUIT_BEFORE_LOGIN
from mailhost.pop3.server import log
from mailhost.pop3.server.log import Log
from mailhost.system.proxy_protocol import NEVER_BEGAN


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "time", SimpleNamespace(time=lambda: 1700000000.12345))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for fd in ends:
        os.close(fd)


def session(**said: object) -> Any:
    context = SimpleNamespace(login=b"joe", failures=0, stamp=b"<1.2@mx>")
    plain = SimpleNamespace(
        session=SimpleNamespace(context=context), why="quit", peer="192.0.2.7", secure=False,
        received=10, sent=20, retrieved=3, deleted=2, started=100.0,
    )  # fmt: skip
    for name, value in said.items():
        setattr(context if hasattr(context, name) else plain, name, value)
    return plain


def written(one: Any) -> str:
    """What a session's end puts into the log."""
    taker, giver = os.pipe2(os.O_NONBLOCK)
    out = Log(giver)
    out.session(one, "rfc1939", 101.5)
    out.flush()
    os.close(giver)
    text = os.read(taker, 65_536).decode("ascii")
    os.close(taker)
    return text


def test_a_session_is_one_line_with_all_its_figures() -> None:
    text = written(session())
    assert text.endswith("}\n")
    assert text.startswith('{"time": 1700000000.123, ')
    assert json.loads(text) == {
        "time": 1700000000.123, "event": "session", "id": "<1.2@mx>", "peer": "192.0.2.7", "login": "joe",
        "profile": "rfc1939", "tls": False, "received": 10, "sent": 20, "retrieved": 3, "deleted": 2,
        "seconds": 1.5, "why": "quit",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (b"", ""),
        (None, ""),
        (b"joe.d", "joe.d"),
        (b'a"b\\c\r\nd', 'a"b\\c\r\nd'),
        (b"j\xf6e\xff\0", "j\xf6e\xff\0"),
    ],
)
def test_any_login_stays_in_its_line_and_can_be_told_from_any_other(login: bytes | None, shown: str) -> None:
    text = written(session(login=login))
    assert text.count("\n") == 1
    assert json.loads(text)["login"] == shown


def test_tls_is_said() -> None:
    assert json.loads(written(session(secure=True)))["tls"] is True


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ({"why": NEVER_BEGAN}, False),
        ({"why": NEVER_BEGAN, "failures": 1}, False),
        ({"why": QUIT_BEFORE_LOGIN, "peer": "127.0.0.1"}, False),
        ({"why": QUIT_BEFORE_LOGIN, "peer": "::1"}, False),
        ({"why": QUIT_BEFORE_LOGIN, "peer": "127.0.0.1", "failures": 1}, True),
        ({"why": QUIT_BEFORE_LOGIN, "peer": "192.0.2.7"}, True),
        ({"why": "quit", "peer": "127.0.0.1"}, True),
    ],
)
def test_only_health_checks_leave_no_line(said: dict[str, object], logged: bool) -> None:
    assert bool(written(session(**said))) is logged


def test_lines_are_written_together_and_once(pipe: tuple[int, int]) -> None:
    taker, giver = pipe
    out = Log(giver)
    out.line("one", login=b"j\xf6e", peer="::1", number=3)
    out.line("two")
    with pytest.raises(BlockingIOError):
        os.read(taker, 1)
    out.flush()
    lines = [json.loads(line) for line in os.read(taker, 4096).splitlines()]
    assert lines == [
        {"time": 1700000000.123, "event": "one", "login": "j\xf6e", "peer": "::1", "number": 3},
        {"time": 1700000000.123, "event": "two"},
    ]
    out.flush()
    with pytest.raises(BlockingIOError):
        os.read(taker, 1)


def test_with_nothing_to_say_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda *_: pytest.fail("a call for nothing, in every round of the loop"))
    Log(2).flush()


def test_a_log_that_takes_nothing_stops_no_session_and_is_not_tried_again(pipe: tuple[int, int]) -> None:
    taker, giver = pipe
    full = os.open("/dev/full", os.O_WRONLY)
    out = Log(full)
    out.line("lost")
    out.flush()
    os.dup2(giver, full)
    out.line("next")
    out.flush()
    os.close(full)
    assert json.loads(os.read(taker, 4096))["event"] == "next"


def test_it_writes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    out = Log()
    out.line("here")
    out.flush()
    assert '"event": "here"' in capfd.readouterr().err
