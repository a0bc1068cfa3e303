"""STAT and LIST (RFC 1939 §5, §11)."""

from __future__ import annotations

import re

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.checks.content import trailer
from popbox.conformance.corpus import BY_NAME
from popbox.conformance.verdict import Departs, expect, insist

TABLE = Table("STAT and LIST")
check = TABLE.check


def _stat(box: Box) -> tuple[int, int]:
    reply = box.session().say(b"STAT")
    match = re.match(rb"\+OK ([0-9]+) ([0-9]+)", reply.raw)
    insist(match is not None, f"STAT gave {reply}")
    return (int(match[1]), int(match[2])) if match else (0, 0)


@check("RFC 1939 §5 STAT", "STAT gives +OK, a space, the count, a space, the octets.", "stat-form")
def stat_form(box: Box) -> None:
    reply = box.session().say(b"STAT")
    expect(re.fullmatch(rb"\+OK (0|[1-9][0-9]*) (0|[1-9][0-9]*)( [^\r\n]*)?\r?\n", reply.raw) is not None, f"{reply}")


@check("RFC 1939 §5 STAT", "STAT discourages further text: nothing follows the two numbers.", "stat-extra-text")
def stat_bare(box: Box) -> None:
    reply = box.session().say(b"STAT")
    expect(len(reply.text.split()) == 2, f"{reply}")


@check("RFC 1939 §5 STAT", "The count of STAT is the number of lines of LIST.", "stat-count-differs")
def stat_count(box: Box) -> None:
    count, listed = _stat(box)[0], len(box.scan())
    expect(count == listed, f"STAT says {count}, LIST has {listed}")


@check("RFC 1939 §5 STAT", "The octets of STAT are the sum of those of LIST.", "stat-octets-differ")
def stat_octets(box: Box) -> None:
    octets, listed = _stat(box)[1], sum(box.scan().values())
    expect(octets == listed, f"STAT says {octets}, LIST adds up to {listed}")


@check("RFC 1939 §5 STAT", "STAT gives the same twice.", "stat-unstable")
def stat_again(box: Box) -> None:
    one, two = _stat(box), _stat(box)
    expect(one == two, f"{one}, then {two}")


@check("RFC 1939 §5 LIST", "LIST is a multi-line reply, +OK first.", "list-refused")
def list_ok(box: Box) -> None:
    reply = box.session().multi(b"LIST")
    expect(reply.ok, f"{reply}")


@check("RFC 1939 §5 LIST", "A scan listing is number, one space, octets.", "list-form", Need.MAIL)
def list_form(box: Box) -> None:
    for line in box.session().multi(b"LIST").lines:
        expect(re.fullmatch(rb"[1-9][0-9]* (0|[1-9][0-9]*)( [^\r\n]*)?\r?\n", line) is not None, f"{line!r}")


@check("RFC 1939 §5 LIST", "Nothing follows the octets of a scan listing.", "list-extra-text", Need.MAIL)
def list_bare(box: Box) -> None:
    for line in box.session().multi(b"LIST").lines:
        expect(len(line.split()) == 2, f"{line!r}")


@check("RFC 1939 §5", "Messages are numbered from 1, without gaps, in order.", "list-numbers", Need.MAIL)
def list_numbers(box: Box) -> None:
    numbers = list(box.scan())
    expect(numbers == list(range(1, len(numbers) + 1)), f"{numbers[:10]}")


@check("RFC 1939 §5 LIST", "LIST gives the same twice.", "list-unstable", Need.MAIL)
def list_again(box: Box) -> None:
    one, two = box.scan(), box.scan()
    expect(one == two, f"{len(one)} messages, then {len(two)}, or other sizes")


@check("RFC 1939 §5 LIST", "LIST n gives one line: +OK, the number, the octets.", "list-one-form", Need.MAIL)
def list_one_form(box: Box) -> None:
    number = box.first()
    reply = box.session().say(b"LIST %d" % number)
    expect(re.fullmatch(rb"\+OK %d (0|[1-9][0-9]*)( [^\r\n]*)?\r?\n" % number, reply.raw) is not None, f"{reply}")
    insist(not box.session().wire.unread(0.05), "more than one line came")


@check("RFC 1939 §5 LIST", "LIST n and LIST agree, for each message.", "list-one-differs", Need.MAIL)
def list_one_agrees(box: Box) -> None:
    for number, size in box.scan().items():
        said = box.session().say(b"LIST %d" % number).text.split()[:2]
        expect(said == [b"%d" % number, b"%d" % size], f"LIST says {number} {size}, LIST {number} says {said}")


@check("RFC 1939 §11", "The octets of LIST are those of RETR, dots not doubled.", "sizes-not-as-sent", Need.MAIL)
def sizes_as_sent(box: Box) -> None:
    sizes, numbers = box.scan(), box.plain_numbers()
    wrong = {number: len(box.body(number)) for number in numbers if len(box.body(number)) != sizes[number]}
    said = ", ".join(f"message {n}: LIST says {sizes[n]}, RETR sent {sent}" for n, sent in list(wrong.items())[:3])
    if wrong and all(sent == sizes[number] + 2 for number, sent in wrong.items()):
        raise Departs(said, "added-end-not-counted")
    expect(not wrong, said)


def _size(name: str) -> Run:
    def run(box: Box) -> None:
        number = box.number(name)
        listed, sent = box.scan()[number], len(box.body(number))
        mail, said = BY_NAME[name], f"'{name}' ({BY_NAME[name].hard}): LIST says {listed}, RETR sent {sent}"
        if not mail.octets and sent == listed + 2:
            raise Departs(said, "empty-line-added" if trailer(box) else "empty-message-changed")
        if sent == listed + 2 and not mail.octets.endswith(b"\n"):
            raise Departs(said, "added-end-not-counted")
        expect(listed == sent, said)

    return run


for _name in (
    "dot-lines",
    "no-final-newline",
    "crlf-file",
    "mixed-ends",
    "lone-cr",
    "nul",
    "empty",
    "split-at-65536",
    "big",
):
    TABLE.add(
        f"size-{_name}",
        "RFC 1939 §11",
        f"The size of a message is right: {BY_NAME[_name].hard}.",
        "sizes-not-as-sent",
        _size(_name),
        Need.CORPUS,
    )
