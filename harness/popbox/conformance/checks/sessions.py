"""What a session sees of the box, and of other sessions (RFC 1939 §3, §4, §6)."""

from __future__ import annotations

import time

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Table
from popbox.conformance.session import Session
from popbox.conformance.verdict import expect, insist, need
from popbox.errors import ConnectionFailed

TABLE = Table("sessions")
check = TABLE.check

MAIL = b"Subject: placed by a check\n\nbody\n"


@check("RFC 1939 §4", "Mail that arrives during a session does not appear in it.", "arrivals-appear", Need.CORPUS)
def arrival_invisible(box: Box) -> None:
    with box.own() as session:
        before = box.scan(session)
        with box.placed(MAIL):
            after = box.scan(session)
            expect(after == before, f"{len(before)} messages, then {len(after)}")


@check("RFC 1939 §4", "Mail that has arrived appears in the next session.", "arrivals-late", Need.CORPUS)
def arrival_visible_next(box: Box) -> None:
    with box.own() as session:
        before = len(box.scan(session))
    with box.placed(MAIL), box.own() as session:
        after = len(box.scan(session))
        expect(after == before + 1, f"{before} messages, one was delivered, then {after}")


@check(
    "RFC 1939 §5 RETR", "A message that another program has removed: -ERR, and go on.", "vanished-message", Need.CORPUS
)
def vanished(box: Box) -> None:
    with box.placed(MAIL) as name, box.own() as session:
        number = _number_of(box, session)
        box.disk().remove(name)
        try:
            reply = session.multi(b"RETR %d" % number)
            expect(not reply.ok or b"placed by a check" in reply.body, f"RETR {number} gave {reply} and something else")
            insist(session.say(b"STAT").ok, "after it STAT is refused")
        except ConnectionFailed as error:
            expect(False, str(error))


@check(
    "our choice: readers move and flag messages at any time, maildir(5)",
    "A message that a reader moves and flags during the session is still there.",
    "renamed-lost",
    Need.CORPUS,
)
def renamed(box: Box) -> None:
    with box.placed(MAIL) as name, box.own() as session:
        number = _number_of(box, session)
        for flags in ("", "S", "FRS"):
            box.disk().flag(name, flags)
            for command in (b"RETR %d" % number, b"TOP %d 1" % number):
                reply = session.multi(command)
                expect(reply.ok and b"placed by a check" in reply.body, f"{command.decode()} gave {reply}")


@check(
    "RFC 1939 §7 UIDL",
    "Two messages whose file names differ in folder and flags only have two ids, and keep them.",
    "twins-share-id",
    Need.CORPUS,
    Need.CHANGES,
)
def twins(box: Box) -> None:
    one, two = (MAIL + b"twin %d of %d\n" % (number, time.time_ns()) for number in (1, 2))
    with box.disk().twins(one, two):
        seen: list[dict[bytes, bytes]] = []
        for _ in range(3):
            with box.own() as session:
                bodies, ids = box.bodies(session), box.ids(session)
                found = {
                    text: ids[n] for n, body in bodies.items() for text in (one, two) if text.split(b"\n")[-2] in body
                }
                expect(len(found) == 2, f"{len(found)} of the two messages can be fetched")
                seen.append(found)
                insist(session.say(b"QUIT").ok, "QUIT was refused")
        expect(len(set(seen[0].values())) == 2, f"both have {seen[0][one]!r}")
        expect(seen[0] == seen[1] == seen[2], f"after QUIT the ids are others: {[list(one.values()) for one in seen]}")


def _number_of(box: Box, session: Session) -> int:
    near = [n for n, size in box.scan(session).items() if abs(size - len(MAIL)) < 10]
    found = [n for n in near if b"placed by a check" in session.multi(b"RETR %d" % n).body]
    need(len(found) == 1, "the placed message is not in the box")
    return found[0]


@check("RFC 1939 §4", "While one session has the box, a second login is refused.", "no-exclusive-lock")
def exclusive_lock(box: Box) -> None:
    with box.own(), box.connect() as second:
        reply = second.login(box.options.login, box.options.password)
        expect(not reply.ok, "both are logged in")


@check("RFC 1939 §4", "A second login leaves the first session as it was.", "second-login-disturbs")
def second_login(box: Box) -> None:
    with box.own() as first:
        before = box.scan(first)
        with box.connect() as second:
            second.login(box.options.login, box.options.password)
            expect(box.scan(first) == before, "LIST of the first session has changed")
        expect(box.scan(first) == before, "LIST of the first session has changed after the second was lost")


@check("RFC 1939 §4", "When a session is lost, the box is free within three seconds.", "lock-stays")
def lock_released(box: Box) -> None:
    with box.own():
        pass
    began = time.monotonic()
    box.login().close()
    expect(time.monotonic() - began < 3.0, f"the next login took {time.monotonic() - began:.1f} s")


@check("RFC 1939 §6", "A connection that is lost during RETR leaves the box free and whole.", "lost-in-retr", Need.MAIL)
def lost_in_retr(box: Box) -> None:
    with box.own() as session:
        before = box.scan(session)
        session.send(b"RETR %d" % max(before, key=before.__getitem__))
    with box.own() as session:
        expect(box.scan(session) == before, "LIST has changed")


@check("RFC 1939 §6", "A session that is lost after a read changes nothing.", "read-changes-box", Need.MAIL)
def reading_changes_nothing(box: Box) -> None:
    numbers = box.plain_numbers()
    with box.own() as session:
        before = box.scan(session)
        for number in numbers:
            session.multi(b"RETR %d" % number)
    with box.own() as session:
        expect(box.scan(session) == before, "LIST has changed")


@check("our choice", "Twenty connections at once are all greeted.", "few-connections")
def many_connections(box: Box) -> None:
    sessions = [box.connect() for _ in range(20)]
    try:
        refused = [session.greeting for session in sessions if not session.greeting.ok]
        expect(not refused, f"{len(refused)} were refused: {refused[:1]}")
    finally:
        for session in sessions:
            session.close()


@check("our choice", "A client that says nothing makes no other client wait.", "one-at-a-time")
def silent_client(box: Box) -> None:
    with box.connect(), box.connect() as other:
        reply = other.say(b"USER " + box.options.login.encode())
        expect(reply.ok, f"USER gave {reply}")


@check("our choice", "A client that closes its half of the connection is let go within 5 s.", "half-closed-stays")
def half_closed(box: Box) -> None:
    with box.connect() as session:
        need(box.options.target.tls is None, "TLS has no half-closed connections")
        session.wire.end_sending()
        expect(session.wire.ended(5.0), "the connection is open after 5 s")


@check("our choice", "200 kB without a line end: an -ERR or the end, and others are served.", "endless-line")
def endless_line(box: Box) -> None:
    with box.connect() as session:
        try:
            session.wire.send(b"A" * 200_000, shown="200,000 octets without a line end")
            session.wire.ended(0.4)
            said = session.wire.unread()
        except ConnectionFailed:
            said = b""
        expect(b"+OK" not in said, f"it said {said[:60]!r}")
    with box.connect() as session:
        expect(session.greeting.ok, f"the next connection got {session.greeting}")


@check("our choice", "Random octets are answered with -ERR or the end, and others are served.", "garbage-accepted")
def garbage(box: Box) -> None:
    with box.connect() as session:
        try:
            session.wire.send(bytes((n * 37 + 11) % 256 for n in range(2000)) + b"\r\n", shown="2000 odd octets")
            session.wire.ended(0.4)
            said = session.wire.unread()
        except ConnectionFailed:
            said = b""
        expect(b"+OK" not in said, f"it said {said[:60]!r}")
    with box.connect() as session:
        expect(session.greeting.ok, f"the next connection got {session.greeting}")
