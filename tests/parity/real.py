"""The real qmail, in a private copy: nothing done here is visible outside, and /var/qmail does not change.

qmail has /var/qmail compiled in. So a forked child takes a mount namespace of its own, mounts a tmpfs with a copy of
/var/qmail over it, does its work there and hands the result back; with the child the namespace is gone.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import shutil
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.needs import lacks

HOME = Path("/var/qmail")
MAIL_USER = 888  # the HOWTO's popuser
CLONE_NEWNS = 0x00020000

Result = TypeVar("Result")


MARKS = [pytest.mark.realqmail, pytest.mark.needs("real qmail", "root", "mount namespace")]


def privately(work: Callable[[], Result]) -> Result:
    """What ``work`` returns when run with its own private /var/qmail. Skips where namespaces are not allowed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer, "the child that runs the real programs died"
    kind, result = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    if kind == "skip":
        lacks("mount namespace", str(result))
    if kind == "error":
        pytest.fail(result)
    return result  # type: ignore[no-any-return]


def _child(work: Callable[[], Result], writer: int) -> None:
    """The child: whatever happens, it answers and exits."""
    answer: tuple[str, object] = ("error", "interrupted")
    try:
        try:
            _enter()
        except OSError as error:
            answer = ("skip", f"no private mount namespace here: {error}")
        else:
            answer = ("result", work())
    except BaseException:
        answer = ("error", traceback.format_exc())
    finally:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
        os._exit(0)


def _enter() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    mount("--make-rprivate", "/")
    copy = Path("/var/tmp")
    mount("-t", "tmpfs", "-o", "mode=755", "popbox-parity", str(copy))
    subprocess.run(["cp", "-a", f"{HOME}/.", str(copy)], check=True)
    copy.chmod(0o755)
    for path in (each for place in ("control", "users", "alias", "queue/mess") for each in (copy / place).rglob("*")):
        if path.is_file():  # a host that is in use has files of its own there
            path.unlink()
    mount("--bind", str(copy), str(HOME))


def mount(*arguments: str) -> None:
    """mount(8), in this namespace; raises OSError with its message."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.returncode, done.stderr.strip())


def fresh(name: str) -> Path:
    """An empty directory below the private home."""
    path = HOME / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def own(path: Path, uid: int = MAIL_USER) -> None:
    """Give a tree to the mail user."""
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid, follow_symlinks=False)
