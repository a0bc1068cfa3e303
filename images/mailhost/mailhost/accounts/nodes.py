"""Several nodes with one popboxes: each says there what it is to serve, so that none refuses what another has taken.

``popboxes/.nodes/<node>`` is a node's own record: what its accounts.toml declares (``announces``), what of it this node
has applied (``serves``), and whose announcements it has heard. No order of files is needed: what any node announces and
this one does not serve waits here (`mailhost.system.late`), be it this node that is behind or the other one.

A node applies a new text when all nodes that are up have heard of it (`unheard`): from then on they answer 451 for what
is new, not 553, and mail that one has taken is bounced by none. A record is its node's to change, and root's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import Layout
from mailhost.accounts.model import Accounts
from mailhost.system import late

NODES, LOCK = ".nodes", ".lock"
UP_S = 30.0
"""A node that has not touched its record for so long is down, and not waited for (our choice: ten looks)."""
GONE_S = 7 * 86400.0
"""What a node announced is heeded for so long after its last sign: senders give up after a week too (queuelifetime)."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Addresses = dict[str, list[str]]
"""Domain -> its local parts, sorted; ``joe-*`` and ``*`` for what takes more."""


@dataclass(slots=True)
class Record:
    """One node. ``heard``: the `digest` of each announcement that this node's list of what waits was made with."""

    announces: Addresses = field(default_factory=dict)
    serves: Addresses = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)


def addresses(accounts: Accounts) -> Addresses:
    """All that a declaration takes mail for."""
    found: Addresses = {}
    for name, domain in accounts.domains.items():
        real = accounts.domains[domain.alias_of] if domain.alias_of else domain
        locals_ = {*real.mailboxes, *real.forwards, *(["*"] if real.catchall is not None else [])}
        for local, box in real.mailboxes.items():
            locals_ |= {*box.aliases, *([f"{local}-*"] if box.extensions else [])}
        found[name] = sorted(locals_)
    return found


def digest(announced: Addresses) -> str:
    """What tells one announcement from another."""
    return hashlib.sha256(json.dumps(announced, sort_keys=True).encode()).hexdigest()


def waiting(served: Addresses, announced: list[Addresses]) -> frozenset[bytes]:
    """The lines of control/late for a node that serves this, among nodes that announce those."""
    lines: set[str] = set()
    for one in announced:
        for domain, locals_ in one.items():
            if domain not in served:
                lines.add(f"@{domain}")
                continue
            new = set(locals_).difference(served[domain])
            lines |= {f"{local}@{domain}" for local in new}
            if any(local.endswith("*") for local in new):  # which would take what is served here too
                lines |= {f"!{local}@{domain}" for local in served[domain]}
    return frozenset(line.encode() for line in lines)


class Node:
    """This node's record, and the look at the others'."""

    def __init__(self, layout: Layout, name: str) -> None:
        """One node of the host.

        Raises:
            InputError: ``name`` cannot be a file's.
        """
        if not _NAME.fullmatch(name):
            raise InputError("is 1 to 64 letters, digits and . _ -, and begins with a letter or digit", field="--node")
        self.layout, self.name = layout, name
        self.folder = layout.popboxes / NODES
        self.own = _read(self.folder / name) or Record()
        self._texts: dict[str, tuple[tuple[int, int, int], Record]] = {}
        self._lines: frozenset[bytes] | None = None

    def announce(self, announced: Addresses) -> None:
        """Say what this node is to serve."""
        if announced != self.own.announces:
            self.own.announces = announced
            self._write()

    def serve(self) -> None:
        """What was announced is applied."""
        if self.own.serves != self.own.announces:
            self.own.serves = self.own.announces
            self._write()

    def look(self) -> None:
        """Hear the others, have what they announce and we do not serve wait, and only then say that we have heard it.

        Raises:
            BusyError: popboxes or control cannot be written.
        """
        others = {name: record for name, record, age_s in self._others() if age_s < GONE_S}
        announced = [self.own.announces, *(record.announces for record in others.values())]
        lines = waiting(self.own.serves, announced)
        try:
            if lines != self._lines:
                self._wait(lines)
            os.utime(self.folder / self.name)
        except FileNotFoundError:
            self._write()
        except OSError as why:
            raise BusyError(f"{why.filename}: cannot be written: {why.strerror}") from why
        heard = sorted(digest(record.announces) for record in others.values())
        if heard != self.own.heard:
            self.own.heard = heard
            self._write()

    def _wait(self, lines: frozenset[bytes]) -> None:
        """Have these addresses wait here; without any there is no file."""
        path = self.layout.home / late.FILE
        if lines:
            durable.put_small(path, b"".join(line + b"\n" for line in sorted(lines)), 0o644)
        else:
            path.unlink(missing_ok=True)
        self._lines = lines

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the nodes' lock, so that no two make or move the same box; False where another node has it now.

        A lock on a file that is open for writing is one for all clients of an NFS server (flock(2), NFS details).
        """
        durable.make_private(self.folder)
        lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        held = False
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            yield held
        finally:
            os.close(lock)

    def unheard(self) -> list[str]:
        """The nodes that are up and know nothing yet of what we announce: they neither heard nor announce it."""
        mine = digest(self.own.announces)
        return [
            name
            for name, record, age_s in self._others()
            if age_s < UP_S and mine not in (*record.heard, digest(record.announces))
        ]

    def _others(self) -> Iterator[tuple[str, Record, float]]:
        """The other nodes' records, and how long after their last sign ours was, by the clock of the storage."""
        try:
            now = (self.folder / self.name).stat().st_mtime
        except FileNotFoundError:
            self._write()
            now = (self.folder / self.name).stat().st_mtime
        for path in sorted(self.folder.iterdir()):
            if path.name != self.name and _NAME.fullmatch(path.name):
                try:
                    found = _asked(path)
                except OSError:  # forgotten, or replaced at this moment: the next look finds it
                    continue
                mark = found.st_ino, found.st_size, found.st_mtime_ns
                known = self._texts.get(path.name)
                if known is None or known[0] != mark:
                    record = _read(path)
                    if record is None:
                        continue
                    known = self._texts[path.name] = (mark, record)
                yield path.name, known[1], now - found.st_mtime

    def _write(self) -> None:
        durable.make_private(self.folder)
        said = {"announces": self.own.announces, "serves": self.own.serves, "heard": self.own.heard}
        durable.put_small(self.folder / self.name, json.dumps(said).encode(), 0o600)


def _asked(path: Path) -> os.stat_result:
    """The file's status as the server has it: NFS asks again only at an open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Record | None:
    """A record; None where there is none, or one that is not ours to believe or not whole."""
    try:
        if path.lstat().st_uid != os.geteuid():
            return None
        said = json.loads(path.read_bytes())
        return Record(_addresses(said["announces"]), _addresses(said["serves"]), [str(one) for one in said["heard"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _addresses(said: dict[str, list[str]]) -> Addresses:
    """Read a node's record.

    Raises:
        TypeError, AttributeError: it is none.
    """
    return {domain: sorted(locals_) for domain, locals_ in said.items()}


def known(layout: Layout) -> list[tuple[str, Record, float]]:
    """Every node's name, record and time of its last sign (seconds since 1970)."""
    try:
        paths = sorted(path for path in (layout.popboxes / NODES).iterdir() if _NAME.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(path.name, record, path.stat().st_mtime) for path in paths if (record := _read(path)) is not None]


def forget(layout: Layout, name: str) -> None:
    """Take away the record of a node that will not come back.

    Raises:
        InputError: there is no such node.
    """
    if name not in [each for each, _, _ in known(layout)]:
        raise InputError("is no node here; `mailhost nodes list`", field=f"node {name}")
    (layout.popboxes / NODES / name).unlink(missing_ok=True)
