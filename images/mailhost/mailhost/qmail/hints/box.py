"""Hints on the box: its directory, its .qmail file, what the lines really do."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from mailhost.qmail.control import Controls
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import (
    FILE_AND_X,
    FILE_WRITABLE,
    HOME_STICKY,
    HOME_WRITABLE,
    NO_MAILBOX,
    PROG_AND_X,
    USAGE,
    Instruction,
    Kind,
)
from mailhost.qmail.failure import error_text
from mailhost.qmail.hints.hint import Hint, shown
from mailhost.qmail.lookup import CDB_FILE, CDB_TROUBLE, ROOT, Assignment
from mailhost.qmail.route import Outcome, Route

# The failures that one sentence explains.
_EXPLAINED = {
    HOME_WRITABLE: Hint("H-15", "every user can write into the home directory: chmod o-w"),
    HOME_STICKY: Hint("Q-LOCAL-4", "the home directory has the sticky bit, which holds mail back: chmod -t"),
    FILE_WRITABLE: Hint("Q-DOT-8", "every user can write the .qmail file: chmod o-w"),
    FILE_AND_X: Hint("E-45", "an executable .qmail file may only forward: chmod -x"),
    PROG_AND_X: Hint("E-45", "an executable .qmail file may only forward: chmod -x"),
    USAGE: Hint("E-33", "the home directory of the entry must begin with /"),
    ROOT: Hint("H-14", "the entry's uid is 0 or not a number; it must be that of the mail user, popuser"),
    CDB_TROUBLE: Hint("E-32", "no local mail is delivered: users/cdb is damaged or unreadable; run `mailhost newu`"),
}


def _failure(_controls: Controls, route: Route) -> Iterator[Hint]:
    if route.failure in _EXPLAINED:
        yield _EXPLAINED[route.failure]
    who = route.assignment
    if route.failure is None or who is None:
        return
    if route.failure.text.startswith("Unable to switch to"):
        yield Hint("H-15", f"{shown(who.home)} must exist, and uid {who.uid} must be able to enter it; mail waits")
    if route.failure == NO_MAILBOX and who.source == CDB_FILE:
        yield Hint("E-38", "the entry's dash asks for a .qmail file, and none has this name; .qmail-default is missing")


def _lines(_controls: Controls, route: Route) -> Iterator[Hint]:
    for delivery in route.deliveries:
        yield from _line(delivery.instruction, route.assignment)


def _line(line: Instruction, who: Assignment | None) -> Iterator[Hint]:
    """A line that does something else than it seems to."""
    where = f".qmail line {line.line}"
    if line.argument.endswith(b"\r"):
        yield Hint("Q-LINE-5", f"{where} ends in a carriage return, which is part of what it names")
    elif line.kind is Kind.MBOX and line.argument.endswith(b"aildir"):
        yield Hint("E-46", f"{where} has no / at its end: that is an mbox file, not a maildir")
    elif line.kind is Kind.MBOX and line.failure is not None and line.failure.text.startswith("Unable to write"):
        yield Hint("E-59", f"{where} names no file that can be synced: mail waits; a .qmail of comments only drops it")
    elif line.kind is Kind.FORWARD and b"aildir" in line.argument:
        yield Hint("E-48", f"{where} is a forward; a delivery to a file begins with . or /")
    elif line.kind is Kind.MAILDIR and line.failure not in (None, FILE_AND_X):
        trouble = _maildir_trouble(who.home if who else b"", c_string(line.argument), who.uid if who else os.geteuid())
        yield Hint("H-34", f"{where}: {trouble}; mail waits")


def _maildir_trouble(home: bytes, argument: bytes, uid: int) -> str:
    """Why uid cannot deliver into a maildir: the first name that is missing, not a directory, or not writable."""
    top = argument.removesuffix(b"/")
    for name in (top, top + b"/tmp", top + b"/new"):
        try:
            found = os.stat(os.path.join(home, name))
        except OSError as error:
            return f"{shown(name)}: {error_text(error.errno or 0)} (maildirmake makes a whole one)"
        if not stat.S_ISDIR(found.st_mode):
            return f"{shown(name)} is not a directory"
        if found.st_uid != uid:
            return f"{shown(name)} belongs to uid {found.st_uid}, mail is delivered as uid {uid}"
        if found.st_mode & 0o300 != 0o300:
            return f"{shown(name)} has mode {stat.S_IMODE(found.st_mode):04o}: its owner cannot write there"
    return f"{shown(argument)} cannot be written: a read-only or full disk?"


def _default_delivery(_controls: Controls, route: Route) -> Iterator[Hint]:
    """No line of a .qmail file delivers: the mail usually goes into a file that POP does not show."""
    who, inspection = route.assignment, route.inspection
    found = inspection.found if inspection is not None else None
    if who is None or found is None or found.text:
        return
    if not any(delivery.instruction.kind is Kind.MBOX for delivery in route.deliveries):
        return
    if found.name is not None:
        yield Hint("Q-LINE-1", f"{shown(found.name)} is empty: mail goes to qmail's default, which POP does not show")
        return
    tried = ", ".join(map(shown, found.tried))
    yield Hint(_trap(who), f"no {tried} in the box: mail goes to qmail's default, which POP does not show")
    if os.path.lexists(who.home + b"/.qmail-default"):
        yield Hint("H-16", "the .qmail-default there is not read, because the entry's dash field is empty")


def _trap(who: Assignment) -> str:
    """The HOWTO's statement behind this: for one box, one box with extensions, or a whole domain."""
    if not who.wild:
        return "H-16"
    return "H-17" if who.key.endswith(b"-") else "H-13"


def _boundary(_controls: Controls, route: Route) -> Iterator[Hint]:
    who = route.assignment
    if who is None or not who.wild or not who.key or who.key.endswith(b"-") or route.rewritten is None:
        return
    if route.rewritten.rpartition(b"@")[0][len(who.key) :]:
        key = shown(who.key)
        yield Hint("H-13", f"+{key} takes every name with this prefix, {key}x too; safer: ={key} and +{key}- (dash -)")


def _dropped(_controls: Controls, route: Route) -> Iterator[Hint]:
    if route.outcome is not Outcome.DISCARDED:
        return
    if route.assignment is None:
        yield Hint("E-19", "the local part is empty: such mail is dropped, with a success in the log")
    else:
        yield Hint("E-42", "the .qmail file has no delivery line: the mail is dropped, with a success in the log")


def _other_eyes(_controls: Controls, route: Route) -> Iterator[Hint]:
    who, uid = route.assignment, os.geteuid()
    if who is not None and route.inspection is not None and uid not in (0, who.uid):
        yield Hint("Q-LSP-11", f"checked as uid {uid}, delivered as uid {who.uid}: only root can check as that uid")


RULES: tuple[Callable[[Controls, Route], Iterator[Hint]], ...] = (
    _failure,
    _lines,
    _default_delivery,
    _boundary,
    _dropped,
    _other_eyes,
)
