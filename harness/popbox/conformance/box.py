"""The box under test as the checks see it: sessions, what is in it, the messages placed in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from popbox.conformance.corpus import BY_NAME, CORPUS, Maildir, canonical
from popbox.conformance.lock import Lock
from popbox.conformance.refusals import Refusals
from popbox.conformance.session import Reply, Session, Target
from popbox.conformance.verdict import Broken, Skip, need
from popbox.errors import ConnectionFailed, StepTimeout

SCAN = re.compile(rb"([0-9]+) ([0-9]+)(?: .*)?\r?\n")
ID = re.compile(rb"([0-9]+) ([^\r\n]+)\r?\n")
UNLOCKED_S = 3.0  # a server that keeps a lock for longer fails lock_released
VICTIM = b"Subject: popbox victim %d\n\n%b"


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller gave. ``maildir`` is the box's directory, where files may be placed."""

    target: Target
    login: str
    password: str
    maildir: Path | None = None
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Victims:
    """A session, the numbers that may be deleted in it, all messages of the box, and the files placed for it."""

    session: Session
    numbers: tuple[int, ...]
    bodies: dict[int, bytes]
    names: tuple[str, ...]

    def others(self, *gone: int) -> list[bytes]:
        """The messages that are left when ``gone`` have been deleted, in order."""
        return [body for number, body in self.bodies.items() if number not in gone]


class Box:
    """Gives checks their sessions. One session in TRANSACTION is shared by checks that change nothing."""

    def __init__(self, options: Options) -> None:
        """Connects when asked to, not before."""
        self.options = options
        self.maildir = Maildir(options.maildir) if options.maildir else None
        self.lock = Lock()
        self.refusals = Refusals(options.target, options.login, options.password, self.lock)
        self.used: list[Session] = []  # since the check began: their transcripts are its evidence
        self.names: dict[str, str] = {}  # corpus message -> file name, while the corpus is placed
        self._shared: Session | None = None
        self._numbers: dict[str, int] | None = None
        self._bodies: dict[int, bytes] = {}
        self._capabilities: dict[bytes, list[bytes]] | None = None
        self._asked = False
        self._mail: bool | None = None

    def connect(self) -> Session:
        """A new connection, not logged in; the shared session is closed, as its lock would refuse any login."""
        self.drop()
        session = self.lock.open(self.options.target)
        self.used.append(session)
        return session

    def connect_unlocked(self) -> Session:
        """A new connection when no lock of ours is left: a lock would refuse even what a broken server accepts.

        The last session is one whose end the server has shown: our half closed first, then its own.
        """
        with self.own() as session:
            session.wire.end_sending()
            session.wire.ended(UNLOCKED_S)
        return self.connect()

    def session(self) -> Session:
        """The shared session in TRANSACTION; opened if there is none."""
        if self._shared is None:
            self._shared = self.login()
        if self._shared not in self.used:
            self.used.append(self._shared)
        return self._shared

    def drop(self) -> None:
        """Close the shared session without QUIT, and with it a lock on the box."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def login(self) -> Session:
        """A new session in TRANSACTION; the shared one is closed first, as many servers lock the box.

        Raises:
            Broken: the login was refused, in the end.
        """
        self.drop()
        login, password = self.options.login, self.options.password
        session, reply = self.lock.enter(self.connect, lambda session: session.login(login, password))
        if not reply.ok:
            session.close()
            raise Broken(f"login refused: {reply}")
        return session

    @contextmanager
    def let_in(self, attempt: Callable[[Session], Reply]) -> Iterator[tuple[Session, Reply]]:
        """A connection on which ``attempt`` has tried to log in, and the reply.

        A refused login is tried again while a session that we have just closed may still hold its lock.
        """
        session, reply = self.lock.enter(self.connect, attempt)
        with session:
            yield session, reply

    @contextmanager
    def own(self) -> Iterator[Session]:
        """A session in TRANSACTION for one check alone, closed without QUIT."""
        session = self.login()
        try:
            yield session
        finally:
            session.close()

    def scan(self, session: Session | None = None) -> dict[int, int]:
        """LIST as number -> size.

        Raises:
            Broken: the reply cannot be read.
        """
        return {int(n): int(size) for n, size in self._pairs(b"LIST", SCAN, session)}

    def ids(self, session: Session | None = None) -> dict[int, bytes]:
        """UIDL as number -> unique-id; Skip where the server has no UIDL."""
        session = session or self.session()
        reply = session.multi(b"UIDL")
        need(reply.ok, f"the server has no UIDL: {reply}")
        return {int(n): uid for n, uid in _parsed(reply.lines, ID, b"UIDL")}

    def _pairs(self, verb: bytes, form: re.Pattern[bytes], session: Session | None) -> list[tuple[bytes, bytes]]:
        reply = (session or self.session()).multi(verb)
        if not reply.ok:
            raise Broken(f"{verb.decode()} was refused: {reply}")
        return _parsed(reply.lines, form, verb)

    def first(self) -> int:
        """The number of a message that is there, not a large one. Skip where the box is empty."""
        if self.names:
            return self.number("plain")
        return self.first_of(self.session())

    def has_mail(self) -> bool:
        """Whether there is any message; asked once."""
        if self._mail is None:
            try:
                self._mail = bool(self.scan())
            except (Broken, ConnectionFailed, StepTimeout):
                self._mail = True  # then let the check itself say what is wrong
                self.drop()
        return self._mail

    def first_of(self, session: Session) -> int:
        """The number of the smallest message that is not empty, in another session."""
        sizes = {number: size for number, size in self.scan(session).items() if size}
        need(bool(sizes), "the box is empty")
        return min(sizes, key=sizes.__getitem__)

    def plain_numbers(self) -> list[int]:
        """All messages but those whose first octet is a dot, which make a bad server end its reply early."""
        odd = {self.number(name) for name in ("dot-first", "only-dots")} if self.names else set()
        return [number for number in self.scan() if number not in odd]

    def body(self, number: int) -> bytes:
        """A message as RETR sends it in the shared session, byte-stuffing undone; kept for later checks.

        Raises:
            Broken: RETR was refused.
        """
        if number not in self._bodies:
            reply = self.session().multi(b"RETR %d" % number)
            if not reply.ok:
                raise Broken(f"RETR {number} was refused: {reply}")
            self._bodies[number] = reply.body
            if self.session().wire.unread():  # the reply did not end where it said: its own checks tell
                self.drop()
        return self._bodies[number]

    def bodies(self, session: Session) -> dict[int, bytes]:
        """All messages of another session, read now."""
        return {number: session.multi(b"RETR %d" % number).body for number in self.scan(session)}

    def capabilities(self) -> dict[bytes, list[bytes]]:
        """CAPA before login, tag -> arguments; empty where the server has no CAPA."""
        if not self._asked:
            with self.connect() as session:
                self._capabilities = capabilities_of(session)
            self._asked = True
        return self._capabilities or {}

    def has(self, tag: bytes) -> list[bytes]:
        """The arguments of a capability; Skip where it is not announced before login."""
        found = self.capabilities()
        need(tag in found, f"CAPA does not announce {tag.decode()}")
        return found[tag]

    def disk(self) -> Maildir:
        """The Maildir.

        Raises:
            Skip: none was given.
        """
        if self.maildir is None:
            raise Skip("needs --maildir PATH")
        return self.maildir

    @contextmanager
    def placed(self, octets: bytes) -> Iterator[str]:
        """One message in the Maildir for the time of a check; gives its file name."""
        disk = self.disk()
        name = disk.place(octets)
        try:
            yield name
        finally:
            disk.remove(name)

    @contextmanager
    def victims(self, count: int) -> Iterator[Victims]:
        """A session with ``count`` messages that may be deleted: placed ones, without --maildir the last in the box."""
        names: list[str] = []
        if self.maildir is not None:
            self.drop()
            names = [self.maildir.place(VICTIM % (n, b"body\n" * n)) for n in range(1, count + 1)]
        session = self.login()
        try:
            bodies = self.bodies(session)
            numbers = [n for n, body in bodies.items() if VICTIM[:20] in body] if names else list(bodies)[-count:]
            need(len(numbers) == count, f"{count} messages that may be deleted are not in the box")
            yield Victims(session, tuple(numbers), bodies, tuple(names))
        finally:
            session.close()
            if self.maildir is not None:
                self.maildir.remove(*names)

    # The corpus.

    def place_corpus(self) -> None:
        """Place the hard messages in the Maildir."""
        if self.maildir is not None:
            self.drop()
            self.names = self.maildir.place_corpus()

    def remove_placed(self) -> None:
        """Remove all that was placed."""
        self.drop()
        self.names, self._numbers, self._bodies = {}, None, {}
        if self.maildir is not None:
            self.maildir.remove_all()

    def number(self, name: str) -> int:
        """The number of a corpus message.

        Raises:
            Broken: it cannot be found.
        """
        if self._numbers is None:
            self._numbers = self._match()
        if name not in self._numbers:
            raise Broken(f"the message '{name}' ({BY_NAME[name].hard}) is not in the box, or not to be recognised")
        return self._numbers[name]

    def _match(self) -> dict[str, int]:
        """Corpus message -> number: by file name in the unique-id, by token, by content, or by elimination."""
        bodies = {number: self.body(number) for number in self.scan()}
        reply = self.session().multi(b"UIDL")
        ids = dict(_parsed(reply.lines, ID, b"UIDL")) if reply.ok else {}
        by_id = {uid.partition(b":")[0]: int(number) for number, uid in ids.items()}
        found = {name: by_id[file.encode()] for name, file in self.names.items() if file.encode() in by_id}
        for mail in CORPUS:
            left = [number for number in bodies if number not in found.values()]
            if mail.name not in found and mail.token in mail.octets:
                found.update((mail.name, n) for n in left if re.search(mail.token + rb"\b(?!-)", bodies[n]))
            elif mail.name not in found:
                wanted = canonical(mail.octets).strip()
                found.update((mail.name, n) for n in left if bodies[n].strip() == wanted)
        names = [mail.name for mail in CORPUS if mail.name not in found]
        left = [number for number in bodies if number not in found.values()]
        return found | (dict(zip(names, left, strict=True)) if len(names) == len(left) else {})


def capabilities_of(session: Session) -> dict[bytes, list[bytes]] | None:
    """CAPA in the state the session is in; None where it is refused."""
    try:
        reply = session.multi(b"CAPA")
    except ConnectionFailed:
        return None
    if not reply.ok:
        return None
    words = (line.split() for line in reply.lines)
    return {found[0].upper(): found[1:] for found in words if found}


def _parsed(lines: tuple[bytes, ...], form: re.Pattern[bytes], verb: bytes) -> list[tuple[bytes, bytes]]:
    matches = [form.fullmatch(line) for line in lines]
    for line, match in zip(lines, matches, strict=True):
        if match is None:
            raise Broken(f"a line of {verb.decode()} cannot be read: {line[:80]!r}")
    return [(match[1], match[2]) for match in matches if match]
