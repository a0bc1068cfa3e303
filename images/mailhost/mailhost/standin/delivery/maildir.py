"""Delivery into a Maildir: write to tmp, sync, link into new, sync that directory. Source: maildir(5), Q-MDIR-1..5."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time

from mailhost.standin.delivery.report import Stopped
from mailhost.standin.queue.message_reader import Stored
from mailhost.system.durable import naming, sync_readable, write_all

TRIES = 3  # names tried when one is taken (Q-MDIR-2)
NO_MAILDIR = "Unable to chdir to maildir. (#4.2.1)"
TROUBLE = "Temporary error on maildir delivery. (#4.3.0)"
_HOST = os.fsencode(socket.gethostname())[:64].replace(b"/", b"\\057").replace(b":", b"\\072")
_sequence = itertools.count(1)


def deliver(directory: bytes, header: bytes, message: Stored) -> None:
    """Write ``header`` and the message as a new file of the Maildir ``directory``.

    Raises:
        Stopped: (temporary) the file could not be written or made durable.
    """
    try:
        _deliver(directory, header, message)
    except OSError as error:
        raise Stopped(TROUBLE if _enterable(directory) else NO_MAILDIR) from error


def _deliver(directory: bytes, header: bytes, message: Stored) -> None:
    for attempt in range(1, TRIES + 1):
        name = unique_name()
        try:
            temporary = directory + b"/tmp/" + name
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            if attempt == TRIES:
                raise
            continue
        try:
            with naming(temporary):
                _fill(fd, header, message)
            os.link(temporary, directory + b"/new/" + name)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        _settle(directory + b"/new", name)
        return


def _settle(new: bytes, name: bytes) -> None:
    """Make the link durable, or remove it and raise OSError: the next try makes another."""
    try:
        sync_readable(new)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new + b"/" + name)
        raise


def _fill(fd: int, header: bytes, message: Stored) -> None:
    try:
        pieces = message.pieces()
        write_all(fd, header + next(pieces, b""))
        for piece in pieces:
            write_all(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)


def unique_name() -> bytes:
    """``time.pid_sequence.host``: one process delivers many messages, unlike qmail's, so the pid alone repeats."""
    return b"%d.%d_%d.%s" % (time.time(), os.getpid(), next(_sequence), _HOST)


def _enterable(directory: bytes) -> bool:
    """Whether chdir would work there."""
    try:
        os.close(os.open(directory + b"/.", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True
