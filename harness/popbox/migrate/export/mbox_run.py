"""An export to mbox files: each is written whole beside its place, read back, and then put there; an index with it."""

from __future__ import annotations

import contextlib
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import IO

from popbox.migrate.copy.accounts import write_private
from popbox.migrate.copy.destination import LEFT
from popbox.migrate.copy.journal import sync_directory
from popbox.migrate.copy.run import Options, Outcome, declared
from popbox.migrate.copy.work import Tally
from popbox.migrate.export.beside import twin_of
from popbox.migrate.export.mbox import Writer, read_back
from popbox.migrate.export.place import Out
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.index import INDEX_HEAD, Entry, carries
from popbox.migrate.oldhost.mboxes.opened import CHUNK_OCTETS
from popbox.migrate.oldhost.tree import FILE, FileRequest, OldHostError, OldHostTree
from popbox.migrate.verify.files.maildrop import Item, Maildrops

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def run(tree: OldHostTree, place: Out, qmail_home: bytes, drops: Maildrops, *, fields: bool) -> Outcome:
    """Write mail/DOMAIN/LOCAL.mbox and its index for each box; a later run writes those again whose mail has changed.

    Raises:
        OldHostError: the home is none.
        PopboxError: no space, another export at work, a directory of others.
        OSError: the disk fails. What was placed stays.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.named())
        stack.callback(os.close, place.open())
        found = declared(tree, place, Options("howto", qmail_home))
        outcome = Outcome(found, Tally())
        there = sum(path.lstat().st_size for path in place.popboxes.glob("*/*.mbox"))
        largest = max((held.octets for held in found.held), default=0)
        place.check_space(0, max(0, sum(held.octets for held in found.held) - there) + largest)
        began = time.monotonic()
        for held in found.held:
            try:
                _Box(tree, place, held.box, outcome.tally, fields).write(drops)
            except OldHostError as why:
                outcome.tally.problems.append(f"{held.box.address}: {why}")
        outcome.seconds = time.monotonic() - began
        write_private(place.to / LEFT, "".join(f"{one}\n" for one in [*found.left, *outcome.tally.notes]).encode())
    return outcome


class _Box:
    """One mailbox on its way into one file."""

    def __init__(self, tree: OldHostTree, place: Out, box: Box, tally: Tally, fields: bool) -> None:
        self.tree, self.place, self.box, self.tally, self.fields = tree, place, box, tally, fields
        self.file = place.popboxes / box.domain / f"{box.local}.mbox"
        self.index = self.file.with_name(f"{self.file.name}.index")
        self.noted = place.to / "state" / "mbox" / box.domain / box.local

    def write(self, drops: Maildrops) -> None:
        """Write it, unless what stands there is not ours.

        Raises:
            OldHostError: the Maildir cannot be listed.
            OSError: the disk fails.
        """
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.noted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = [_digest(self.file), _digest(self.index)]
        ours = self.noted.read_text("utf-8").split() if self.noted.exists() else []
        if any(one is not None and one not in ours for one in before):
            told = "is not as an export wrote it; left as it is"
            self.tally.problems.append(f"{self.box.address}: {self.file.name} or its index {told}")
            return
        items = drops.items(self.box.store, [], {})
        staged = self.file.with_name(f".{self.file.name}.new")
        staged.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(staged, _FLAGS, 0o600), "w+b") as file:
                index = INDEX_HEAD + b"".join(entry.line() for entry in self._fill(file, items))
                after = [_hash(file), sha256(index).hexdigest()]
                if self.place.owner is not None:
                    os.fchown(file.fileno(), *self.place.owner)
                os.fsync(file.fileno())
            if after == before:
                return
            lines = [*(one for one in before if one is not None), *after]  # a killed run may leave either
            write_private(self.noted, "".join(f"{one}\n" for one in lines).encode())
            write_private(self.index, index)
            if self.place.owner is not None:
                os.chown(self.index, *self.place.owner, follow_symlinks=False)
            staged.rename(self.file)
            sync_directory(self.file.parent)
        finally:
            staged.unlink(missing_ok=True)

    def _fill(self, file: IO[bytes], items: list[Item]) -> list[Entry]:
        """The messages in the order that clients see; what could not be read or kept goes to the problems."""
        writer, entries, names = Writer(file, self.fields), list[Entry](), list[bytes]()
        there = [item for item in items if item.entry.kind == FILE]
        for item in items:
            if item.entry.kind != FILE:
                self._tell(item.path, f"is a {item.entry.kind}, which is not followed")
        bodies = self.tree.bodies(FileRequest(item.path, item.entry) for item in there)
        for item, (_, body) in zip(there, bodies, strict=True):
            part, name = item.path.split(b"/")[-2:]
            flags, uidl = part if part == b"new" else b"cur:" + name.partition(b":")[2], os.fsencode(item.uidl)
            try:
                if isinstance(body, OldHostError):
                    raise body
                entry, told = writer.add(body, item.entry.mtime_ns, flags, uidl)
            except OldHostError as why:
                self._tell(item.path, f"{why}; run it again")
                continue
            if entry.octets != item.entry.size:
                self._tell(item.path, f"{entry.octets} octets came, {item.entry.size} were announced; run it again")
            if told:
                self._tell(item.path, told)
            if twin := twin_of(name.partition(b":")[0], uidl):
                self._tell(item.path, f"the UIDL cannot be kept: {twin}")
            if self.fields and not carries(uidl):
                self._tell(item.path, "its UIDL fits no X-UIDL field; the index has it")
            entries.append(entry)
            names.append(item.path)
            self.tally.copied += 1
            self.tally.octets += entry.octets
        for number, why_not in read_back(file, entries):
            self._tell(names[number], why_not)
        return entries

    def _tell(self, path: bytes, text: str) -> None:
        self.tally.problems.append(f"{self.box.address}: {shown(path.rpartition(b'/')[2])}: {text}")


def _digest(path: Path) -> str | None:
    """Of a file that stands there; empty for anything else, which is none of ours."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return _hash(file)
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _hash(file: IO[bytes]) -> str:
    file.seek(0)
    digest = sha256()
    while piece := file.read(CHUNK_OCTETS):
        digest.update(piece)
    return digest.hexdigest()
