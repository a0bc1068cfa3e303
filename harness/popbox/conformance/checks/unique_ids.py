"""UIDL (RFC 1939 §7)."""

from __future__ import annotations

import re

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Table
from popbox.conformance.verdict import expect, insist, need

TABLE = Table("UIDL")
check = TABLE.check


@check("RFC 1939 §7 UIDL", "UIDL is there: clients that leave mail on the server need it.", "no-uidl")
def uidl_supported(box: Box) -> None:
    reply = box.session().multi(b"UIDL")
    expect(reply.ok, f"{reply}")


@check("RFC 1939 §7 UIDL", "A unique-id listing is number, one space, id.", "uidl-form", Need.MAIL)
def uidl_form(box: Box) -> None:
    reply = box.session().multi(b"UIDL")
    need(reply.ok, "the server has no UIDL")
    for line in reply.lines:
        expect(re.fullmatch(rb"[1-9][0-9]* [^ \r\n]+\r?\n", line) is not None, f"{line!r}")


@check("RFC 1939 §7 UIDL", "A unique-id has 1 to 70 octets.", "uid-too-long", Need.MAIL)
def uid_length(box: Box) -> None:
    for number, uid in box.ids().items():
        expect(1 <= len(uid) <= 70, f"message {number}: {len(uid)} octets")


@check("RFC 1939 §7 UIDL", "The octets of a unique-id are printable: 0x21 to 0x7E.", "uid-octets", Need.MAIL)
def uid_octets(box: Box) -> None:
    for number, uid in box.ids().items():
        expect(re.fullmatch(rb"[\x21-\x7e]+", uid) is not None, f"message {number}: {uid!r}")


@check("RFC 1939 §7 UIDL", "No two messages have one unique-id.", "uid-twice", Need.MAIL)
def uid_unique(box: Box) -> None:
    ids = box.ids()
    expect(len(set(ids.values())) == len(ids), f"{len(ids)} messages, {len(set(ids.values()))} ids")


@check("RFC 1939 §7 UIDL", "UIDL lists the messages that LIST lists.", "uidl-other-messages")
def uidl_numbers(box: Box) -> None:
    ids, sizes = box.ids(), box.scan()
    expect(list(ids) == list(sizes), f"UIDL: {list(ids)[:10]}, LIST: {list(sizes)[:10]}")


@check("RFC 1939 §7 UIDL", "UIDL n gives one line: +OK, the number, the id.", "uidl-one-form", Need.MAIL)
def uidl_one_form(box: Box) -> None:
    number, uid = next(iter(box.ids().items()))
    reply = box.session().say(b"UIDL %d" % number)
    expect(re.fullmatch(rb"\+OK [0-9]+ [^ \r\n]+\r?\n", reply.raw) is not None, f"{reply}")
    insist(not box.session().wire.unread(0.05), f"more than one line came for {uid!r}")


@check("RFC 1939 §7 UIDL", "UIDL n and UIDL agree, for each message.", "uidl-one-differs", Need.MAIL)
def uidl_one_agrees(box: Box) -> None:
    for number, uid in box.ids().items():
        reply = box.session().say(b"UIDL %d" % number)
        expect(reply.text == b"%d %b" % (number, uid), f"UIDL says {number} {uid!r}, UIDL {number} says {reply}")


@check("RFC 1939 §7 UIDL", "A message keeps its unique-id from session to session.", "uid-changes", Need.MAIL)
def uid_persists(box: Box) -> None:
    one = box.ids()
    with box.own() as session:
        two = box.ids(session)
    expect(one == two, f"{one}, then {two}"[:200])


@check("RFC 1939 §7 UIDL", "A message keeps its unique-id when it has been read.", "uid-changes-when-read", Need.MAIL)
def uid_after_read(box: Box) -> None:
    number = box.first()
    with box.own() as session:
        one = box.ids(session)
        session.multi(b"RETR %d" % number)
        two = box.ids(session)
    expect(one == two, f"message {number}: {one.get(number)!r}, then {two.get(number)!r}")
