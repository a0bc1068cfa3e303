"""The lock of a box: while a closed session may still hold it, a refusal says nothing about the login."""

from __future__ import annotations

import time
from collections.abc import Callable

from popbox.conformance.session import Reply, Session, Target

RETRY_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
LOCK_S = 4.0  # our choice: longer than that, and lock_released says so; a server needs a moment to see us gone


class Lock:
    """Knows which of our sessions had the box last, and tries logins until no lock can have refused them."""

    def __init__(self) -> None:
        """Assume that a session was closed just now: an earlier run may have closed one."""
        self._holder: Session | None = None
        self._began = time.monotonic()

    def open(self, target: Target) -> Session:
        """A new connection; from its login on, by whatever command, it is the session that had the box last."""
        return Session(target, self._hold)

    def _hold(self, session: Session) -> None:
        self._holder = session

    def enter(self, connect: Callable[[], Session], attempt: Callable[[Session], Reply]) -> tuple[Session, Reply]:
        """A connection on which ``attempt`` has tried to log in, and its final reply.

        Raises what ``connect`` and ``attempt`` raise; no connection is left open then.
        """
        session = connect()

        def once(again: bool) -> Reply:
            nonlocal session
            if again:
                session.close()
                session = connect()
            return attempt(session) if session.greeting.ok else session.greeting

        try:
            reply = self.settled(once)
        except BaseException:
            session.close()
            raise
        return session, reply

    def settled(self, once: Callable[[bool], Reply]) -> Reply:
        """The reply of ``once(False)``, or of ``once(True)`` as soon as no lock of ours can be why it refuses."""
        reply = once(False)
        for wait_s in RETRY_S:
            if not self._may_explain(reply):
                break
            time.sleep(wait_s)
            reply = once(True)
        return reply

    def _may_explain(self, reply: Reply) -> bool:
        """Whether a lock that goes by itself may be why it refuses.

        So it is where the reply says so (RFC 2449 §8.1.2: [IN-USE]), and where it names no reason (RFC 3206: [AUTH]) a
        moment after a session of ours had the box.
        """
        if reply.ok or reply.text.startswith(b"[AUTH]"):
            return False
        if reply.text.startswith(b"[IN-USE]"):
            return True
        last = self._holder.closed_at if self._holder else self._began
        return last is not None and time.monotonic() - last < LOCK_S
