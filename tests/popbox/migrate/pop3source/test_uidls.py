"""UIDLs of any octets over POP3: kept where a file name can be one, else named; a hostile listing harms nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.houses import ON_DISK, box, ours, put, text
from tests.popbox.migrate.meddler import Trouble, meddler
from tests.popbox.migrate.pop3source.support import DOMAIN, boxes, files, run

from popbox.clients.wire import Address


@pytest.mark.realqmail
@pytest.mark.needs(*ON_DISK["qmail"][1])
def test_uidls_are_the_same_on_qmail_pop3d(place: Path, verify: Verify) -> None:
    box(place / "old", "joe", 3)
    for number, uidl in enumerate(ODD):
        put(place / "old/joe", uidl, text(20 + number), 20 + number)
    with ours(place, place / "old", "rfc1939") as one:
        code, said = run(one, place, ["joe"])
        assert code == 0, said
        with ON_DISK["qmail"][0](place, boxes(place)) as other:
            code, report = verify(one, other, place / "a.csv")
    assert code == 0, report["output"]


ODD = ["!\"#$%&'()*+,-;<=>?@[\\]^_`{|}~", "x" * 70, "a,S=12,W=13", "%41", "~", "popbox-import-1", "1.twinned"]
BAD = {
    "a/b": "no file name holds a /",
    "a:b": "up to its first :",
    ".a": "begin with a dot",
    "y" * 71: "RFC 1939",
}


@pytest.fixture
def odd_uidls(place: Path) -> Iterator[Address]:
    """A server whose UIDLs are ODD, then those of BAD, and one twice."""
    home = box(place / "old", "joe")
    wanted = [*ODD, *BAD, "same", "same"]
    for number in range(len(wanted)):
        put(home, f"u{number:02}", text(number), number)

    def change(octets: bytes) -> bytes:
        for number, uidl in enumerate(wanted):
            octets = octets.replace(b" u%02d\r\n" % number, b" " + uidl.encode() + b"\r\n")
        return octets

    with (
        ours(place, place / "old", "rfc1939") as one,
        meddler(one, lambda _: Trouble(change=change)) as (address, _),
    ):
        yield address


def test_each_uidl_that_cannot_be_kept_is_named(place: Path, odd_uidls: Address, verify: Verify) -> None:
    code, said = run(odd_uidls, place, ["joe"])
    assert code == 1
    for uidl, why in BAD.items():
        (line,) = [line for line in said.splitlines() if f"UIDL {uidl}:" in line]
        assert line.startswith(f"not done: joe@{DOMAIN}: number ")
        assert why in line
    assert "number 13, UIDL same: the UIDL cannot be kept: another message" in said
    assert said.count("not done") == len(BAD) + 1
    assert list(files(place))[: len(ODD)] == ODD
    assert len(files(place)) == len(ODD) + len(BAD) + 2
    again, said = run(odd_uidls, place, ["joe"])
    assert again == 1
    assert "copied 0 messages" in said
    with ours(place, boxes(place), "qmail") as other:
        _, report = verify(odd_uidls, other, place / "a.csv")
    kinds = [finding["kind"] for finding in report["boxes"][0]["findings"]]
    assert kinds.count("uidl") >= len(BAD)
    assert not {"missing", "doubled", "changed"} & set(kinds)


def test_a_hostile_listing_stops_no_pass_and_moves_no_cursor(place: Path) -> None:
    home = box(place / "old", "joe", 2)
    put(home, "u1", text(10), 100)
    put(home, "u2", text(11), 101)
    size = len(text(11).replace(b"\n", b"\r\n"))

    def change(octets: bytes) -> bytes:
        octets = octets.replace(b" u1\r\n", b" \x1b[2Jx\x00\xff\r\n")
        return octets.replace(b"\r\n4 %d\r\n" % size, b"\r\n4 999999999999999999\r\n")

    with ours(place, place / "old", "rfc1939") as one, meddler(one, lambda _: Trouble(change=change)) as (address, _):
        code, said = run(address, place, ["joe"])
    assert (code, len(files(place))) == (1, 4), said
    assert "\x1b" not in said
    assert "number 3, UIDL \\x1b[2Jx\\x00\xff: the UIDL cannot be kept: it is not 1 to 70 octets" in said
    assert files(place)["u2"].read_bytes() == text(11)
