"""Delivery to the end of an mbox file: lock, From_ line, quoting, sync, truncate on error. Source: Q-MBOX-1..4."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator

from mailhost.standin.delivery.report import Stopped, unable
from mailhost.standin.queue.message_reader import Stored
from mailhost.system.durable import naming, shut, sync_readable, write_all

LOCK_S = 30.0  # Q-MBOX-1
LOCK_POLL_S = 0.05  # our choice: flock cannot be interrupted in a thread, so it is asked for repeatedly
LOCKED = "File has been locked for 30 seconds straight. (#4.3.0)"
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)


def deliver(path: bytes, name: bytes, head: bytes, message: Stored, lock_s: float = LOCK_S) -> None:
    """Append ``head`` (From_ line and header fields) and the message to ``path``; reports call it ``name``.

    Raises:
        Stopped: (temporary) the file could not be locked or written; it is then as before.
    """
    shown = os.fsdecode(name)
    try:
        # Not blocking, as in qmail-local: a FIFO without a reader is an error, not a delivery that never ends.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unable(f"open {shown}", error, "#4.2.1") from error
    try:
        locked = _lock(fd, lock_s)
        before = os.fstat(fd).st_size
        try:
            with naming(path):
                _append(fd, head, message)
            if not before:
                sync_readable(os.path.dirname(path))
        except BaseException:  # half a message would damage the next one
            if locked:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, before)
            raise
    except OSError as error:
        raise unable(f"write {shown}", error) from error
    finally:
        shut(fd)


def _append(fd: int, head: bytes, message: Stored) -> None:
    write_all(fd, head)
    for piece in _quoted(message.pieces()):
        write_all(fd, piece)
    os.fsync(fd)


def _lock(fd: int, lock_s: float) -> bool:
    """Whether the file is locked. Errors other than waiting are ignored, because some file systems cannot lock."""
    deadline = time.monotonic() + lock_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Stopped(LOCKED) from None
            time.sleep(LOCK_POLL_S)
        except OSError:
            return False
        else:
            return True


def _quoted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of ``>``s and ``From `` get one more ``>``; the last line gets a line end, and an empty line follows."""
    carried = b""
    for piece in pieces:
        text = carried + piece
        cut = text.rfind(b"\n") + 1
        yield _FROM.sub(rb">\1", text[:cut])
        carried = text[cut:]
    yield _FROM.sub(rb">\1", carried) + (b"\n\n" if carried else b"\n")
