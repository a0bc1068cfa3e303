"""Our own messages in the new host's Maildirs: found by their token, and removed. Nothing else is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from popbox.migrate.oldhost.tree import DIRECTORY, FILE, OldHostError, OldHostTree, look

FIELD = "X-Popbox-Routes"
MARK = re.compile(rb"^X-Popbox-Routes: ([0-9a-f]{32})\r?$", re.MULTILINE)
MOST_OCTETS = 64 << 10  # our choice: ours has less than 1 KiB, beside what the server adds
GONE = "is gone"
SKEW_NS = 3600 * 10**9  # our choice: how far the file server's clock may be behind


class Copy(NamedTuple):
    """A delivered message of ours.

    ``store``: its Maildir, links followed. ``base``: its name without flags, which stays when a client has seen it.
    """

    store: str
    base: bytes
    token: str


class Finder:
    """Looks for tokens in Maildirs; what was once found stays found, also when its owner fetches it."""

    def __init__(self, tree: OldHostTree, tokens: Iterable[str], since_ns: int) -> None:
        """``since_ns``: files that are much older are not read (nanoseconds since 1970)."""
        self._tree, self._tokens, self._since = tree, frozenset(tokens), since_ns - SKEW_NS
        self._seen: set[bytes] = set()
        self.found: dict[Copy, bytes] = {}
        self.unseen: dict[str, str] = {}

    def look(self, store: str) -> None:
        """Look through new/ and cur/ of one; ``unseen`` has those that cannot be listed, and why."""
        lies = look(self._tree, store.encode("utf-8", "surrogateescape"))[0]
        for part in (b"/new", b"/cur"):
            real, entry = look(self._tree, lies + part)
            if entry is None or entry.kind != DIRECTORY:
                self.unseen[store] = "is no Maildir that can be seen"
                continue
            try:
                self._look(lies.decode("utf-8", "surrogateescape"), real)
            except OldHostError as why:
                self.unseen[store] = str(why)

    def _look(self, store: str, directory: bytes) -> None:
        for name, entry in self._tree.scan(directory):
            path = directory + b"/" + name
            if entry.kind != FILE or entry.size > MOST_OCTETS or entry.mtime_ns < self._since or path in self._seen:
                continue
            try:
                head = self._tree.read(path, MOST_OCTETS).partition(b"\n\n")[0]
            except OldHostError:
                continue  # fetched or moved since it was listed: the next look finds it
            self._seen.add(path)
            for mark in MARK.findall(head):
                if mark.decode() in self._tokens:
                    self.found[Copy(store, name.partition(b":")[0], mark.decode())] = path

    def remove(self) -> list[str]:
        """Remove what was found, and say what could not be; one that its owner has deleted by now is gone."""
        left = dict(self.found)
        why: dict[Copy, str] = {}
        for _ in range(2):  # a client can move one from new/ to cur/ between the look and the removal
            for store in {copy.store for copy in left}:
                self.look(store)
            for copy in left:
                why[copy] = self._removed(self.found[copy])
            left = {copy: self.found[copy] for copy in left if why[copy]}
        return [said for said in why.values() if said not in ("", GONE)]

    def _removed(self, path: bytes) -> str:
        here = Path(self._tree.name, os.fsdecode(path[len(self._tree.base) :].lstrip(b"/")))
        try:
            directory = os.open(here.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.unlink(here.name, dir_fd=directory)
            finally:
                os.close(directory)
        except FileNotFoundError:
            return GONE
        except OSError as error:
            return f"{here}: {error.strerror}"
        return ""
