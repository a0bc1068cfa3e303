"""Is this the password? Hashing happens in threads; a correct login is remembered by a keyed digest."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

from mailhost.poppasswd.crypt import DUMMY_HASH, verify, weak
from mailhost.poppasswd.file import Row

CACHED_LOGINS = 50_000
"""Correct logins remembered; when full the memory starts again empty."""


class Credentials:
    """``known`` answers at once from memory; ``check`` verifies in a thread.

    The memory holds, for each login, its stored hash and a digest of the password keyed with random octets of
    this process: a changed hash invalidates the entry, so a password change counts at the next login.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], None]], None],
        post: Callable[[Callable[[], None]], None],
        upgrade: Callable[[bytes, bytes], None] | None = None,
    ) -> None:
        """``run`` does work in a thread, ``post`` brings a result back to the loop.

        ``upgrade`` is told login and password of each correct login whose hash is a weak one.
        """
        self._upgrade = upgrade
        self._run = run
        self._post = post
        self._key = os.urandom(32)
        self._good: dict[bytes, tuple[bytes, bytes]] = {}

    def known(self, row: Row, password: bytes) -> bool:
        """Whether this very password was correct for this very hash before."""
        entry = self._good.get(row.login)
        return entry is not None and entry[0] == row.crypt and hmac.compare_digest(entry[1], self._digest(password))

    def check(self, row: Row | None, password: bytes, done: Callable[[bool], None]) -> None:
        """Verify in a thread, then call ``done`` on the loop; a missing row costs the same work and is False."""
        stored = DUMMY_HASH if row is None else row.crypt

        def work() -> None:
            try:
                good = verify(password, stored) and row is not None
            except Exception:
                good = False
            self._post(lambda: self._finish(row, password, good, done))

        self._run(work)

    def once(self, stored: bytes, password: bytes, done: Callable[[bool], None]) -> None:
        """Verify in a thread and remember nothing: for a hash that counts only for a time."""

        def work() -> None:
            try:
                good = verify(password, stored)
            except Exception:
                good = False
            self._post(lambda: done(good))

        self._run(work)

    def _finish(self, row: Row | None, password: bytes, good: bool, done: Callable[[bool], None]) -> None:
        if good and row is not None and self._upgrade is not None and weak(row.crypt):
            self._upgrade(row.login, password)  # and not remembered: were this one put off, the next would try again
        elif good and row is not None:
            if len(self._good) >= CACHED_LOGINS:
                self._good = {}
            self._good[row.login] = (row.crypt, self._digest(password))
        done(good)

    def _digest(self, password: bytes) -> bytes:
        return hashlib.blake2b(password, key=self._key, digest_size=32).digest()
