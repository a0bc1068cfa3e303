"""Logins that must fail, all made at once: servers make each of them wait for seconds, on purpose."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from popbox.conformance.lock import Lock
from popbox.conformance.session import Reply, Session, Target
from popbox.conformance.verdict import Skip

NO_SUCH_LOGIN = "nobody-popbox-check"
STAMP = re.compile(rb"<[^<>@ ]+@[^<>@ ]*>")
SLOWEST_S = 40.0  # courier and Dovecot add a penalty to the delay after some failures


class Refusal:
    """A login that should have failed: the reply, and whether a right login could follow on the same connection."""

    def __init__(self, session: Session, reply: Reply) -> None:
        """``reply`` is the one that decides."""
        self.session, self.reply = session, reply
        self.closed = False  # this and the next of the kind "wrong" only
        self.retried: Reply | None = None


def plain(authzid: str, login: str, password: str) -> bytes:
    """The response of SASL PLAIN (RFC 4616), in base64."""
    return base64.b64encode(b"\0".join(part.encode() for part in (authzid, login, password)))


def digest(stamp: bytes, password: str) -> bytes:
    """APOP's digest (RFC 1939 §7)."""
    return hashlib.md5(stamp + password.encode(), usedforsecurity=False).hexdigest().encode()


def stamp_of(greeting: Reply) -> bytes | None:
    """The timestamp in a greeting, angle brackets included."""
    found = STAMP.search(greeting.raw)
    return found[0] if found else None


class Refusals:
    """``get`` gives one; the first call starts all of them in parallel."""

    def __init__(self, target: Target, login: str, password: str, lock: Lock) -> None:
        """Nothing is sent before the first ``get``."""
        self._target = Target(target.address, max(target.timeout_s, SLOWEST_S), target.tls)
        self._login, self._password, self._lock = login, password, lock
        self._running: dict[str, Future[Refusal]] = {}

    def get(self, kind: str) -> Refusal:
        """The outcome of one of KINDS or APART. Raises what the attempt raised."""
        if kind in APART and kind not in self._running:
            self._running |= self._run({kind: APART[kind]}, 1)
        if kind not in self._running:
            self._running |= self._run(KINDS, len(KINDS))
            if any(self._let_in(self._running[name]) for name in KINDS):  # its lock may have refused the others
                again = {name: KINDS[name] for name in KINDS if not self._let_in(self._running[name])}
                self._running |= self._run(again, 1)
        return self._running[kind].result()

    def _run(self, kinds: dict[str, Attempt], at_once: int) -> dict[str, Future[Refusal]]:
        """All of them; then, when none can be refused by it any more, the right login behind the wrong one."""
        with ThreadPoolExecutor(at_once) as pool:
            running = {name: pool.submit(self._attempt, attempt) for name, attempt in kinds.items()}
            wait(running.values())
            if "wrong" in running:
                running["wrong"] = pool.submit(self._go_on, running["wrong"])
        return running

    @staticmethod
    def _let_in(done: Future[Refusal]) -> bool:
        return done.exception() is None and done.result().reply.raw.startswith(b"+OK")

    def _attempt(self, attempt: Attempt) -> Refusal:
        def connect() -> Session:
            return self._lock.open(self._target)

        session, reply = self._lock.enter(connect, lambda session: attempt(session, self._login, self._password))
        if reply.ok or attempt is not _wrong:
            session.close()
        return Refusal(session, reply)

    def _go_on(self, done: Future[Refusal]) -> Refusal:
        wrong = done.result()
        if wrong.reply.ok:
            return wrong
        with wrong.session as session:
            wrong.closed = session.wire.ended(0.2)
            if not wrong.closed:
                wrong.retried = self._lock.settled(lambda _: session.login(self._login, self._password))
        return wrong


Attempt = Callable[[Session, str, str], Reply]


def _wrong(session: Session, login: str, password: str) -> Reply:
    return session.login(login, f"not-{password}")


def _unknown(session: Session, _: str, password: str) -> Reply:
    return session.login(NO_SUCH_LOGIN, password)


def _case(session: Session, login: str, password: str) -> Reply:
    if password.swapcase() == password:
        raise Skip("the password has no letters")
    return session.login(login, password.swapcase())


def _login_case(session: Session, login: str, password: str) -> Reply:
    if login.swapcase() == login:
        raise Skip("the login has no letters")
    return session.login(login.swapcase(), password)


def _shorter(session: Session, login: str, password: str) -> Reply:
    return session.login(login, password[:-1])


def _longer(session: Session, login: str, password: str) -> Reply:
    return session.login(login, password + "x")


def _space(session: Session, login: str, password: str) -> Reply:
    return session.login(login, password + " ")


def _nul(session: Session, login: str, password: str) -> Reply:
    return session.login(login, password + "\0x")


def _login_space(session: Session, login: str, password: str) -> Reply:
    return session.login(login + " ", password)


def _apop(session: Session, login: str, password: str) -> Reply:
    stamp = stamp_of(session.greeting) or b"<1.2@none>"
    return session.say(b"APOP %b %b" % (login.encode(), digest(stamp, "not-" + password)))


def _apop_replay(session: Session, login: str, password: str) -> Reply:
    """The digest of another timestamp, as an eavesdropper would replay it."""
    if stamp_of(session.greeting) is None:
        raise Skip("the greeting has no timestamp: APOP is not offered")
    return session.say(b"APOP %b %b" % (login.encode(), digest(b"<1.2@none>", password)))


def _auth(session: Session, login: str, password: str) -> Reply:
    return session.say(b"AUTH PLAIN " + plain("", login, "not-" + password))


def _auth_other(session: Session, login: str, password: str) -> Reply:
    return session.say(b"AUTH PLAIN " + plain(NO_SUCH_LOGIN, login, password))


def _auth_no_nul(session: Session, login: str, password: str) -> Reply:
    return session.say(b"AUTH PLAIN " + base64.b64encode(f"{login} {password}".encode()))


KINDS: dict[str, Attempt] = {
    "wrong": _wrong,
    "unknown": _unknown,
    "case": _case,
    "login-case": _login_case,
    "shorter": _shorter,
    "longer": _longer,
    "space": _space,
    "nul": _nul,
    "apop": _apop,
    "apop-replay": _apop_replay,
    "auth": _auth,
    "auth-other": _auth_other,
    "auth-no-nul": _auth_no_nul,
}
APART: dict[str, Attempt] = {"login-space": _login_space}
"""Made when asked for: many good servers let this one in, and then have to be asked for all others again."""
