"""users/poppasswd for the server: rows are cached while the file is unchanged, and read by a helper where root must.

A server that has dropped to popuser cannot open a 0600 root file. Then a small process that stays root, reads no
network and knows two paths (see ``root_helper``) answers for one login at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from mailhost.pop3.auth.popsecrets import SecretsFile
from mailhost.poppasswd.file import PasswordFile, PoppasswdError, Row
from mailhost.poppasswd.temporary import SUFFIX, TemporaryFile

CACHED_ROWS = 50_000
"""Rows kept; when full the cache starts again empty (a row costs about 400 octets)."""

LOGIN_OCTETS = 1024
"""The longest login that is asked for."""

T = TypeVar("T")
Run = Callable[[Callable[[], None]], None]


def at_once(work: Callable[[], None]) -> None:
    """Run work here and now, where no other session waits."""
    work()


class PassdbError(Exception):
    """The password file cannot be read or the line is malformed: a temporary failure, never "no such login"."""


class Source(Protocol):
    """Where rows and secrets come from; the methods raise OSError or PoppasswdError when they cannot tell."""

    def row(self, login: bytes) -> Row | None:
        """The row of one login, or None."""
        ...

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """The APOP secret of one login, or None; its SCRAM verifier, or one made up where it has none.

        Of the kind ``temporary``: the hash of a temporary password that counts now, or None.
        """
        ...

    def holds(self, kind: bytes) -> bool:
        """Whether any login has a secret of this kind."""
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
        self._secrets = SecretsFile(users)
        self._temporary = TemporaryFile(users / "poppasswd")

    def row(self, login: bytes) -> Row | None:
        """See ``Source``."""
        return self._rows.get(login)

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """See ``Source``."""
        if kind == b"temporary":
            return self._temporary.crypt(login)
        return self._secrets.scram(login) if kind == b"scram" else self._secrets.get(login, kind)

    def holds(self, kind: bytes) -> bool:
        """See ``Source``."""
        return self._secrets.holds(kind)

    def upgrade(self, login: bytes, password: bytes) -> None:
        """See ``Source``."""
        from mailhost.pop3.auth import rehash

        rehash.start(os.fspath(self._users.parent), login, password)


def _answered(question: Callable[[], T]) -> T | PassdbError:
    """The answer; whatever goes wrong is one too, as a session waits for it.

    An exception has no name here but while it is handled: it knows this frame, and a frame that knew it would keep both
    until a garbage collection. A certificate that is missing is asked for every two seconds.
    """
    try:
        return question()
    except PassdbError as error:
        return error
    except Exception as error:
        return PassdbError(repr(error))


Known = tuple[Row | None, bytes | None]
"""The row of a login, and its APOP secret where that was asked for."""


class Passdb:
    """What the source says, and the rows it has given while the file is unchanged.

    ``cached`` and ``keep`` are for the loop: they cost one stat, for all logins of one moment. All else asks the
    source, which may take long, and belongs into the one thread that ``ask`` runs it in.
    """

    def __init__(self, users: Path, source: Source | None = None, run: Run = at_once, post: Run = at_once) -> None:
        """``run`` does work in one thread of its own, ``post`` brings a result back to the loop."""
        self._path = os.fspath(users / "poppasswd")
        self._source = source or Files(users)
        self._run, self._post = run, post
        self._key: tuple[int, int, int] | None = None
        self._looked: float | None = None
        self._cache: dict[bytes, Row] = {}

    def ask(self, question: Callable[[], T], done: Callable[[T | PassdbError], None]) -> None:
        """Put ``question``, one of the methods below, to the source; ``done`` gets the answer on the loop."""

        def work() -> None:
            self._post(partial(done, _answered(question)))

        self._run(work)

    def cached(self, login: bytes, now: float | None = None) -> Row | None:
        """The row of one login where it is known; None says nothing: ask for it.

        ``now`` is the present round of the loop (``Loop.now``): the file is looked at once for all its logins.

        Raises:
            PassdbError: no file.
        """
        if now is None or now != self._looked:
            try:
                self._look()
            except OSError as error:
                self._key = self._looked = None
                raise PassdbError(str(error)) from error
            self._looked = now
        return self._cache.get(login)

    def know(self, login: bytes, *, apop: bool, done: Callable[[Known | PassdbError], None]) -> None:
        """Have row and perhaps APOP secret of one login looked up, the row kept, and given to ``done``.

        Only rows that exist are kept: logins that strangers make up take no memory.
        """
        cache = self._cache

        def known(answer: Known | PassdbError) -> None:
            if not isinstance(answer, PassdbError) and answer[0] is not None and cache is self._cache:
                cache[login] = answer[0]  # otherwise the file has changed since, and this may be an old row
            done(answer)

        self.ask(partial(self._know, login, apop=apop), known)

    def _know(self, login: bytes, *, apop: bool) -> Known:
        row = self.row(login)
        return row, self.secret(login, b"apop") if apop and row is not None else None

    def row(self, login: bytes) -> Row | None:
        """The row of one login, or None.

        Raises:
            PassdbError: no file, no permission, or the line of this login is not a row.
        """
        try:
            return self._source.row(login)
        except (OSError, PoppasswdError) as error:
            raise PassdbError(str(error)) from error

    def _look(self) -> None:
        """Forget all rows if the file has changed.

        Raises:
            OSError: there is no file.
        """
        found = os.stat(self._path)
        key = (found.st_ino, found.st_mtime_ns, found.st_size)
        if key != self._key or len(self._cache) >= CACHED_ROWS:
            self._cache = {}
            self._key = key

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """See ``Source``.

        Raises:
            PassdbError: a file is there and cannot be read.
        """
        try:
            return self._source.secret(login, kind)
        except OSError as error:
            raise PassdbError(str(error)) from error

    def any_temporary(self) -> bool:
        """Whether there are temporary passwords at all; on most days there are none, and none is asked for."""
        return os.path.lexists(self._path + SUFFIX)

    def scram(self, login: bytes) -> bytes:
        """The SCRAM verifier of any login, real or made up; a name longer than any login is asked for by its digest.

        Raises:
            PassdbError: a file is there and cannot be read.
        """
        asked = login if len(login) <= LOGIN_OCTETS else b"\0" + hashlib.sha256(login).digest()
        return self.secret(asked, b"scram") or b""

    def offers(self, kind: bytes, before: bool = False) -> bool:
        """Whether any login has this kind of secret; ``before`` if the source cannot tell."""
        try:
            return self._source.holds(kind)
        except OSError:
            return before

    def upgrade(self, login: bytes, password: bytes) -> None:
        """Have a weak hash replaced.

        Raises:
            PassdbError: it cannot even be started.
        """
        try:
            self._source.upgrade(login, password)
        except OSError as error:
            raise PassdbError(str(error)) from error

    def readable(self) -> bool:
        """Whether logins can be looked up now: the source itself is asked, for cached rows prove nothing."""
        try:
            self._source.row(b"")
        except (OSError, PoppasswdError):
            return False
        return True
