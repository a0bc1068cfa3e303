"""From a claim to an open maildrop: throttle, password, lock, scan. Everything slow happens in threads or by timer.

Nothing is answered that depends on a secret before the throttle has been asked, for any mechanism, and also where the
right password is remembered: otherwise a throttled client could tell right from wrong by what is answered at once.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mailhost.pop3.auth.passdb import Known, Passdb, PassdbError
from mailhost.pop3.auth.password_check import Credentials
from mailhost.pop3.auth.throttle import Throttle
from mailhost.pop3.auth.turns import Turn, Turns
from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.maildrop.open_maildrops import OpenMaildrops
from mailhost.pop3.options import Options
from mailhost.pop3.protocol.events import Authenticate, Event, Lookup, Reply
from mailhost.pop3.protocol.listing import Listing
from mailhost.pop3.protocol.profiles import err
from mailhost.pop3.server.event_loop import Loop
from mailhost.pop3.server.log import Log
from mailhost.pop3.server.metrics import Count
from mailhost.poppasswd.crypt import scheme_of
from mailhost.poppasswd.file import Row

if TYPE_CHECKING:
    from mailhost.pop3.server.connection import Connection

_TOO_SOON = err(b"[LOGIN-DELAY] the last login was too short a time ago")


LOGGED_OCTETS = 128
"""Of a login that was refused: more would let strangers fill the log."""


def locked(row: Row) -> bool:
    """Whether ``mailhost mailbox disable`` has locked the login: then APOP and SCRAM secrets are void too."""
    return row.crypt.startswith(b"!")


def _digest_is_right(claim: Authenticate, secret: bytes | None) -> bool:
    """Whether it is MD5 of timestamp and stored secret (RFC 1939 §7)."""
    wanted = hashlib.md5(claim.stamp + (secret or b""), usedforsecurity=False).hexdigest().encode("ascii")
    return hmac.compare_digest(wanted, claim.secret.lower()) and secret is not None


class Attempt:
    """A claim on its way to a verdict."""

    __slots__ = ("began", "claim", "connection", "turns", "waited")

    def __init__(self, connection: Connection, claim: Authenticate, began: float) -> None:
        self.connection, self.claim, self.began = connection, claim, began
        self.waited = False
        self.turns: Sequence[Turn] = ()


class Logins:
    """Answers claims. Each method that may have to wait gives None and later calls ``Connection.resume``."""

    def __init__(  # noqa: PLR0913 - one for each thing that a login needs, all made by the worker
        self,
        options: Options,
        loop: Loop,
        log: Log,
        passdb: Passdb,
        credentials: Credentials,
        maildrops: OpenMaildrops,
        throttle: Throttle,
        counts: memoryview,
    ) -> None:
        self._loop, self._log, self._passdb, self._throttle, self._counts = loop, log, passdb, throttle, counts
        self._credentials, self._maildrops = credentials, maildrops
        self._turns = Turns()
        self._texts = options.profile.texts
        self._fail_delay_s = options.limits.fail_delay_s

    def claim(self, connection: Connection, claim: Authenticate | Lookup) -> Event | None:
        """Begin the check of a claim."""
        now = self._loop.now
        if isinstance(claim, Lookup):
            self._look_up(connection, claim.login)
            return None
        if claim.method == "plain" and self._turns.idle() and self._throttle.free(connection.peer, claim.login, now):
            try:
                row = self._passdb.cached(claim.login, now)
            except PassdbError as error:
                return self._unreadable(connection, error)
            if row is not None and self._credentials.known(row, claim.secret):
                return self._enter(connection, row)
        attempt = Attempt(connection, claim, now)
        return self._look_at(attempt) if claim.method == "proven" else self._begin(attempt)

    def _look_up(self, connection: Connection, login: bytes) -> None:
        """What SCRAM needs of a login; nothing of it depends on the password, and it looks the same for any login."""

        def looked_up(answer: bytes | PassdbError) -> None:
            if connection.fd < 0:
                return
            if isinstance(answer, PassdbError):
                connection.resume(self._unreadable(connection, answer))
            else:
                connection.resume(connection.session.found(answer))

        self._passdb.ask(lambda: self._passdb.scram(login), looked_up)

    def _unreadable(self, connection: Connection, error: PassdbError) -> Event:
        self._log.line("password file", error=str(error))
        return connection.session.refused(self._texts.temporary)

    def _begin(self, attempt: Attempt) -> Event | None:
        """First those that came before, then the throttle; only then what tells right from wrong."""
        claim, peer, now = attempt.claim, attempt.connection.peer, self._loop.now
        turns = self._throttle.turns(peer, claim.login, now)
        if not self._turns.take(turns, partial(self._again, attempt)):
            return None
        wait = 0.0 if attempt.waited else self._throttle.wait(peer, claim.login, now)
        if wait == 0:
            attempt.turns, attempt.began = turns, now
            return self._look_at(attempt)
        self._counts[Count.THROTTLED] += 1
        if wait is None:
            self._throttle.refused(peer, claim.login, now)
            self._refuse(attempt, self._texts.temporary)
        else:
            attempt.waited = True
            self._loop.at(now + wait, partial(self._again, attempt))
        self._turns.give_back(turns)
        return None

    def _again(self, attempt: Attempt) -> None:
        if attempt.connection.fd >= 0:
            event = self._begin(attempt)
            if event is not None:
                attempt.connection.resume(event)

    def _look_at(self, attempt: Attempt) -> Event | None:
        """Check a claim, with what is known of its login or after asking for it."""
        claim, apop = attempt.claim, attempt.claim.method == "apop"
        try:
            row = self._passdb.cached(claim.login, self._loop.now)
        except PassdbError as error:
            self._turns.give_back(attempt.turns)
            return self._unreadable(attempt.connection, error)
        if row is not None and not apop:
            return self._check(attempt, row, None)
        self._passdb.know(claim.login, apop=apop, done=partial(self._known, attempt))
        return None

    def _known(self, attempt: Attempt, answer: Known | PassdbError) -> None:
        if isinstance(answer, PassdbError):
            event: Event | None = self._unreadable(attempt.connection, answer) if attempt.connection.fd >= 0 else None
            self._turns.give_back(attempt.turns)
        else:
            event = self._check(attempt, *answer)
        if event is not None:
            attempt.connection.resume(event)

    def _check(self, attempt: Attempt, row: Row | None, secret: bytes | None) -> Event | None:
        """The check itself: in a thread for passwords, here for what costs microseconds."""
        claim = attempt.claim
        if claim.method != "plain":
            proof = claim.method == "proven" or (
                attempt.connection.session.proves() if claim.method == "scram" else _digest_is_right(claim, secret)
            )
            return self._judged(attempt, row, good=proof and row is not None and not locked(row))
        if row is not None and self._credentials.known(row, claim.secret):
            return self._judged(attempt, row, good=True)
        self._credentials.check(row, claim.secret, partial(self._checked, attempt, row))
        return None

    def _checked(self, attempt: Attempt, row: Row | None, good: bool) -> None:
        locked_out = row is None or scheme_of(row.crypt) is None  # a locked login is opened by no password
        if good or row is None or locked_out or not self._passdb.any_temporary():
            self._end(attempt, row, good=good)
        else:
            question = partial(self._passdb.secret, attempt.claim.login, b"temporary")
            self._passdb.ask(question, partial(self._with_temporary, attempt, row))

    def _with_temporary(self, attempt: Attempt, row: Row, crypt: bytes | PassdbError | None) -> None:
        """The customer's own password it is not; where the login has a temporary one that counts now, perhaps that."""
        if isinstance(crypt, PassdbError):
            self._log.line("temporary passwords", error=str(crypt))
        if not isinstance(crypt, bytes):
            self._end(attempt, row, good=False)
            return

        def checked(good: bool) -> None:
            if good:
                self._log.line("temporary password taken", peer=attempt.connection.peer, login=row.login)
            self._end(attempt, row, good=good)

        self._credentials.once(crypt, attempt.claim.secret, checked)

    def _end(self, attempt: Attempt, row: Row | None, *, good: bool) -> None:
        event = self._judged(attempt, row, good=good)
        if event is not None:
            attempt.connection.resume(event)

    def _judged(self, attempt: Attempt, row: Row | None, *, good: bool) -> Event | None:
        """The verdict on a claim. It counts before the next in line is looked at."""
        connection, claim = attempt.connection, attempt.claim
        event = None
        if good and row is not None:
            if connection.fd >= 0:
                event = self._signed(connection, row) if claim.method == "scram" else self._enter(connection, row)
        else:
            self._throttle.failed(connection.peer, claim.login, self._loop.now)
            self._counts[Count.FAILURES] += 1
            reason = "wrong password" if row else "unknown login"
            self._log.line("login refused", peer=connection.peer, login=claim.login[:LOGGED_OCTETS], reason=reason)
            self._refuse(attempt, self._texts.refused)
        self._turns.give_back(attempt.turns)
        return event

    def _signed(self, connection: Connection, row: Row) -> Event:
        """SCRAM's proof was right: the server's signature says so, and the client acknowledges it."""
        self._throttle.succeeded(connection.peer, row.login, self._loop.now)
        return connection.session.signature()

    def _refuse(self, attempt: Attempt, reply: Reply) -> None:
        """Answer a fixed time after the claim, whatever the check cost; where it took longer, after twice that time."""
        connection, spent = attempt.connection, time.monotonic() - attempt.began
        if connection.fd >= 0:
            connection.session.context.login = None  # not kept, however long it is, when the client does not wait
        delay = self._fail_delay_s * (1 + spent // self._fail_delay_s) if self._fail_delay_s else 0.0
        self._loop.at(attempt.began + delay, partial(self._refused, connection, reply))

    @staticmethod
    def _refused(connection: Connection, reply: Reply) -> None:
        if connection.fd >= 0:
            connection.resume(connection.session.refused(reply))

    def _enter(self, connection: Connection, row: Row) -> Event | None:
        """A proven login: open the maildrop."""
        self._throttle.succeeded(connection.peer, row.login, self._loop.now)
        if self._throttle.too_soon(row.login, self._loop.now):
            return connection.session.refused(_TOO_SOON)
        try:
            drop = connection.drop = self._maildrops.open(row.home)
        except MaildropError as error:
            if error.kind == "busy":
                self._counts[Count.IN_USE] += 1
            return self._closed(connection, self._maildrops.reply(error.kind))
        answer = self._maildrops.scan(drop, partial(self._scanned, connection))
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
        """The login was right, but its maildrop cannot be opened."""
        if reply is not self._texts.in_use:  # an everyday thing, and counted
            said = reply.data.decode("ascii").strip()
            self._log.line(
                "maildrop not opened", peer=connection.peer, login=connection.session.context.login, said=said
            )
        if connection.drop is not None:
            connection.drop.close()
            connection.drop = None
        return connection.session.refused(reply)
