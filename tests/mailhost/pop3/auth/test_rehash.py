"""Starting the program that replaces a weak hash: how it is called, one at a time, and where its words go."""

from __future__ import annotations

import fcntl
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailhost.pop3.auth import rehash
from mailhost.pop3.auth.passdb import Files


class Pipe(io.BytesIO):
    """The child's standard input; what it has been told stays when it is closed."""

    said = b""

    def close(self) -> None:
        self.said = self.getvalue()
        super().close()


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Every program that was started: ``argv``, ``pipe``, the keywords, and whether it had the lock."""
    (tmp_path / "users").mkdir()
    seen: list[SimpleNamespace] = []

    def popen(argv: list[object], **how: Any) -> SimpleNamespace:
        (lock,) = how["pass_fds"]
        mine = os.open(tmp_path / "users", os.O_RDONLY)
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = False
        except BlockingIOError:
            held = Path(f"/proc/self/fd/{lock}").readlink() == tmp_path / "users"
        finally:
            os.close(mine)
        child = SimpleNamespace(
            argv=argv, stdin=Pipe(), held=held, lock=lock, **{k: v for k, v in how.items() if k != "stdin"}
        )
        assert how["stdin"] == subprocess.PIPE
        seen.append(child)
        return child

    monkeypatch.setattr(subprocess, "Popen", popen)
    return seen


def test_the_program_gets_the_password_on_its_input_and_the_lock(
    tmp_path: Path, started: list[SimpleNamespace]
) -> None:
    assert rehash.start(str(tmp_path), b"-joe", b"test pw")
    (one,) = started
    verb = ["mailbox", "rehash", "--password-stdin", "--", b"-joe"]
    assert one.argv == [sys.executable, "-P", "-m", "mailhost", "--home", str(tmp_path), *verb]
    assert (one.stdin.said, one.held) == (b"test pw\n", True)
    assert (one.cwd, one.start_new_session, one.stdout) == ("/", True, subprocess.DEVNULL)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(one.lock)


def test_one_at_a_time(tmp_path: Path, started: list[SimpleNamespace]) -> None:
    other = os.open(tmp_path / "users", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert not rehash.start(str(tmp_path), b"joe", b"pw")
    assert started == []
    os.close(other)
    assert rehash.start(str(tmp_path), b"joe", b"pw")


def test_a_home_without_users_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rehash.start(str(tmp_path), b"joe", b"pw")


def test_a_program_that_cannot_be_run_is_an_error_and_holds_no_lock(
    tmp_path: Path, started: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(subprocess, "Popen", lambda *_, **__: (_ for _ in ()).throw(PermissionError))
        with pytest.raises(PermissionError):
            rehash.start(str(tmp_path), b"joe", b"pw")
    assert rehash.start(str(tmp_path), b"joe", b"pw")


def test_who_may_read_the_files_starts_it_for_their_host(tmp_path: Path, started: list[SimpleNamespace]) -> None:
    Files(tmp_path / "users").upgrade(b"joe", b"pw")
    assert [one.argv[4:] for one in started] == [
        ["--home", str(tmp_path), "mailbox", "rehash", "--password-stdin", "--", b"joe"]
    ]


@pytest.mark.parametrize("kind", ["socket", "file", "closed"])
def test_it_speaks_to_a_log_and_never_to_a_client(
    tmp_path: Path, started: list[SimpleNamespace], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat
    with socket.socket() as client, (tmp_path / "log").open("w") as log:
        stands_for = {"socket": client.fileno(), "file": log.fileno(), "closed": -1}[kind]
        monkeypatch.setattr(os, "fstat", lambda fd: real(stands_for if fd == 2 else fd))
        rehash.start(str(tmp_path), b"joe", b"pw")
    assert started[0].stderr == (None if kind == "file" else subprocess.DEVNULL)
