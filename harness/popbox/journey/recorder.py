"""Reads a host's logs and Maildirs into a store, pass by pass, together with the positions behind what was read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice
from typing import Self

from popbox.errors import NotPossibleError
from popbox.hosts.base import Ability, Host
from popbox.hosts.following import Follower, LogLine
from popbox.journey.feeds.maildirs import Maildirs
from popbox.journey.join.filed import Owed
from popbox.journey.join.files import Files, still_owed
from popbox.journey.join.foretell import Foreteller
from popbox.journey.join.maillog import Line, Started, parse
from popbox.journey.join.pickup import PopLog
from popbox.journey.join.queue import Clock, NoRules, QueueLog
from popbox.journey.model import Event
from popbox.journey.store import Store

MOST_LINES = 2000  # our choice: of one transaction; the rest follows in the next
MOST_WHOLE = 1000  # our choice: messages that wait for their first delivery
MOST_FORETOLD = 2000  # our choice: answers of the rules
MAIL, POP3 = "mail log", "pop3 log"  # sources in the store
Follow = Callable[[str], Follower]


class Recorder:
    """The writer of a store. ``run_pass`` is called again and again, by one thread at a time."""

    def __init__(
        self,
        store: Store,
        follow: Follow,
        follow_pop3: Follow | None = None,
        rules: Foreteller | None = None,
        files: Files | None = None,
        heard: Callable[[LogLine], None] | None = None,
    ) -> None:
        """``follow`` and ``follow_pop3`` open the two logs at a position, see ``Host.follow``.

        ``heard`` is told of each line of the MTA's log, before what it says is stored.
        """
        self._heard = heard
        self._store, self._follow, self._follow_pop3 = store, follow, follow_pop3
        self._rules, self._files = rules, files or Files(None, 0, "this host's files are not looked at")
        self._queue = QueueLog(MAIL, rules or NoRules(), self._owe)
        self._pop3 = PopLog(POP3, rules.box_of if rules else lambda _login: "")
        self._clock, self._late = Clock(), True
        self._kept: set[int] = set()  # messages of which the lines of this pass say that files were kept
        self._whole: dict[int, list[Event]] = {}  # all events of messages that began just now
        self._foretold = lru_cache(MOST_FORETOLD)(store.foretold)  # an event stays as it is
        self._logs: dict[str, Follower] = {}

    @classmethod
    def on(cls, host: Host, store: Store, heard: Callable[[LogLine], None] | None = None) -> Self:
        """For all that a host can show: its logs, its rules, its Maildirs. What it cannot is unknown."""
        why = host.cannot(Ability.FILES)
        files = Files(None if why else Maildirs(host), host.uid, why)
        rules = Foreteller(host)
        logs = (lambda at: host.follow("smtp", at), lambda at: host.follow("pop3", at))
        return cls(store, *logs, rules, files, heard)

    def run_pass(self) -> int:
        """Store all that is new; returns the cursor behind it.

        Raises:
            StoreError: the store cannot be written; the next pass reads the same again.
            OSError, HostError: a log cannot be read now.
        """
        try:
            self._open()
            while self._mail():
                pass
            self._arrivals()
            self._late = False  # what comes from now on is read as it comes
        except BaseException:
            self.close()
            raise
        return self._store.cursor()

    def close(self) -> None:
        """Let go of logs and programs. The next pass goes on where the store says."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        self._whole.clear()
        self._files.close()
        if self._rules:
            self._rules.forget_seqs()

    def _open(self) -> None:
        if MAIL in self._logs:
            return
        self._clock, self._late = Clock(), True
        position, state = self._store.position(MAIL)
        self._queue.load(self._store.open_numbers(), state)
        self._logs[MAIL] = self._follow(position)
        self._files.owed = []
        self._kept = set(self._store.owing())
        if self._follow_pop3:
            position, state = self._store.position(POP3)
            self._pop3.load(state, self._store.pop3_gap(), self._store.blind())
            try:
                self._logs[POP3] = self._follow_pop3(position)
            except NotPossibleError as error:
                self._pop3.deaf(error.what)

    def _owe(self, of: int, _recipient: str) -> None:
        self._kept.add(of)

    def _mail(self) -> bool:
        """Store at most MOST_LINES lines of the MTA's log; whether there may be more."""
        log, now = self._logs[MAIL], time.time()
        lines = list(islice(log.lines(), MOST_LINES))
        if not lines and not log.gap:
            return False
        if self._heard:
            for one in lines:
                self._heard(one)
        parsed = [(line, one) for one in lines if (line := parse(one.text)) is not None]
        self._ask(line for line, _ in parsed)
        with self._store.batch() as batch:
            for line, one in parsed:
                self._queue.take(batch, line, self._clock.time(line, one.text, now, late=self._late), one.place)
            if log.gap:
                self._queue.cut(batch, log.gap, now)
            batch.keep_position(MAIL, log.position, self._queue.state)
        self._remember(batch.added)
        return bool(log.gap) or len(lines) == MOST_LINES

    def _remember(self, added: Iterable[tuple[int, int | None, Event]]) -> None:
        """Keep events of messages of which there are no others; what is owed is then told without asking the store."""
        for seq, of, event in added:
            if of == seq:
                self._whole[seq] = [event]
            elif of in self._whole:
                self._whole[of].append(event)
        while len(self._whole) > MOST_WHOLE:
            del self._whole[next(iter(self._whole))]

    def _owed(self, of: int) -> list[Owed]:
        """What is owed of a message now. Later events of it come from others too: then the store is asked."""
        events = self._whole.pop(of) if of in self._whole else self._store.events_about(of)
        return still_owed(events, self._foretold)

    def _ask(self, lines: Iterable[Line]) -> None:
        if self._rules:
            self._rules.ask((line.channel, line.address) for line in lines if isinstance(line, Started))

    def _arrivals(self) -> None:
        """Store which files are there, and which messages POP3 handed out."""
        now = time.time()
        for of in self._kept:
            self._files.owe(of, self._owed(of), self._late)
        self._kept.clear()
        look = self._files.look(now)
        log = self._logs.get(POP3)
        lines = list(islice(log.lines(), MOST_LINES)) if log else []
        for line in lines:
            self._pop3.take(line.text, line.place)
        gap = log.gap if log else ""
        if not (self._files.owed or lines or gap or self._pop3.is_waiting):
            return
        with self._store.batch() as batch:
            if gap:
                self._pop3.cut(batch, gap, time.time())  # not before the look: all files of it are older
            self._files.settle(batch, look, now, self._pop3.removed_unseen)
            self._pop3.join(batch, now)
            self._pop3.tell_blind(batch, now)
            if log:
                batch.keep_position(POP3, log.position, self._pop3.state)
