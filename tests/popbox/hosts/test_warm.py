"""A warm mailhost answers as a cold one does: same words, same exit codes; and it leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox.crowd import crowded

from popbox.errors import HostError
from popbox.hosts.process import run_bounded
from popbox.hosts.warm import Cold, Warm, join, leave


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    up = Warm([sys.executable, "-m", "mailhost"])
    with pytest.raises(Cold, match="a single command is faster by itself"):
        up.run(["--version"], b"", 30)
    yield up
    up.close()


@pytest.mark.parametrize(
    ("argv", "stdin"),
    [
        (["--version"], b""),
        (["--home", "{home}", "init", "--me", "a.example"], b""),
        (["--home", "{home}", "explain", "joe@nowhere.example"], b""),
        (["mkpasswd", "--scheme", "des", "--password-stdin"], b""),
        (["no-such-verb"], b""),
        (["--home", "{home}", "domain", "add", "bad domain"], b""),
    ],
)
def test_it_says_what_the_program_says(argv: list[str], stdin: bytes, warm: Warm, tmp_path: Path) -> None:
    seen = []
    for kind in ("warm", "cold"):
        home = tmp_path / kind
        home.mkdir()
        filled = [word.format(home=home) for word in argv]
        if kind == "warm":
            code, out, err = warm.run(filled, stdin, 30)
        else:
            program = [
                sys.executable,
                "-c",
                "import sys; sys.argv[0] = 'mailhost'; from mailhost.cli import main; main()",
            ]
            done = subprocess.run([*program, *filled], input=stdin, capture_output=True, check=False)
            code, out, err = done.returncode, done.stdout, done.stderr
        seen.append((code, out.replace(str(home).encode(), b"HOME"), err.replace(str(home).encode(), b"HOME")))
    assert seen[0] == seen[1]


FAKE = """
import json, os, signal, sys, time
print("ready", flush=True)
for line in sys.stdin:
    word = json.loads(line)["argv"][0]
    if word == "sleep":
        time.sleep(60)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print(json.dumps([os.getpid(), "", ""]), flush=True)
"""


@pytest.fixture
def fake() -> Iterator[Warm]:
    """Whose answer is its own pid, as exit code."""
    up = Warm([sys.executable, "-c", FAKE])
    with pytest.raises(Cold):
        up.run(["x"], b"", 30)
    yield up
    up.close()


def test_what_does_not_end_in_time_is_ended(fake: Warm) -> None:
    before = fake.run(["x"], b"", 30)[0]
    with pytest.raises(HostError, match="`sleep` did not end within 0 s"):
        fake.run(["sleep"], b"", 0.3)
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert fake.run(["x"], b"", 30)[0] != before, "the next one has a new helper"


def test_a_process_with_a_thousand_clients_is_answered() -> None:
    up = Warm([sys.executable, "-c", FAKE])
    with crowded():
        with pytest.raises(Cold):
            up.run(["x"], b"", 30)
        assert up.run(["x"], b"", 30)[0]
        up.close()


def test_a_helper_that_was_killed_is_replaced(fake: Warm) -> None:
    pid = fake.run(["x"], b"", 30)[0]
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert fake.run(["x"], b"", 30)[0] != pid


def test_one_that_dies_at_work_is_an_error_not_a_second_try(fake: Warm) -> None:
    with pytest.raises(HostError, match="was cut off: it has ended"):
        fake.run(["die"], b"", 30)


def test_where_there_is_no_such_verb_it_is_cold() -> None:
    """A mail host of an older popbox."""
    old = Warm([sys.executable, "-c", "import sys; sys.exit('no such command')"])
    for why in ("a single command", "it has ended"):
        with pytest.raises(Cold, match=why):
            old.run(["x"], b"", 30)


def test_after_close_it_is_cold(warm: Warm) -> None:
    warm.close()
    with pytest.raises(Cold, match="the host is gone"):
        warm.run(["--version"], b"", 30)


def test_hosts_of_this_machine_share_what_ends_with_the_last_of_them() -> None:
    argv = [sys.executable, "-c", FAKE]
    one, two, other = join("1", argv, {}), join("2", argv, {}), join("3", argv, {"A": "b"})
    try:
        assert one is two is not other
        pid = one.run(["x"], b"", 30)[0]  # the first one, too: a host asks more than once
        leave("1", one)
        leave("1", one)
        assert two.run(["x"], b"", 30)[0] == pid
        leave("2", two)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert other.run(["x"], b"", 30)[0] != pid
    finally:
        leave("3", other)
    with pytest.raises(Cold, match="the host is gone"):
        other.run(["x"], b"", 30)


def test_one_that_is_no_hosts_of_this_machine_ends_by_itself(fake: Warm) -> None:
    pid = fake.run(["x"], b"", 30)[0]
    leave("1", fake)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_command_has_more_time_for_more_that_it_is_given(fake: Warm) -> None:
    """`mailhost apply` of 100,000 mailboxes takes half a minute of an idle machine."""
    much = b"x" * (1 << 22)
    assert fake.run(["x"], much, 0)[0]
    assert run_bounded(["wc", "-c"], within_s=0, env=None, stdin=much).stdout.split() == [b"4194304"]
