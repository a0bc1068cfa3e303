"""DELE and RSET within a session (RFC 1939 §5): nothing is removed here, every session is lost on purpose."""

from __future__ import annotations

from collections.abc import Callable

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.verdict import Departs, expect, insist, need

TABLE = Table("DELE and RSET")


def check(statement: str, deviation: str, section: str = "§5 DELE") -> Callable[[Run], Run]:
    """A row of RFC 1939 that marks mail."""
    return TABLE.check(f"RFC 1939 {section}", statement, deviation, Need.CHANGES)


@check("DELE is answered +OK.", "dele-refused")
def dele_ok(box: Box) -> None:
    with box.victims(1) as v:
        reply = v.session.say(b"DELE %d" % v.numbers[0])
        expect(reply.ok, f"{reply}")


def _after_dele(command: str, many_lines: bool) -> Run:
    def run(box: Box) -> None:
        with box.victims(2) as v:
            line = command.replace("N", str(v.numbers[0])).encode()
            reply = v.session.multi(line) if many_lines else v.session.say(line)
            need(reply.ok, f"{command} is refused anyway")
            v.session.say(b"RSET")
            insist(v.session.say(b"DELE %d" % v.numbers[0]).ok, "DELE was refused")
            v.session.send(line)
            reply = v.session.read(line)
            expect(not reply.ok, f"{line.decode()} gave {reply}")

    return run


for _command, _name, _many in (
    ("DELE N", "dele", False),
    ("RETR N", "retr", True),
    ("TOP N 0", "top", True),
    ("LIST N", "list-one", False),
    ("UIDL N", "uidl-one", False),
):
    TABLE.add(
        f"deleted-{_name}",
        "RFC 1939 §5 DELE",
        f"{_command.replace('N', 'n')} of a message marked deleted gets -ERR.",
        f"{_name}-of-deleted",
        _after_dele(_command, _many),
        Need.CHANGES,
    )


@check("LIST leaves out messages marked deleted, the others keep their numbers.", "list-shows-deleted", "§5 LIST")
def deleted_list(box: Box) -> None:
    with box.victims(2) as v:
        before = box.scan(v.session)
        v.session.say(b"DELE %d" % v.numbers[0])
        after = box.scan(v.session)
        insist(set(after) <= set(before), f"numbers have changed: {list(before)}, then {list(after)}")
        wanted = {number: size for number, size in before.items() if number != v.numbers[0]}
        expect(after == wanted, f"after DELE {v.numbers[0]} LIST has {list(after)}")


@check("UIDL leaves out messages marked deleted.", "uidl-shows-deleted", "§7 UIDL")
def deleted_uidl(box: Box) -> None:
    with box.victims(2) as v:
        before = box.ids(v.session)
        v.session.say(b"DELE %d" % v.numbers[0])
        wanted = {number: uid for number, uid in before.items() if number != v.numbers[0]}
        after = box.ids(v.session)
        expect(after == wanted, f"after DELE {v.numbers[0]} UIDL has {list(after)}")


@check("The count of STAT leaves out messages marked deleted.", "stat-counts-deleted", "§5 STAT")
def deleted_stat_count(box: Box) -> None:
    with box.victims(2) as v:
        count = len(box.scan(v.session))
        v.session.say(b"DELE %d" % v.numbers[0])
        reply = v.session.say(b"STAT")
        said = int(reply.text.split()[0])
        insist(said in (count, count - 1), f"{count} messages, one is marked: {reply}")
        expect(said == count - 1, f"{count} messages, one is marked: {reply}")


@check("The octets of STAT leave out messages marked deleted.", "stat-octets-of-deleted", "§5 STAT")
def deleted_stat_octets(box: Box) -> None:
    with box.victims(2) as v:
        sizes = box.scan(v.session)
        v.session.say(b"DELE %d" % v.numbers[0])
        left = sum(sizes.values()) - sizes[v.numbers[0]]
        reply = v.session.say(b"STAT")
        expect(int(reply.text.split()[1]) == left, f"{left} octets are left: {reply}")


@check("A DELE of one message does not touch another.", "dele-wrong-message")
def deleted_other(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        body = v.session.multi(b"RETR %d" % v.numbers[1]).body
        expect(body == v.bodies[v.numbers[1]], f"after DELE {v.numbers[0]} RETR {v.numbers[1]} gives another message")


@check("RSET unmarks: LIST is as before.", "rset-keeps-marks", "§5 RSET")
def rset_list(box: Box) -> None:
    with box.victims(2) as v:
        before = box.scan(v.session)
        for number in v.numbers:
            v.session.say(b"DELE %d" % number)
        expect(v.session.say(b"RSET").ok, "RSET was refused")
        expect(box.scan(v.session) == before, "LIST is not as before")


@check("RSET unmarks: STAT is as before.", "rset-keeps-stat", "§5 RSET")
def rset_stat(box: Box) -> None:
    with box.victims(2) as v:
        before = v.session.say(b"STAT").raw
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"RSET")
        after = v.session.say(b"STAT").raw
        expect(after == before, f"{before!r}, then {after!r}")


@check("RSET unmarks: the message can be retrieved, and marked again.", "rset-loses-message", "§5 RSET")
def rset_retr(box: Box) -> None:
    with box.victims(1) as v:
        number = v.numbers[0]
        v.session.say(b"DELE %d" % number)
        v.session.say(b"RSET")
        reply = v.session.multi(b"RETR %d" % number)
        expect(reply.ok and reply.body == v.bodies[number], f"RETR gave {reply}")
        expect(v.session.say(b"DELE %d" % number).ok, "a second DELE was refused")


@check("RSET after a DELE gets one reply.", "rset-two-replies", "§5 RSET")
def rset_one_reply(box: Box) -> None:
    with box.victims(1) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"RSET")
        more = v.session.wire.unread(0.05)
        expect(not more, f"then came {more[:60]!r}")


@check("A message marked deleted is there for other sessions.", "dele-seen-elsewhere", "§6")
def deleted_elsewhere(box: Box) -> None:
    with box.victims(2) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        with box.connect() as other:
            reply = other.login(box.options.login, box.options.password)
            need(reply.ok, "the server lets one session in at a time")
            expect(list(box.bodies(other).values()) == v.others(), "the other session does not see all messages")


@check("A message marked deleted is on disk until QUIT.", "dele-at-once", "§6")
def deleted_on_disk(box: Box) -> None:
    with box.victims(1) as v:
        disk = box.disk()
        v.session.say(b"DELE %d" % v.numbers[0])
        v.session.say(b"NOOP")
        expect(disk.find(v.names[0]) is not None, "the file is gone")


@check("DELE, LIST and RSET in one packet are answered in order.", "dele-pipelined")
def deleted_batch(box: Box) -> None:
    with box.victims(1) as v:
        number = v.numbers[0]
        v.session.wire.send(
            b"DELE %d\r\nLIST %d\r\nRSET\r\nLIST %d\r\n" % (number, number, number),
            shown="DELE, LIST n, RSET, LIST n, in one packet",
        )
        said = [v.session.read(b"the batch").ok for _ in range(4)]
        if said != [True, False, True, True]:
            raise Departs(f"+OK: {said}")
