"""late before an SMTP server: 451 for addresses that wait, all else unchanged to the octet; needs no engine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.popbox import ROOT

SMTPD = [sys.executable, "-I", str(Path(__file__).parent / "line_smtpd.py")]
WAITS = "@new.example\nann@old.example\njoe-*@old.example\n!joe-x@old.example\n"
LATE = b"451 this node does not have that address yet, other nodes do (#4.3.0)\r\n"


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The script as the image runs it, with the test's own home in place of /var/qmail."""
    (tmp_path / "control").mkdir()
    (tmp_path / "control/late").write_text(WAITS)
    script = tmp_path / "late.py"
    text = (ROOT / "images/qmail/late.py").read_text()
    script.write_text(text.replace('Path("/var/qmail")', f"Path({str(tmp_path)!r})"))
    return [sys.executable, "-P", str(script), *SMTPD]


def talk(program: list[str], said: bytes, cut: int | None = None) -> list[bytes]:
    """What the client receives; ``cut``: its own octets are sent in pieces of that size."""
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for at in range(0, len(said), cut or len(said)):
            running.stdin.write(said[at : at + (cut or len(said))])
            running.stdin.flush()
        running.stdin.close()
        heard = running.stdout.read()
        assert running.wait(60) == 0
    return heard.splitlines(keepends=True)


@pytest.mark.parametrize(
    "line",
    [
        b"RCPT TO:<joe@new.example>",
        b"rcpt to: <JOE@New.Example>",
        b"RCPT TO:<ann@old.example>",
        b"RCPT TO:<joe-y@old.example> X=1",
        b"RCPT TO:<@relay.example:ann@old.example>",
        b"RCPT TO:ann@old.example",
        b"RCPT TO<ann@old.example>",
        b'RCPT TO:<"ann"@old.example>',
        b"RCPT TO:<joe@new.\\example>",
        b"RCPT TO:<ann@old.example\0x>",
        b"RCPT TO:<ann@old.example",
    ],
)
def test_what_waits_is_told_to_come_again_and_never_gets_to_the_server(program: list[str], line: bytes) -> None:
    heard = talk(program, b"MAIL FROM:<s@x.example>\r\n" + line + b"\r\nTELL\r\nQUIT\r\n")
    assert heard == [b"220 fake ESMTP\r\n", b"250 ok\r\n", LATE, b"250 MAIL,TELL\r\n", b"221 bye\r\n"]


@pytest.mark.parametrize(
    "address", [b"joe@old.example", b"joe-x@old.example", b"ann@other.example", b"new.example", b""]
)
def test_everything_else_passes(program: list[str], address: bytes) -> None:
    said = b"EHLO x\r\nMAIL FROM:<ann@old.example>\r\nRCPT TO:<%s>\r\nXBAD\r\nTELL\r\nQUIT\r\n" % address
    heard = b"".join(talk(program, said))
    assert b"250 EHLO,MAIL,RCPT,XBAD,TELL\r\n" in heard
    assert LATE not in heard


MESSAGES = {
    "plain": b"Subject: x\r\n\r\nhello\r\n",
    "empty": b"",
    "a command in it": b"RCPT TO:<ann@old.example>\r\n",
    "dots": b"..\r\n..x\r\n.. \r\n",
    "large": b"x" * 70 + b"\r\n" + (b"y" * 998 + b"\r\n") * 300,
}


@pytest.mark.parametrize("cut", [None, 1, 7])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_passes_whole_and_the_session_goes_on(program: list[str], message: bytes, cut: int | None) -> None:
    if cut == 1:
        message = message[:3000]
        message = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    said = b"DATA\r\n" + message + b".\r\nRCPT TO:<ann@old.example>\r\nTELL\r\nQUIT\r\n"
    heard = talk(program, said, cut)
    assert heard[1:] == [b"354 go\r\n", b"250 ok %d\r\n" % len(message), LATE, b"250 DATA,TELL\r\n", b"221 bye\r\n"]


REFUSES = [sys.executable, "-Ic", "print('220 x', flush=True)\nwhile input(): print('553 no', flush=True)"]


@contextlib.contextmanager
def session(program: list[str]) -> Iterator[Callable[[bytes], bytes]]:
    """Lines sent, and the reply to each, before a server that refuses every command."""
    argv = [*program[: -len(SMTPD)], *REFUSES]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        stdin, stdout = running.stdin, running.stdout
        assert stdin is not None
        assert stdout is not None
        assert stdout.readline() == b"220 x\n"

        def say(line: bytes) -> bytes:
            stdin.write(line + b"\r\n")
            stdin.flush()
            return stdout.readline()

        try:
            yield say
        finally:
            running.kill()


def test_what_begins_to_wait_while_a_session_runs_is_told_so_in_it(program: list[str], tmp_path: Path) -> None:
    late, nodes = tmp_path / "control/late", tmp_path / "popboxes/.nodes"
    nodes.mkdir(parents=True)
    late.unlink()
    with session(program) as say:
        assert say(b"RCPT TO:<joe@new.example>") == b"553 no\n", "no node knows it yet"
        late.write_text(WAITS)
        assert say(b"RCPT TO:<joe@new.example>") == LATE
        assert say(b"RCPT TO:<x@other.example>") == LATE, "a domain may have come and not be in the file yet"
        assert say(b"MAIL FROM:<joe@new.example>") == b"553 no\n"


def test_a_domain_that_came_while_a_session_ran_is_not_refused_for_good_in_it(
    program: list[str], tmp_path: Path
) -> None:
    """qmail-smtpd knows the domains of when it began; by now no address waits any more."""
    rcpthosts = tmp_path / "control/rcpthosts"
    (tmp_path / "popboxes/.nodes").mkdir(parents=True)
    (tmp_path / "control/late").unlink()
    rcpthosts.write_text("old.example\n")
    with session(program) as say:
        assert say(b"RCPT TO:<joe@new.example>") == b"553 no\n"
        rcpthosts.with_name("fresh").write_text("old.example\nnew.example\n")
        rcpthosts.with_name("fresh").rename(rcpthosts)
        assert say(b"RCPT TO:<joe@new.example>") == LATE
    with session(program) as say:
        assert say(b"RCPT TO:<joe@none.example>") == b"553 no\n", "a session that began later knows"


def test_a_client_that_goes_ends_it(program: list[str]) -> None:
    assert talk(program, b"MAIL FROM:<s@x.example>\r\nDATA\r\nhalf")[:3] == [
        b"220 fake ESMTP\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
    ]


def test_a_command_that_is_too_long_is_the_servers(program: list[str]) -> None:
    said = b"X" * 200_000 + b"\r\nTELL\r\nQUIT\r\n"
    done = subprocess.run(program, input=said, capture_output=True, timeout=60, check=True)
    assert done.stdout.splitlines()[1] == b"250 ok"
    assert done.stdout.endswith(b"X,TELL\r\n221 bye\r\n")


def test_a_client_that_is_silent_inside_a_message_is_given_up_when_the_server_does(program: list[str]) -> None:
    waits = "print('220 x', flush=True); input(); print('354 go', flush=True); input(); print('451 timeout')"
    argv = [*program[: -len(SMTPD)], sys.executable, "-c", waits]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"DATA\r\nhalf\r\n")
        running.stdin.flush()
        try:
            assert running.wait(60) == 0
        finally:
            running.kill()
        assert running.stdout.read() == b"220 x\n354 go\n451 timeout\n"
