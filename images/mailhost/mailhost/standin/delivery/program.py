"""Program deliveries: the shell, the message on its fd 0, what its exit code means. Source: Q-PROG-1..3."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from mailhost.standin.delivery.report import REPORT_OCTETS, Stopped
from mailhost.standin.queue.message_reader import Stored
from mailhost.system.durable import shut, write_all

SKIP_REST = 99
PERMANENT = frozenset({100, 64, 65, 70, 76, 77, 78, 112})
CRASHED = b"Aack, child crashed. (#4.3.0)"
OFF = "Program deliveries are switched off on this host. (#4.3.0)"
PATH = b"/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Ended:
    """What the program printed, and whether the lines after it are skipped."""

    output: bytes
    skip_rest: bool


def run(command: bytes, home: bytes, environment: dict[bytes, bytes], message: Stored) -> Ended:
    """Run ``command`` in ``home``. Source: qmail-command(8).

    Raises:
        Stopped: the program failed; the text is its output.
    """
    code, output = _run(command, home, {b"PATH": PATH, **environment}, message)
    if code < 0:
        raise Stopped(output + CRASHED)
    if code not in (0, SKIP_REST):
        raise Stopped(output, permanent=code in PERMANENT, raw=True)
    return Ended(output, code == SKIP_REST)


def _run(command: bytes, home: bytes, environment: dict[bytes, bytes], message: Stored) -> tuple[int, bytes]:
    # The queue file begins with the envelope: the program gets a copy of the message alone, which it may seek in.
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        for piece in message.pieces():
            write_all(fd, piece)
        os.lseek(fd, 0, os.SEEK_SET)
        child = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            stdin=fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise Stopped("Unable to run the program. (#4.3.0)") from error
    finally:
        shut(fd)
    return _wait(child)


def _wait(child: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Read all output, so that a full pipe does not stop the program, and keep as much as a report holds."""
    kept = b""
    with child:
        if child.stdout is not None:
            while piece := child.stdout.read1(65536):  # type: ignore[attr-defined]
                kept += piece[: REPORT_OCTETS - len(kept)]
    return child.returncode, kept
