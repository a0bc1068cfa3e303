"""Opening and updating maildrops: what is kept between sessions, and what is done in a thread."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator

from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.snapshot import Snapshot
from mailhost.pop3.protocol.events import Reply, Transmit, Update
from mailhost.pop3.protocol.listing import LARGE, Listing, Message, renamed
from mailhost.pop3.protocol.profiles import Profile

Report = Callable[["Listing | Reply"], None]

CACHED_MESSAGES = 200_000
"""Messages whose names and sizes are kept between sessions, all boxes together (about 600 octets each)."""

INLINE_CHANGES = 32
"""This many removals and renames at QUIT are made at once, about 1 ms; more in a thread."""

Work = Callable[[], None]


class OpenMaildrops:
    """Maildrops of one profile. A short scan or update is done at once, a long one in a thread."""

    def __init__(
        self,
        profile: Profile,
        run: Callable[[Work], None],
        post: Callable[[Work], None],
        room: int = sys.maxsize,
    ) -> None:
        """``run`` does work in a thread, ``post`` brings a result back to the loop.

        ``room``: descriptors from this number on are not for maildrops, see ``fd_limits.Room``.
        """
        self._room = room
        self._profile = profile
        self._run = run
        self._post = post
        self._snapshots: dict[bytes, Snapshot] = {}
        self._messages = 0

    def open(self, home: bytes) -> Maildrop:
        """Open and lock the Maildir below ``home``.

        Raises:
            MaildropError: see ``Maildrop``.
        """
        path = home + b"/Maildir"
        snapshot = self._snapshots.get(path)
        drop = Maildrop(path, qmail_quirks=self._profile.qmail_quirks, lock=self._profile.locks, snapshot=snapshot)
        if drop.fileno() >= self._room:
            drop.close()
            raise MaildropError("unavailable", path)
        if snapshot is None:
            if self._messages > CACHED_MESSAGES:
                self._snapshots, self._messages = {}, 0
            self._snapshots[path] = drop.snapshot
        return drop

    def scan(self, drop: Maildrop, done: Report) -> Listing | Reply | None:
        """The listing now, or None and ``done(listing or reply)`` on the loop later."""
        try:
            steps = drop.scan()
            if _first(steps):
                return self._counted(drop, drop.listing())
        except MaildropError as error:
            return self.reply(error.kind)
        drop.lend()
        self._run(lambda: self._rest(drop, steps, done))
        return None

    def _rest(self, drop: Maildrop, steps: Iterator[None], done: Report) -> None:
        """In a thread: the rest of a long scan, and after the client has its answer the notes for the next one."""
        answer: Listing | Reply = self._profile.texts.temporary
        try:
            for _ in steps:
                pass
            answer = drop.listing()
            answer.prepare(self._profile.listed)
            if len(answer.messages) > LARGE:
                _set_apart()
        except MaildropError as error:
            answer = self.reply(error.kind)
        finally:
            self._back(drop, lambda: done(self._counted(drop, answer)))
        drop.remember()

    def _back(self, drop: Maildrop, report: Work) -> None:
        """From a thread to the loop: give the maildrop back, then report."""

        def arrive() -> None:
            drop.give_back()
            report()

        self._post(arrive)

    def _counted(self, drop: Maildrop, answer: Listing | Reply) -> Listing | Reply:
        """The answer, its messages in the sum of all that is kept; on the loop, as threads would lose counts."""
        if isinstance(answer, Listing):
            count, snapshot = len(answer.messages), drop.snapshot
            self._messages, snapshot.counted = self._messages + count - snapshot.counted, count
        return answer

    def update(self, drop: Maildrop, event: Update, done: Callable[[list[Message]], None]) -> list[Message] | None:
        """Make QUIT's changes: what could not be removed, or None and ``done`` with it on the loop later."""
        if len(event.delete) + len(event.keep) <= INLINE_CHANGES and not drop.large:
            return change(drop, event)
        drop.lend()
        self._run(lambda: self._apply(drop, event, done))
        return None

    def _apply(self, drop: Maildrop, event: Update, done: Callable[[list[Message]], None]) -> None:
        failed = list(event.delete)
        try:
            failed = change(drop, event)
        finally:
            self._back(drop, lambda: done(failed))

    def search(
        self, drop: Maildrop, event: Transmit, done: Callable[[Transmit | None], None]
    ) -> Transmit | Reply | None:
        """A message that is not where it was listed: open it where it lies now; None and ``done`` on the loop later."""
        if not drop.large:
            return drop.search(event) or event.missing
        drop.lend()
        self._run(lambda: self._search(drop, event, done))
        return None

    def _search(self, drop: Maildrop, event: Transmit, done: Callable[[Transmit | None], None]) -> None:
        found: Transmit | None = None
        try:
            found = drop.search(event)
        finally:
            self._back(drop, lambda: done(found))

    def reply(self, kind: str) -> Reply:
        """What the client is told when a maildrop cannot be opened."""
        return self._profile.texts.maildrop(kind)


def apply(drop: Maildrop, event: Update) -> int:
    """Make QUIT's changes; how many removals failed."""
    return len(change(drop, event))


def change(drop: Maildrop, event: Update) -> list[Message]:
    """Twins get their names, then removals, then moves from new/ to cur/; the messages that could not be removed.

    Twins first: when the other one has gone, nothing but its name tells which of the two is left.
    """
    for message in event.keep:
        if renamed(message):
            drop.keep(message)
    failed = [message for message in event.delete if not drop.remove(message)]
    for message in event.keep:
        if not renamed(message):
            drop.keep(message)
    return failed


def _set_apart() -> None:
    """Exempt what is kept now from garbage collection: over 100,000 messages it would delay all sessions by 40 ms.

    What is no longer used is still freed, by its reference counts; a session makes no cycles.
    """
    gc.freeze()
    gc.collect(1)  # nothing is left to collect: this resets its counters, so that the next scan triggers no collection


def _first(steps: Iterator[None]) -> bool:
    """One slice; True when that was the last."""
    for _ in steps:
        return False
    return True
