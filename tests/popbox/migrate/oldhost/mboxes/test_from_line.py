"""From_ lines: which lines are dated, and when a message came by them."""

from __future__ import annotations

import time

import pytest

from popbox.migrate.oldhost.mboxes.from_line import LINE_OCTETS, parse
from popbox.migrate.oldhost.mboxes.header import date_of, flags_of

MORNING = 723_275_602  # 1992-12-02 05:53:22 UTC


@pytest.mark.parametrize(
    ("line", "when"),
    [
        (b"From sue Wed Dec  2 05:53:22 1992\n", MORNING),
        (b"From sue Wed Dec 02 05:53:22 1992\r\n", MORNING),
        (b"From sue Wed Dec  2 05:53 1992\n", MORNING - 22),
        (b"From sue Wed Dec  2 05:53:22 PST 1992\n", MORNING + 8 * 3_600),
        (b"From sue Wed Dec  2 05:53:22 1992 PST\n", MORNING + 8 * 3_600),
        (b"From sue Wed Dec  2 05:53:22 -0700 1992\n", MORNING + 7 * 3_600),
        (b"From sue Wed Dec  2 05:53:22 1992 +0130\n", MORNING - 5_400),
        (b"From sue Wed Dec  2 05:53:22 MET DST 1992\n", MORNING - 7_200),
        (b"From sue Wed Dec  2 05:53:22 1992 remote from hugo\n", MORNING),
        (b"From sue Wed Dec  2 05:53:22 1992 +0130 remote from hugo\n", MORNING - 5_400),
        (b"From sue Wed, 2 Dec 92 05:53:22 GMT\n", MORNING),
        (b"From sue Wed, 2 Dec 1992 05:53:22 -0700 (MST)\n", MORNING + 7 * 3_600),
        (b"From sue Wednesday, 02-Dec-92 05:53:22 GMT\n", MORNING),
        (b"From sue 1992-12-02T05:53:22Z\n", MORNING),
        (b"From sue 1992-12-02 05:53:22.5 +01:00\n", MORNING - 3_600),
        (b"From ???@??? Wed Dec 02 05:53:22 1992\n", MORNING),
        (b"From - Wed Dec  2 05:53:22 1992\n", MORNING),
        (b'From "Sue S" <sue@x> Wed Dec  2 05:53:22 1992\n', MORNING),
        (b"From sue at sender.example  Wed Dec  2 05:53:22 1992\n", MORNING),
        (b"From Wed Dec  2 05:53:22 1992\n", MORNING),
        (b"From sue Wed Dec  2 05:53:22 69\n", 3_153_189_202),
        (b"From sue Wed Dec  2 05:53:22 1992", MORNING),
    ],
)
def test_dated(line: bytes, when: int) -> None:
    found = parse(line)
    assert found is not None
    assert (found.kind, found.when) == ("dated", when)


@pytest.mark.parametrize(
    "line",
    [
        b"From here on we go\n",
        b"From sue Wed Dec  2 1992\n",
        b"From Dec 2 to Dec 5\n",
        b"From sue Wed Dec  2 05:53:22 1992\rSubject: x",
    ],
)
def test_not_dated(line: bytes) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"From sue Wed Dec 32 05:53:22 1992\n",
        b"From sue Wed Dec  2 25:53:22 1992\n",
        b"From sue Wed Dec  2 05:53:22 0000\n",
        b"From joe at 12:30, 5th of May 1998\n",
        b"From the notes: Dec 2 05:53 1992 was cold\n",
    ],
)
def test_a_time_and_a_year_in_no_known_form(line: bytes) -> None:
    found = parse(line)
    assert found is not None
    assert (found.kind, found.when) == ("loose", None)


@pytest.mark.parametrize(
    ("start", "when"),
    [
        (b"0a" * 20 + b" Mon Sep 17 00:00:00 2001", 1_000_684_800),
        (b"3a96760 Mon Sep 17 00:00:00 2001", 1_000_684_800),
        (b"nobody Mon Sep 17 00:00:00 2001", 1_000_684_800),
        (b"mboxrd@z Thu Jan  1 00:00:00 1970", 0),  # public-inbox
        (b"git@z Thu Jan  1 00:00:00 1970", 0),  # b4
    ],
)
def test_a_line_of_git_has_a_date_that_counts_only_for_want_of_another(start: bytes, when: int) -> None:
    line = b"From " + start + b"\n"
    found = parse(line)
    assert found is not None
    assert found.kind == "git"
    assert date_of(line, b"Received: by x; Wed, 2 Dec 1992 05:53:22 +0000\n\n") == MORNING
    assert date_of(line, b"Subject: x\n\n") == found.when == when


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (b"X-Mozilla-Status: 0000\n", b""),
        (b"X-Mozilla-Status: 0001\r\n", b"S"),
        (b"X-Mozilla-Status: 1007\n", b"FPRS"),
        (b"X-Mozilla-Status: 0009\nStatus: RO\n", b"ST"),
        (b"X-Mozilla-Status: zzzz\n", None),
        (b"Status: RO\r\nX-Status: D\r\n", b"ST"),
    ],
)
def test_flags_of_thunderbird_too(header: bytes, flags: bytes | None) -> None:
    assert flags_of(header + b"\n") == flags


@pytest.mark.parametrize("word", [b" \t", b"1:00 1 ", b"Mon ", b"Dec 2 1:00 "])
def test_a_hostile_line_takes_no_long_time(word: bytes) -> None:
    """Lines of the greatest length: an expression that was tried first took 140 ms for one of 1,000 blanks."""
    began = time.process_time()
    for _ in range(250):
        parse((b"From " + word * LINE_OCTETS)[: LINE_OCTETS - 1] + b"\n")
    assert time.process_time() < began + 8
