"""popup, checkpoppasswd and pop3d, each alone: interfaces, exit codes, privileges."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.mailhost.pop3.chain_programs import converse, end, program
from tests.mailhost.pop3.support import Box, owner

pytestmark = pytest.mark.needs("popuser's Python")

DELAY_S = 2  # of each failure
GOOD = b"testid\0testpw\0<1.2@mx>\0"


def run_popup(box: Box, lines: Sequence[bytes], *subprogram: str) -> tuple[bytes, list[bytes], int]:
    """popup with a subprogram: banner, replies, exit code."""
    client, process = converse([program(box.home, "popup"), "mx.example.net", *subprogram])
    banner = client.line()
    replies = [client.ask(line) for line in lines]
    return banner, replies, end(client, process)[0]


def test_popup_speaks_like_qmail_popup(box: Box) -> None:
    lines = [b"STAT", b"CAPA", b"", b"noop", b"PASS x", b"USER", b"USER joe", b"PASS ", b"APOP joe", b"QUIT"]
    banner, replies, code = run_popup(box, lines, "/bin/false")
    assert re.fullmatch(rb"\+OK <\d+\.\d+@mx\.example\.net>\r\n", banner)
    refused, syntax = b"-ERR authorization first\r\n", b"-ERR syntax error\r\n"
    expected = [
        refused,
        refused,
        refused,
        b"+OK \r\n",
        b"-ERR USER first\r\n",
        syntax,
        b"+OK \r\n",
        syntax,
        syntax,
        b"+OK \r\n",
    ]
    assert replies == expected
    assert code == 1


def test_popup_hands_over_name_password_and_banner_on_descriptor_3(box: Box) -> None:
    client, process = converse([program(box.home, "popup"), "mx", "sh", "-c", "od -An -c <&3 | tr -d ' \n'"])
    banner = client.line().decode()[4:-2]
    client.ask(b"USER jo e ")
    client.send(b"PASS  p w \r\nSTAT\r\n")
    assert client.end().decode().replace("\\0", "|") == f"joe|pw|{banner}|".replace(" ", "")
    assert end(client, process)[0] == 1


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("exit 0", b""),
        ("exit 1", b"-ERR authorization failed\r\n"),
        ("exit 2", b"-ERR authorization failed\r\n"),
        ("exit 111", b"-ERR authorization failed\r\n"),
        ("kill -9 $$", b"-ERR aack, child crashed\r\n"),
    ],
)
def test_popup_tells_its_childs_end(box: Box, script: str, answer: bytes) -> None:
    client, process = converse([program(box.home, "popup"), "mx", "sh", "-c", script])
    client.line()
    client.ask(b"USER joe")
    client.send(b"PASS pw\r\n")
    assert client.end() == answer
    assert end(client, process)[0] == 1


def test_popup_without_arguments_or_program(box: Box) -> None:
    client, process = converse([program(box.home, "popup"), "mx"])
    assert client.end() == b"-ERR usage: popup hostname subprogram\r\n"
    assert end(client, process)[0] == 1
    client, process = converse([program(box.home, "popup"), "mx", "/no/such/program"])
    client.line()
    client.ask(b"USER joe")
    assert client.ask(b"PASS pw") == b"-ERR authorization failed\r\n"
    end(client, process)


def check(box: Box, data: bytes | None, *arguments: str, uses: str = "") -> tuple[int, str, float]:
    """checkpoppasswd with ``data`` on descriptor 3: exit code, what the subprogram printed, seconds."""
    command = [program(box.home, "checkpoppasswd"), "--file", uses or str(box.home / "users" / "poppasswd"), *arguments]
    reader, writer = os.pipe()
    os.write(writer, data or b"")
    os.close(writer)
    begin = time.monotonic()
    inner = "exec " + " ".join(f"'{word}'" for word in command) + (f" 3<&{reader}" if data is not None else " 3<&-")
    environment = {**os.environ, "KEPT": "yes"}
    done = subprocess.run(["bash", "-c", inner], pass_fds=[reader], capture_output=True, env=environment, check=False)
    os.close(reader)
    return done.returncode, done.stdout.decode(), time.monotonic() - begin


def test_checkpoppasswd_becomes_the_subprogram(box: Box) -> None:
    script = 'echo "$USER $HOME $SHELL $KEPT"; pwd; id -u; id -G; [ -e /proc/$$/fd/3 ] && echo open; exit 7'
    (box.home / "probe").write_text(f"#!/bin/sh\n{script}\n")
    (box.home / "probe").chmod(0o755)
    code, output, seconds = check(box, GOOD, str(box.home / "probe"))
    variables, folder, uid, groups = output.splitlines()
    assert code == 7
    assert variables.split()[:2] == ["popuser", str(box.box)]
    assert variables.split()[2].startswith("/")
    assert variables.endswith(" yes")
    assert folder == str(box.box)
    if os.geteuid() == 0:
        assert (uid, groups) == tuple(map(str, owner()))
    again = (check(box, GOOD, "/bin/true")[2] for _ in range(4))  # a busy machine is not as slow each time
    assert seconds < DELAY_S or min(again) < DELAY_S, "only a failure is delayed"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, 2),
        (b"", 2),
        (b"testid", 2),
        (b"testid\0testpw", 2),
        (b"x\0" + b"y" * 509 + b"\0", 1),
        (b"testid\0" + b"y" * 506 + b"\0", 1),
    ],
)
def test_checkpoppasswd_on_odd_input(box: Box, data: bytes | None, code: int) -> None:
    assert check(box, data, "/bin/true")[0] == code


def test_without_a_timestamp_it_is_a_login_all_the_same(box: Box) -> None:
    assert check(box, b"testid\0testpw\0", "/bin/true")[0] == 0


@pytest.mark.parametrize("data", [b"testid\0wrong\0x\0", b"nobody\0testpw\0x\0", b"TESTID\0testpw\0x\0"])
def test_failures_take_two_seconds_alike(box: Box, data: bytes) -> None:
    code, _, seconds = check(box, data, "/bin/true")
    assert code == 1
    assert DELAY_S <= seconds < 60


@pytest.mark.parametrize("stored", ["", "*", "x", "!!", "*0"])
def test_a_locked_hash_lets_no_client_in(box: Box, stored: str) -> None:
    box.passwords({"testid": stored})
    assert check(box, GOOD, "/bin/true")[0] == 1


def test_what_cannot_be_told_now_is_111(box: Box) -> None:
    assert check(box, GOOD, "/bin/true", uses="/no/such/file")[0] == 111
    assert check(box, GOOD, "/no/such/program")[0] == 111
    box.maildir.parent.rename(box.box.with_name("moved"))
    assert check(box, GOOD, "/bin/true")[0] == 111
    assert check(box, GOOD)[0] == 2


def test_a_login_that_is_not_in_the_file_may_be_anothers(box: Box) -> None:
    other = box.home / "other"
    other.write_text("#!/bin/sh\nod -An -c <&3 | tr -d ' \\n'; echo \" $*\"\n")
    other.chmod(0o755)
    code, output, _ = check(box, b"ann\0pw\0t\0", "--else", str(other), "/bin/true", "word")
    assert (code, output) == (0, "ann\\0pw\\0t\\0 /bin/true word\n")
    assert check(box, b"testid\0wrong\0t\0", "--else", str(other), "/bin/true")[0] == 1


def test_what_goes_to_syslog(monkeypatch: pytest.MonkeyPatch, box: Box) -> None:
    from mailhost.pop3.chain import checkpoppasswd

    said: list[tuple[int, str]] = []
    monkeypatch.setattr("syslog.syslog", lambda priority, message: said.append((priority, message)))
    monkeypatch.setattr(checkpoppasswd.time, "sleep", lambda _: None)
    monkeypatch.setattr(checkpoppasswd, "read_input", lambda: b"testid\0s3cret\nx\0t\0")
    file = ["--file", str(box.home / "users" / "poppasswd")]
    for extra in ([], ["--log-failed-passwords"]):
        with pytest.raises(checkpoppasswd.Exit):
            checkpoppasswd.run([*file, *extra, "true"])
    assert said == [(36, "wrong password: 'testid'"), (36, "wrong password: 'testid', password 's3cret\\nx'")]


def run_pop3d(box: Box, *arguments: str, cwd: Path | None = None) -> tuple[object, subprocess.Popen[bytes]]:
    uid, gid = owner()
    ids = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return converse([program(box.home, "pop3d"), *arguments], cwd=cwd or box.box, **ids)


@pytest.mark.parametrize("profile", ["qmail", "rfc1939"])
def test_pop3d_serves_a_maildir(box: Box, profile: str) -> None:
    box.put("1.h", b"Subject: x\n\n" + b"text\n" * 30_000)
    client, process = run_pop3d(box, "./Maildir", "--profile", profile)
    assert client.line().startswith(b"+OK ")
    extra = b"\r\n" if profile == "qmail" else b""
    assert client.lines(b"RETR 1") == b"Subject: x\r\n\r\n" + b"text\r\n" * 30_000 + extra + b".\r\n"
    client.ask(b"QUIT")
    assert end(client, process) == (0, "")
    assert box.files() == ["cur/1.h:2,"]


def test_pop3d_without_a_maildir(box: Box) -> None:
    missing = b"-ERR this user has no $HOME/Maildir\r\n"
    for arguments in ([], ["./None"], ["/no/such"]):
        client, process = run_pop3d(box, *arguments)
        assert client.end() == missing
        assert end(client, process)[0] == 0
    (box.maildir / "new").rmdir()
    client, process = run_pop3d(box, str(box.maildir), cwd=Path("/"))
    assert client.end() == b"-ERR unable to scan $HOME/Maildir\r\n"
    assert end(client, process)[0] == 0


def test_pop3d_leaves_all_as_it_was_when_the_client_vanishes(box: Box) -> None:
    box.put("1.h", b"x\n")
    client, process = run_pop3d(box, "./Maildir")
    client.line()
    client.ask(b"DELE 1")
    client.send(b"QUIT")
    assert end(client, process) == (0, "")
    assert box.files() == ["new/1.h"]


@pytest.mark.parametrize("redirected", ["<&-", "<&- >&-", ">&-", ">/dev/full", "</dev/null", "2>&- <&-"])
@pytest.mark.parametrize(("name", "code"), [("popup", 1), ("pop3d", 0)])
def test_descriptors_that_cannot_be_used_end_it_as_a_client_that_has_gone(
    box: Box, name: str, code: int, redirected: str
) -> None:
    argument = "mx /bin/true" if name == "popup" else f"{box.maildir}"
    line = f"exec {program(box.home, name)} {argument} {redirected}"
    ids = dict(zip(("user", "group"), owner(), strict=True), extra_groups=[]) if os.geteuid() == 0 else {}
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=60, **ids)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.needs("root")  # who is refused
def test_pop3d_refuses_root(box: Box) -> None:
    client, process = converse([program(box.home, "pop3d"), "./Maildir"], cwd=box.box)
    assert client.end() == b""
    assert end(client, process) == (1, "pop3d: invoked as uid 0, terminating\n")


@pytest.mark.quiet
def test_checkpoppasswd_starts_quickly(box: Box) -> None:
    """Below 40 ms of an idle machine; CPU time is what a busy one can be asked for, two shells included here."""

    def cpu_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert check(box, GOOD, "/bin/true")[0] == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_s() for _ in range(5)) < 0.080
