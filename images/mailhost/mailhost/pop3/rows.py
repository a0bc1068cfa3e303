"""users/poppasswd for the server: rows are cached while the file is unchanged, and read by a helper where root must.

A server that has dropped to popuser cannot open a 0600 root file. Then a small process that stays root, reads no
network and knows two paths (see ``keeper``) answers for one login at a time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from mailhost.accounts.poppasswd import PasswordFile, PoppasswdError, Row
from mailhost.pop3.popsecrets import SecretsFile

CACHED_ROWS = 50_000
"""Rows kept; when full the cache starts anew (a row costs about 400 octets)."""


class RowsError(Exception):
    """The password file cannot be read or the line is malformed: a temporary failure, never "no such login"."""


class Source(Protocol):
    """Where rows and secrets come from; the methods raise OSError or PoppasswdError when they cannot tell."""

    def row(self, login: bytes) -> Row | None:
        """The row of one login, or None."""
        ...

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """The APOP or SCRAM secret of one login, or None."""
        ...

    def holds(self, kind: bytes) -> bool:
        """Whether anybody has a secret of this kind."""
        ...

    def upgrade(self, login: bytes, password: bytes) -> None:
        """Have the weak hash of a login that has proved this password replaced; not waited for."""
        ...


class Files:
    """The source of a process that may read the files itself."""

    def __init__(self, users: Path) -> None:
        """``users`` is the directory that holds both files."""
        self._users = users
        self._rows = PasswordFile(users / "poppasswd")
        self._secrets = SecretsFile(users / "popsecrets")

    def row(self, login: bytes) -> Row | None:
        """See ``Source``."""
        return self._rows.get(login)

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """See ``Source``."""
        return self._secrets.get(login, kind)

    def holds(self, kind: bytes) -> bool:
        """See ``Source``."""
        return self._secrets.holds(kind)

    def upgrade(self, login: bytes, password: bytes) -> None:
        """See ``Source``."""
        from mailhost.pop3 import rehash

        rehash.start(os.fspath(self._users.parent), login, password)


class Rows:
    """``get`` costs one stat, for all logins of one moment, while the file is unchanged."""

    def __init__(self, users: Path, source: Source | None = None) -> None:
        self._path = os.fspath(users / "poppasswd")
        self._source = source or Files(users)
        self._key: tuple[int, int, int] | None = None
        self._looked: float | None = None
        self._cache: dict[bytes, Row | None] = {}

    def get(self, login: bytes, now: float | None = None) -> Row | None:
        """The row of one login, or None.

        ``now`` is the present round of the loop (``Loop.now``): the file is looked at once for all its logins.

        Raises:
            RowsError: no file, no permission, or the line of this login is not a row.
        """
        try:
            if now is None or now != self._looked:
                self._look()
                self._looked = now
            if login in self._cache:
                return self._cache[login]
            row = self._cache[login] = self._source.row(login)
        except (OSError, PoppasswdError) as error:
            self._key = self._looked = None
            raise RowsError(str(error)) from error
        return row

    def _look(self) -> None:
        """Forget all rows if the file has changed.

        Raises:
            OSError: there is none.
        """
        found = os.stat(self._path)  # noqa: PTH116 - Path.stat costs three times as much
        key = (found.st_ino, found.st_mtime_ns, found.st_size)
        if key != self._key or len(self._cache) >= CACHED_ROWS:
            self._cache = {}
            self._key = key

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """The APOP or SCRAM secret of one login, or None.

        Raises:
            RowsError: the file is there and cannot be read.
        """
        try:
            return self._source.secret(login, kind)
        except OSError as error:
            raise RowsError(str(error)) from error

    def offers(self, kind: bytes, before: bool = False) -> bool:
        """Whether anybody could log in by this kind of secret; as ``before`` where that cannot be told."""
        try:
            return self._source.holds(kind)
        except OSError:
            return before

    def upgrade(self, login: bytes, password: bytes) -> None:
        """Have a weak hash replaced.

        Raises:
            RowsError: it cannot even be begun.
        """
        try:
            self._source.upgrade(login, password)
        except OSError as error:
            raise RowsError(str(error)) from error

    def readable(self) -> bool:
        """Whether logins can be looked up now: asked of the source itself, what is remembered proves nothing."""
        try:
            self._source.row(b"")
        except (OSError, PoppasswdError):
            return False
        return True
