"""A strong hash in the place of a weak one: done by ``mailhost mailbox rehash`` when a login has proved its password.

Off unless asked for. The POP3 side itself writes no file: it starts that program, which takes the writers' lock and
checks the password again, so that a password changed since the login stays changed.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys


def start(home: str, login: bytes, password: bytes) -> bool:
    """Start the program and do not wait for it; False where one runs already: a later login will do it.

    One at a time, by a lock on the directory users/ that the program inherits: each rewrites the whole file, and after
    a restart thousands of clients log in at once.

    Raises:
        OSError: no users/, or the program cannot be run.
    """
    lock = os.open(f"{home}/users", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        verb: list[str | bytes] = ["mailbox", "rehash", "--password-stdin", "--", login]
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "mailhost", "--home", home, *verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if _is_socket(2) else None,
            cwd="/",
            start_new_session=True,
            pass_fds=[lock],
        )
        with child.stdin as pipe:  # type: ignore[union-attr]  # it is a pipe, as asked
            pipe.write(password + b"\n")
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _is_socket(descriptor: int) -> bool:
    """Under inetd standard error is the client's connection; elsewhere it is the log."""
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return True  # closed: no one would read it
