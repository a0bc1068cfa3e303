"""What qmail-local would do for an assignment, without delivering. Source: Q-LOCAL-*, Q-MDIR-4, Q-MBOX-1."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace
from typing import Protocol

from mailhost.qmail.asuser import as_user
from mailhost.qmail.control import DEFAULT_DELIVERY
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import ADDRESS_OCTETS, TOO_LONG, Found, Instruction, Kind, check_home, find, parse
from mailhost.qmail.failure import Failure, error_text
from mailhost.qmail.lookup import Assignment

NO_MAILDIR = Failure(permanent=False, text="Unable to chdir to maildir. (#4.2.1)")
BAD_MAILDIR = Failure(permanent=False, text="Temporary error on maildir delivery. (#4.3.0)")


@dataclass(frozen=True, slots=True)
class Inspection:
    """``failure``: why there is no delivery, or why the first instruction fails; ``found``: the .qmail file."""

    failure: Failure | None
    found: Found | None = None
    instructions: tuple[Instruction, ...] = ()


def inspect(assignment: Assignment, default: bytes = DEFAULT_DELIVERY) -> Inspection:
    """Do what qmail-local does up to where it would write, as the user that it would run as.

    Programs are not run and forwards not followed. Without root, the permissions of the caller are tested.
    """
    return as_user(assignment.uid, assignment.gid, lambda: inspect_on(Here(), assignment, default))


class Disk(Protocol):
    """The files of a host, as one user sees them."""

    def check_home(self, home: bytes) -> Failure | None:
        """Why qmail-local would refuse this home directory, or None."""

    def find(self, home: bytes, dash: bytes, ext: bytes) -> Found | Failure:
        """The .qmail file for (dash, ext) in a home."""

    def maildir(self, path: bytes) -> Failure | None:
        """Why a delivery into this maildir would fail, or None."""

    def mbox(self, path: bytes, argument: bytes) -> Failure | None:
        """Why a delivery into this mbox, written as ``argument``, would fail, or None."""


class Here:
    """This machine's own files, as the calling user sees them."""

    def check_home(self, home: bytes) -> Failure | None:
        """See Disk."""
        return check_home(home)

    def find(self, home: bytes, dash: bytes, ext: bytes) -> Found | Failure:
        """See Disk."""
        return find(home, dash, ext)

    def maildir(self, path: bytes) -> Failure | None:
        """See Disk."""
        return _maildir_failure(path)

    def mbox(self, path: bytes, argument: bytes) -> Failure | None:
        """See Disk."""
        return _mbox_failure(path, argument)


def inspect_on(disk: Disk, assignment: Assignment, default: bytes) -> Inspection:
    """What ``inspect`` does, with the files of ``disk``."""
    failure = disk.check_home(assignment.home)
    if failure is not None:
        return Inspection(failure)
    found = disk.find(assignment.home, assignment.dash, assignment.ext)
    if isinstance(found, Failure):
        return Inspection(found)
    lines = parse(found.text, found.executable, default)
    instructions = tuple([_tried(disk, assignment.home, line) for line in lines])
    # Forwards are sent last and together (Q-FWD-1), so the other instructions fail before them.
    failed = [line for line in instructions if line.failure is not None]
    failed.sort(key=lambda line: line.kind is Kind.FORWARD)
    first = failed[0].failure if failed else None
    return Inspection(first, found, instructions)


def _tried(disk: Disk, home: bytes, instruction: Instruction) -> Instruction:
    """The instruction, with the failure that its delivery would have."""
    if instruction.failure is not None:
        return instruction
    failure = _failure(disk, home, instruction.kind, c_string(instruction.argument))
    return instruction if failure is None else replace(instruction, failure=failure)


def _failure(disk: Disk, home: bytes, kind: Kind, argument: bytes) -> Failure | None:
    if kind is Kind.MAILDIR:
        return disk.maildir(os.path.join(home, argument))
    if kind is Kind.MBOX:
        return disk.mbox(os.path.join(home, argument), argument)
    return TOO_LONG if kind is Kind.FORWARD and len(argument) > ADDRESS_OCTETS else None


def _maildir_failure(path: bytes) -> Failure | None:
    """tmp and new must exist and be writable; only readers use cur (Q-MDIR-4)."""
    if not (stat.S_ISDIR(_mode(path)) and os.access(path, os.X_OK)):
        return NO_MAILDIR
    usable = all(os.access(path + b"/" + name, os.W_OK | os.X_OK) for name in (b"tmp", b"new"))
    return None if usable else BAD_MAILDIR


def _mode(path: bytes) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _mbox_failure(path: bytes, argument: bytes) -> Failure | None:
    """Whether the file could be opened for appending and synced; nothing is made or written (Q-MBOX-1, E-59)."""
    action, code = "open", "#4.2.1"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            action, code = "write", "#4.3.0"
            if not stat.S_ISREG(os.fstat(fd).st_mode):  # /dev/null or a FIFO with a reader: it cannot be synced
                os.fsync(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        directory = os.path.dirname(path)
        if stat.S_ISDIR(_mode(directory)) and os.access(directory, os.W_OK | os.X_OK):
            return None
        reason = errno.EACCES if stat.S_ISDIR(_mode(directory)) else errno.ENOENT
    except OSError as error:
        reason = error.errno or 0
    else:
        return None
    text = f"Unable to {action} {os.fsdecode(argument)}: {error_text(reason)}. ({code})"
    return Failure(permanent=False, text=text)
