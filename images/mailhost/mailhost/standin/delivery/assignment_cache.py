"""Assignments of local parts, kept while users/cdb is the same file (Q-LSP-3: a new one counts at once)."""

from __future__ import annotations

import os
from pathlib import Path

from mailhost.qmail import assign
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import Assignment

MOST = 10_000  # our choice: local parts remembered; a few MB


class AssignmentCache:
    """One stat replaces the dozen reads of a lookup. Only answers of users/cdb are kept, never those of passwd."""

    def __init__(self, home: Path) -> None:
        """``home`` holds users/cdb."""
        self._home = home
        self._accounts = assign.accounts_of(home)
        self._known: tuple[object, dict[bytes, Assignment]] = (None, {})

    def find(self, local: bytes) -> Assignment | Failure:
        """As ``mailhost.qmail.assign.resolve``."""
        signature, known = self._known
        now = self._signature()
        if now is None or now != signature or len(known) >= MOST:
            # A new dict, so that a late thread stores its outdated answer in one that is no longer read.
            known = {}
            self._known = (now, known)
        found: Assignment | Failure | None = known.get(local)
        if found is None:
            found = assign.resolve(self._home, local, self._accounts)
            if isinstance(found, Assignment) and found.source == "users/cdb":
                known[local] = found
        return found

    def _signature(self) -> object:
        try:
            status = os.stat(f"{self._home}/users/cdb")
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
