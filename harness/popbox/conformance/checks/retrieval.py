"""RETR and TOP (RFC 1939 §5, §7) on whatever is in the box."""

from __future__ import annotations

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Table
from popbox.conformance.verdict import Departs, expect, insist, need

TABLE = Table("RETR and TOP")
check = TABLE.check

ALL = 2_000_000  # more lines than any message here has


def _top(box: Box, number: int, count: int) -> bytes:
    reply = box.session().multi(b"TOP %d %d" % (number, count))
    need(reply.ok, f"TOP is refused: {reply}")
    return reply.body


def _parts(body: bytes) -> tuple[bytes, list[bytes]]:
    """A message as the header with the empty line, and the lines of its body."""
    head, empty, rest = body.partition(b"\r\n\r\n")
    return head + empty, rest.splitlines(keepends=True)


def _cut(got: bytes, wanted: bytes) -> None:
    """What TOP gave against what RETR begins with; one empty line more has a name of its own."""
    said = f"{len(got)} octets ending in {got[-40:]!r} instead of {len(wanted)} ending in {wanted[-20:]!r}"
    if got == wanted + b"\r\n":
        raise Departs(said, "empty-line-added")
    expect(got == wanted, said)


@check("RFC 1939 §5 RETR", "RETR is answered +OK and the message.", "retr-refused", Need.MAIL)
def retr_ok(box: Box) -> None:
    reply = box.session().multi(b"RETR %d" % box.first())
    expect(reply.ok, f"{reply}")


@check("RFC 1939 §5 RETR", "Each message that LIST shows can be retrieved.", "retr-some-refused", Need.MAIL)
def retr_each(box: Box) -> None:
    for number in box.plain_numbers():
        reply = box.session().multi(b"RETR %d" % number)
        expect(reply.ok, f"RETR {number} gave {reply}")


@check("RFC 1939 §3", "Each line of a message ends in CR LF.", "message-bare-lf", Need.MAIL)
def retr_line_ends(box: Box) -> None:
    for number in box.scan():
        bad = [line for line in box.body(number).split(b"\n")[:-1] if not line.endswith(b"\r")]
        expect(not bad, f"message {number}: a line ends in LF alone: {bad[0][-40:]!r}" if bad else "")


@check("RFC 1939 §5 RETR", "RETR gives the same twice.", "retr-unstable", Need.MAIL)
def retr_again(box: Box) -> None:
    number = box.first()
    one, two = (box.session().multi(b"RETR %d" % number).body for _ in range(2))
    expect(one == two, f"message {number}: {len(one)} octets, then {len(two)}, or other ones")


@check("RFC 1939 §5 RETR", "RETR does not take the message away.", "retr-removes", Need.MAIL)
def retr_keeps(box: Box) -> None:
    number = box.first()
    with box.own() as session:
        before = box.scan(session)
        session.multi(b"RETR %d" % number)
        expect(box.scan(session) == before, f"after RETR {number} LIST has changed")
    with box.own() as session:
        expect(box.scan(session) == before, f"after RETR {number} and a lost connection LIST has changed")


@check("RFC 1939 §7 TOP", "TOP is there: clients that show headers first need it.", "no-top", Need.MAIL)
def top_supported(box: Box) -> None:
    reply = box.session().multi(b"TOP %d 0" % box.first())
    expect(reply.ok, f"{reply}")


@check("RFC 1939 §7 TOP", "TOP n 0 gives the header and the empty line.", "top-0-with-body", Need.MAIL)
def top_none(box: Box) -> None:
    number = box.first()
    got, wanted = _top(box, number, 0), _parts(box.body(number))[0]
    _cut(got, wanted)


@check("RFC 1939 §7 TOP", "TOP n 1 gives one line of the body more.", "top-1-wrong", Need.MAIL)
def top_one(box: Box) -> None:
    number = box.first()
    head, lines = _parts(box.body(number))
    _cut(_top(box, number, 1), head + b"".join(lines[:1]))


@check("RFC 1939 §7 TOP", "TOP n 3 gives three lines of the body.", "top-3-wrong", Need.MAIL)
def top_three(box: Box) -> None:
    number = box.first()
    head, lines = _parts(box.body(number))
    _cut(_top(box, number, 3), head + b"".join(lines[:3]))


@check("RFC 1939 §7 TOP", "TOP with more lines than there are gives what RETR gives.", "top-all-differs", Need.MAIL)
def top_all(box: Box) -> None:
    number = box.first()
    got, whole = _top(box, number, ALL), box.body(number)
    expect(got == whole, f"{len(got)} octets, RETR gives {len(whole)}")


@check("RFC 1939 §7 TOP", "TOP does not change what RETR gives then.", "top-changes-message", Need.MAIL)
def top_then_retr(box: Box) -> None:
    number = box.first()
    before = box.session().multi(b"RETR %d" % number).body
    _top(box, number, 0)
    after = box.session().multi(b"RETR %d" % number).body
    expect(before == after, f"message {number}: RETR gives {len(before)} octets before, {len(after)} after")


@check("RFC 1939 §7 TOP", "TOP without a count is malformed.", "top-without-count", Need.MAIL)
def top_without_count(box: Box) -> None:
    reply = box.session().multi(b"TOP %d" % box.first())
    expect(not reply.ok, f"{reply}")


@check("RFC 1939 §7 TOP", "TOP with a negative count is malformed.", "top-negative-count", Need.MAIL)
def top_negative_count(box: Box) -> None:
    reply = box.session().multi(b"TOP %d -1" % box.first())
    expect(not reply.ok, f"{reply}")


@check("RFC 1939 §7 TOP", "TOP with a word for a count is malformed.", "top-word-count", Need.MAIL)
def top_word_count(box: Box) -> None:
    reply = box.session().multi(b"TOP %d all" % box.first())
    expect(not reply.ok, f"{reply}")


@check("RFC 1939 §7 TOP", "TOP with three arguments is malformed.", "top-extra-argument", Need.MAIL)
def top_extra(box: Box) -> None:
    reply = box.session().multi(b"TOP %d 0 0" % box.first())
    expect(not reply.ok, f"{reply}")


@check("RFC 1939 §5 RETR", "RETR with two arguments is malformed.", "retr-extra-argument", Need.MAIL)
def retr_extra(box: Box) -> None:
    reply = box.session().multi(b"RETR %d 1" % box.first())
    expect(not reply.ok, f"{reply}")


@check("RFC 1939 §5 LIST", "LIST with two arguments is malformed.", "list-extra-argument", Need.MAIL)
def list_extra(box: Box) -> None:
    reply = box.session().say(b"LIST %d 1" % box.first())
    expect(not reply.ok, f"{reply}")
    insist(not box.session().wire.unread(0.05), "more than one line came")


@check("RFC 1939 §7 UIDL", "UIDL with two arguments is malformed.", "uidl-extra-argument", Need.MAIL)
def uidl_extra(box: Box) -> None:
    box.ids()
    reply = box.session().say(b"UIDL %d 1" % box.first())
    expect(not reply.ok, f"{reply}")
