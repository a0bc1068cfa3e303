"""What `qmail-local -n` is given for an address, and what it prints by our rules (Q-LSP-10, Q-LOCAL-4, Q-LINE-9)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mailhost.qmail.bulk.host import TreeHost
from mailhost.qmail.bulk.tree import NotJudgedError
from mailhost.qmail.control import Reader
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.delivery import Disk
from mailhost.qmail.dotqmail import HOME_STICKY, Kind, parse
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import Assignment
from mailhost.qmail.route import Route

STICKY_WARNING = b"Warning: home directory is sticky.\n"
NOT_READ = ", and not read."  # the end of a refusal of ours, which qmail does not know


@dataclass(frozen=True, slots=True)
class Said:
    """Exit code, standard output and standard error of a program."""

    code: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class DryRun:
    """The user that qmail-local runs as, its arguments from ``user`` to the default delivery, and what it must say."""

    uid: int
    gid: int
    arguments: tuple[bytes, ...]
    said: Said


def dry_run(host: TreeHost, way: Route) -> DryRun | None:
    """Of the first local delivery of a route; None where qmail-local is not started, or it cannot be judged."""
    who = way.assignment
    if who is None or who.failure is not None or way.rewritten is None:
        return None
    default = host.controls(Reader.SEND).defaultdelivery if host.default is None else host.default
    default = c_string(default)
    local, _, domain = way.rewritten.rpartition(b"@")
    try:
        said = says(host.disk(who), who, default)
    except (OSError, NotJudgedError):
        return None
    arguments = (who.user, who.home, local, who.dash, who.ext, domain, b"", default)
    return None if said is None else DryRun(who.uid, who.gid, arguments, said)


def says(disk: Disk, who: Assignment, default: bytes) -> Said | None:
    """What `qmail-local -n` says for an assignment; None where we do not read what it reads."""
    warning, failure = b"", disk.check_home(who.home)
    if failure == HOME_STICKY:  # -n only warns
        failure, warning = None, STICKY_WARNING
    if failure is not None:
        return _refused(failure, b"", b"")
    found = disk.find(who.home, who.dash, who.ext)
    if isinstance(found, Failure):
        return None if found.text.endswith(NOT_READ) else _refused(found, b"", warning)
    out, kinds = b"", list[Kind]()
    for line in parse(found.text, found.executable, default):
        if line.failure is not None:
            return _refused(line.failure, out, warning)
        out += line.kind.value.encode() + b" " + line.argument + b"\n"
        kinds.append(line.kind)
    files = kinds.count(Kind.MAILDIR) + kinds.count(Kind.MBOX)
    counts = (files, kinds.count(Kind.FORWARD), kinds.count(Kind.PROGRAM))
    return Said(0, out + b"did %d+%d+%d\n" % counts, warning)


def _refused(failure: Failure, out: bytes, warning: bytes) -> Said:
    return Said(100 if failure.permanent else 111, out, warning + os.fsencode(failure.text) + b"\n")
