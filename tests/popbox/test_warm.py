"""A warm mailhost answers as a cold one does: same words, same exit codes; and it leaves nothing running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbox.errors import HostError
from popbox.hosts.warm import Cold, Warm


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    up = Warm([sys.executable])
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
        (["mkpasswd", "--scheme", "des_crypt", "--password-stdin"], b""),
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


def test_a_program_in_place_of_mailhost_gets_arguments_and_stdin(warm: Warm) -> None:
    code = "import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(7)"
    assert warm.run(["a", "b"], b"words", 30, code) == (7, b"['a', 'b'] words\n", b"")


def test_what_does_not_end_in_time_is_ended_with_all_its_processes(warm: Warm) -> None:
    code = "import time; time.sleep(60)"
    with pytest.raises(HostError, match="did not end within 0 s"):
        warm.run(["x"], b"", 0.3, code)
    assert warm.run(["x"], b"", 30, "print(1)") == (0, b"1\n", b""), "the next one has a new helper"


def test_a_helper_that_was_killed_is_replaced(warm: Warm) -> None:
    _, out, _ = warm.run(["x"], b"", 30, "import os; print(os.getppid())")
    os.kill(int(out), 9)
    os.waitid(os.P_PID, int(out), os.WEXITED | os.WNOWAIT)
    assert warm.run(["x"], b"", 30, "print(1)") == (0, b"1\n", b"")


def test_one_that_dies_at_work_is_an_error_not_a_second_try(warm: Warm) -> None:
    with pytest.raises(HostError, match="was cut off: it has ended"):
        warm.run(["x"], b"", 30, "import os, signal; os.kill(os.getppid(), signal.SIGKILL)")


def test_after_close_it_is_cold(warm: Warm) -> None:
    warm.close()
    with pytest.raises(Cold, match="the host is gone"):
        warm.run(["--version"], b"", 30)
