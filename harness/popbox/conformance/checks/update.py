"""QUIT and what ends a session without it (RFC 1939 §6)."""

from __future__ import annotations

from collections.abc import Callable

from popbox.conformance.box import Box, Victims
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.verdict import expect, insist, need

TABLE = Table("QUIT and UPDATE")


def check(statement: str, deviation: str) -> Callable[[Run], Run]:
    """A row of RFC 1939 §6 that may delete mail."""
    return TABLE.check("RFC 1939 §6", statement, deviation, Need.CHANGES)


def _left(box: Box) -> list[bytes]:
    """The messages a new session sees, in order."""
    with box.own() as session:
        return list(box.bodies(session).values())


def _still_there(box: Box, v: Victims, after: str) -> None:
    left = _left(box)
    expect(left == v.others(), f"{after}: of {len(v.bodies)} messages {len(left)} are left, or others")


@check("QUIT is answered +OK.", "quit-refused")
def quit_ok(box: Box) -> None:
    with box.victims(1) as v:
        reply = v.session.say(b"QUIT")
        expect(reply.ok, f"{reply}")


@check("After QUIT the server closes the connection.", "quit-stays")
def quit_closes(box: Box) -> None:
    with box.victims(1) as v:
        v.session.say(b"QUIT")
        expect(v.session.wire.ended(2.0), "the connection is open after 2 s")


@check("QUIT after a DELE is answered +OK, in one line.", "quit-after-dele-refused")
def quit_after_dele(box: Box) -> None:
    with box.victims(1) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        reply = v.session.say(b"QUIT")
        expect(reply.ok, f"{reply}")
        more = v.session.wire.unread(0.2)
        expect(not more, f"then came {more[:60]!r}")


@check("QUIT removes what is marked, and nothing else.", "quit-removes-other")
def quit_removes(box: Box) -> None:
    with box.victims(3) as v:
        gone = v.numbers[1]
        v.session.say(b"DELE %d" % gone)
        v.session.say(b"QUIT")
        left = _left(box)
        insist(v.bodies[gone] not in left, "the deleted message is still there")
        expect(
            left == v.others(gone), f"of {len(v.bodies)} messages {len(left)} are left, or others, or in another order"
        )


@check("When QUIT has been answered, what is marked is gone.", "quit-removes-late")
def quit_removed(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"QUIT")
        expect(v.bodies[v.numbers[0]] not in _left(box), "it is in the next session")


@check("Messages that were not deleted keep their unique-ids when others are.", "uid-changes-at-delete")
def quit_keeps_ids(box: Box) -> None:
    with box.victims(3) as v:
        before = box.ids(v.session)
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"QUIT")
        with box.own() as session:
            after = list(box.ids(session).values())
        wanted = [uid for number, uid in before.items() if number != v.numbers[0]]
        expect(sorted(after) == sorted(wanted), f"{wanted} became {after}"[:200])


@check("In the next session messages are numbered from 1 again.", "numbers-not-renewed")
def quit_renumbers(box: Box) -> None:
    with box.victims(3) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"QUIT")
        with box.own() as session:
            numbers = list(box.scan(session))
        expect(numbers == list(range(1, len(v.bodies))), f"{numbers}")


@check("QUIT without a DELE removes nothing.", "quit-removes-unmarked")
def quit_keeps(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"QUIT")
        _still_there(box, v, "after QUIT")


@check("QUIT keeps the unique-ids, though a server may move the files.", "uid-changes-at-quit")
def quit_moves_quietly(box: Box) -> None:
    with box.victims(2) as v:
        before = box.ids(v.session)
        v.session.say(b"QUIT")
        with box.own() as session:
            after = box.ids(session)
        expect(after == before, f"{before} became {after}"[:200])


@check("After QUIT each unique-id names the message that it named before.", "uid-names-another-at-quit")
def quit_keeps_names(box: Box) -> None:
    with box.victims(3) as v:
        before = {uid: v.bodies[number] for number, uid in box.ids(v.session).items()}
        v.session.say(b"QUIT")
        with box.own() as session:
            bodies = box.bodies(session)
            after = {uid: bodies[number] for number, uid in box.ids(session).items()}
        moved = [uid for uid in before if after.get(uid) != before[uid]]
        expect(not moved, f"other messages than before, or none: {moved}"[:200])


@check("QUIT after RETR removes nothing.", "retr-deletes")
def quit_after_retr(box: Box) -> None:
    with box.victims(2) as v:
        v.session.multi(b"RETR %d" % v.numbers[0])
        v.session.say(b"QUIT")
        _still_there(box, v, "after RETR and QUIT")


@check("QUIT after DELE and RSET removes nothing.", "rset-then-quit-removes")
def quit_after_rset(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"RSET")
        v.session.say(b"QUIT")
        _still_there(box, v, "after DELE, RSET and QUIT")


@check("A connection that is lost after DELE removes nothing.", "lost-connection-removes")
def lost_after_dele(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.close()
        _still_there(box, v, "after DELE and a lost connection")


@check("A client that closes its half after DELE, without QUIT, removes nothing.", "end-of-input-removes")
def half_closed_after_dele(box: Box) -> None:
    need(box.options.target.tls is None, "TLS has no half-closed connections")
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.wire.end_sending()
        v.session.wire.ended(3.0)
        v.session.close()
        _still_there(box, v, "after DELE and the end of input")


@check("QUIT that is cut off before its line end is no QUIT.", "cut-quit-removes")
def cut_quit(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.wire.send(b"QUIT", shown="QUIT, without a line end")
        v.session.close()
        _still_there(box, v, "after DELE and QUIT without a line end")


@check("DELE and QUIT in one packet are both carried out.", "batch-quit-lost")
def batch_quit(box: Box) -> None:
    with box.victims(2) as v:
        v.session.wire.send(b"DELE %d\r\nQUIT\r\n" % v.numbers[0], shown="DELE and QUIT, in one packet")
        insist(v.session.read(b"DELE").ok, "DELE was refused")
        expect(v.session.read(b"QUIT").ok, "QUIT was refused")
        v.session.ending()
        left = _left(box)
        expect(left == v.others(v.numbers[0]), f"of {len(v.bodies)} messages {len(left)} are left, or others")


@check("After QUIT the box is free for the next login.", "lock-stays-after-quit")
def quit_frees(box: Box) -> None:
    with box.victims(1) as v:
        v.session.say(b"QUIT")
        v.session.wire.ended(2.0)
        with box.connect() as session:
            reply = session.login(box.options.login, box.options.password)
            expect(reply.ok, f"the next login gave {reply}")


@check("When all is deleted, STAT says 0 0 and LIST is empty.", "empty-box-form")
def empty_box(box: Box) -> None:
    with box.victims(2) as v:
        need(len(v.bodies) == 2, "the box holds other mail")
        for number in v.numbers:
            v.session.say(b"DELE %d" % number)
        v.session.say(b"QUIT")
        with box.own() as session:
            stat, listing = session.say(b"STAT"), session.multi(b"LIST")
            expect(stat.text.split()[:2] == [b"0", b"0"], f"STAT gave {stat}")
            expect(listing.ok and not listing.lines, f"LIST gave {listing} and {len(listing.lines)} lines")


@check("In an empty box, message 1 is not there.", "empty-box-has-message")
def empty_box_retr(box: Box) -> None:
    with box.victims(1) as v:
        need(len(v.bodies) == 1, "the box holds other mail")
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"QUIT")
        with box.own() as session:
            reply = session.say(b"RETR 1")
            expect(not reply.ok, f"RETR 1 gave {reply}")


@check("Where a marked message is gone already, QUIT answers and the rest is carried out.", "quit-gives-up")
def quit_vanished(box: Box) -> None:
    with box.victims(3) as v:
        one, two = v.numbers[0], v.numbers[1]
        v.session.say(b"DELE %d" % one)
        v.session.say(b"DELE %d" % two)
        file = next(n for n in v.names if _holds(box, n, v.bodies[one]))
        box.disk().remove(file)
        v.session.send(b"QUIT")
        v.session.read(b"QUIT")
        left = _left(box)
        expect(left == v.others(one, two), f"of {len(v.bodies)} messages {len(left)} are left, or others")


def _holds(box: Box, name: str, body: bytes) -> bool:
    path = box.disk().find(name)
    return path is not None and path.read_bytes().split(b"\n")[0] == body.split(b"\r\n")[0]


@check("QUIT leaves the octets of kept messages on disk as they are.", "quit-changes-files")
def quit_leaves_files(box: Box) -> None:
    with box.victims(1) as v:
        path = box.disk().find(v.names[0])
        before = path.read_bytes() if path else b""
        v.session.multi(b"RETR %d" % v.numbers[0])
        v.session.say(b"QUIT")
        path = box.disk().find(v.names[0])
        expect(path is not None and path.read_bytes() == before, "the file is gone or has changed")
