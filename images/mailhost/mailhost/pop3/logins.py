"""From a claim to an open maildrop: throttle, password, lock, scan. Everything slow happens in threads or by timer."""

from __future__ import annotations

import hashlib
import hmac
from functools import partial
from typing import TYPE_CHECKING

from mailhost.accounts.poppasswd import Row
from mailhost.pop3.credentials import Credentials
from mailhost.pop3.events import Authenticate, Event, Lookup, Reply
from mailhost.pop3.guard import Guard
from mailhost.pop3.listing import Listing
from mailhost.pop3.log import Log
from mailhost.pop3.loop import Loop
from mailhost.pop3.metrics import Count
from mailhost.pop3.opening import Openings
from mailhost.pop3.options import Options
from mailhost.pop3.profiles import err
from mailhost.pop3.rows import Rows, RowsError
from mailhost.pop3.trouble import MaildropError

if TYPE_CHECKING:
    from mailhost.pop3.connection import Connection

_TOO_SOON = err(b"[LOGIN-DELAY] the last login was too short a time ago")


def locked(row: Row) -> bool:
    """Whether ``mailhost mailbox disable`` was here: then the APOP and SCRAM secrets do not count either."""
    return row.crypt.startswith(b"!")


class Logins:
    """Answers claims. Each method that may have to wait gives None and later calls ``Connection.resume``."""

    def __init__(
        self,
        options: Options,
        loop: Loop,
        log: Log,
        rows: Rows,
        credentials: Credentials,
        openings: Openings,
        guard: Guard,
        counts: memoryview,
    ) -> None:
        self._loop, self._log, self._rows, self._guard, self._counts = loop, log, rows, guard, counts
        self._credentials, self._openings = credentials, openings
        self._texts = options.profile.texts
        self._fail_delay_s = options.limits.fail_delay_s

    def claim(self, connection: Connection, claim: Authenticate | Lookup) -> Event | None:
        """Begin the check of a claim."""
        if isinstance(claim, Lookup):
            return self._look_up(connection, claim.login)
        try:
            row = self._rows.get(claim.login, self._loop.now)
        except RowsError as error:
            return self._trouble(connection, error)
        if claim.method == "plain" and row is not None and self._credentials.known(row, claim.secret):
            return self._enter(connection, row)
        wait = self._guard.wait(connection.peer, claim.login, self._loop.now)
        if wait is None:
            self._counts[Count.THROTTLED] += 1
            return connection.session.refused(self._texts.temporary)
        if wait:
            self._counts[Count.THROTTLED] += 1
            self._loop.later(wait, partial(self._check_later, connection, row, claim))
            return None
        return self._check(connection, row, claim)

    def _look_up(self, connection: Connection, login: bytes) -> Event:
        try:
            row = self._rows.get(login, self._loop.now)
            stored = None if row is None or locked(row) else self._rows.secret(login, b"scram")
        except RowsError as error:
            return self._trouble(connection, error)
        return connection.session.found(stored)

    def _trouble(self, connection: Connection, error: RowsError) -> Event:
        self._log.line("password file", error=str(error))
        return connection.session.refused(self._texts.temporary)

    def _check_later(self, connection: Connection, row: Row | None, claim: Authenticate) -> None:
        if connection.fd >= 0:
            event = self._check(connection, row, claim)
            if event is not None:
                connection.resume(event)

    def _check(self, connection: Connection, row: Row | None, claim: Authenticate) -> Event | None:
        """The check itself: in a thread for passwords, here for what costs microseconds."""
        judged = partial(self._judged, connection, row, claim, self._loop.now)
        if claim.method == "plain":
            self._credentials.check(row, claim.secret, judged)
            return None
        if row is not None and not locked(row) and (claim.method == "proven" or self._apop(claim)):
            return self._enter(connection, row)
        judged(False)
        return None

    def _apop(self, claim: Authenticate) -> bool:
        """Whether the digest is MD5 of timestamp and stored secret (RFC 1939 §7)."""
        if claim.method != "apop":
            return False
        try:
            secret = self._rows.secret(claim.login, b"apop")
        except RowsError:
            return False
        if secret is None:
            return False
        wanted = hashlib.md5(claim.stamp + secret, usedforsecurity=False).hexdigest().encode("ascii")
        return hmac.compare_digest(wanted, claim.secret.lower())

    def _judged(self, connection: Connection, row: Row | None, claim: Authenticate, began: float, good: bool) -> None:
        """The verdict on a claim; a refusal leaves at a fixed time after the claim, whatever the check cost."""
        if good and row is not None:
            if connection.fd >= 0:
                event = self._enter(connection, row)
                if event is not None:
                    connection.resume(event)
            return
        self._guard.failed(connection.peer, claim.login, self._loop.now)
        self._counts[Count.FAILURES] += 1
        self._log.line(
            "login refused",
            peer=connection.peer,
            login=claim.login,
            reason="wrong password" if row else "unknown login",
        )
        delay = max(0.0, began + self._fail_delay_s - self._loop.now)
        self._loop.later(delay, partial(self._refuse, connection, self._texts.refused))

    @staticmethod
    def _refuse(connection: Connection, reply: Reply) -> None:
        if connection.fd >= 0:
            connection.resume(connection.session.refused(reply))

    def _enter(self, connection: Connection, row: Row) -> Event | None:
        """A proven login: open the maildrop."""
        self._guard.succeeded(connection.peer, row.login, self._loop.now)
        if self._guard.too_soon(row.login, self._loop.now):
            return connection.session.refused(_TOO_SOON)
        try:
            drop = connection.drop = self._openings.open(row.home)
        except MaildropError as error:
            if error.kind == "busy":
                self._counts[Count.IN_USE] += 1
            return self._closed(connection, self._openings.reply(error.kind))
        answer = self._openings.scan(drop, partial(self._scanned, connection))
        return None if answer is None else self._opened(connection, answer)

    def _scanned(self, connection: Connection, answer: Listing | Reply) -> None:
        """A long scan has ended, in a thread; the connection may have ended before it."""
        if connection.fd >= 0:
            connection.resume(self._opened(connection, answer))

    def _opened(self, connection: Connection, answer: Listing | Reply) -> Event:
        if isinstance(answer, Reply):
            return self._closed(connection, answer)
        self._counts[Count.LOGINS] += 1
        connection.enter()
        return connection.session.opened(answer)

    def _closed(self, connection: Connection, reply: Reply) -> Event:
        """The login was right and its maildrop cannot be had."""
        if reply is not self._texts.in_use:  # an everyday thing, and counted
            said = reply.data.decode("ascii").strip()
            self._log.line(
                "maildrop not opened", peer=connection.peer, login=connection.session.memory.login, said=said
            )
        if connection.drop is not None:
            connection.drop.close()
            connection.drop = None
        return connection.session.refused(reply)
