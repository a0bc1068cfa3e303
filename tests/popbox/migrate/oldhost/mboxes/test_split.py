"""An mbox taken apart: whole, octet by octet, with quoting of both kinds, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.popbox.migrate.oldhosts import MBOX

from popbox.migrate.oldhost.mboxes.header import date_of, flags_of, is_folder_data
from popbox.migrate.oldhost.mboxes.split import Split
from popbox.migrate.oldhost.mboxes.survey import Choice, Quoting, survey
from popbox.migrate.oldhost.tree import OldHostError

FROM = b"From a@b.example Mon Sep 10 01:46:40 2001\n"


def messages(text: bytes, step: int = 1 << 20, quoting: Quoting | None = None) -> list[bytes]:
    """The messages of an mbox that comes in chunks of ``step`` octets; the parts must add up to it."""
    found: list[bytes] = []
    chunks = [text[i : i + step] for i in range(0, len(text), step)]
    split = Split(chunks, survey(chunks, Choice(quoting)))
    for piece in split:
        if piece.start:
            found.append(b"")
        found[-1] += piece.octets
    assert split.parts.octets == len(text)
    return found


TWO = [
    b"Return-Path: <sue@sender.example>\nSubject: first\nStatus: RO\n\none\nFrom the start\n>From twice\n",
    b"Subject: second\n\ntwo\n",
]


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])
def test_messages_and_quoting(step: int) -> None:
    assert messages(MBOX.encode(), step) == TWO


def test_mboxo_takes_the_quote_off_one_kind_only() -> None:
    assert b"one\nFrom the start\n>>From twice\n" in messages(MBOX.encode(), quoting="o")[0]
    assert b"one\n>From the start\n" in messages(MBOX.encode(), quoting="none")[0]


@pytest.mark.parametrize("text", [b"hello\n", b"\n\nFrom nobody\n", b"From no date here\n\nx\n", b"x" * 5000])
def test_what_is_no_mbox_is_refused(text: bytes) -> None:
    with pytest.raises(OldHostError, match="From_"):
        messages(text)


def test_an_empty_file_holds_nothing() -> None:
    assert messages(b"") == []


def test_a_from_line_counts_behind_an_empty_line_and_with_a_date_only() -> None:
    body = b"x\nFrom a@b Mon Sep 10 01:46:40 2001\n\nFrom here on\n"
    assert messages(FROM + body + b"\n" + FROM + b"y\n\n") == [body, b"y\n"]


def test_a_last_message_without_its_empty_line_is_whole() -> None:
    assert messages(FROM + b"x\nno end") == [b"x\nno end"]
    assert messages(FROM + b"\n" + FROM + b"\n") == [b"", b"\n"]


def test_a_message_much_larger_than_what_is_held() -> None:
    line = b">From " + b"x" * 70 + b"\n"
    found = messages(FROM + line * 60_000 + b"\n" + FROM + b"z" * (3 << 20) + b"\n\n", 60_000)
    assert found == [line[1:] * 60_000, b"z" * (3 << 20) + b"\n"]


LINES = st.lists(st.sampled_from([b"", b"From x", b">From x", b">>From 1:00 1999", b"text", b"From a 10:00 1999"]))


@given(st.lists(LINES, min_size=1), st.integers(1, 40))
def test_what_qmail_writes_comes_back(bodies: list[list[bytes]], step: int) -> None:
    """The writer is the rule Q-MBOX-2: one ``>`` before each ``>*From ``, and an empty line behind each message."""
    plain = [b"Subject: x\n\n" + b"".join(line + b"\n" for line in lines) for lines in bodies]
    quoted = (
        FROM
        + b"".join((b">" if line.lstrip(b">").startswith(b"From ") else b"") + line for line in one.splitlines(True))
        for one in plain
    )
    assert messages(b"".join(one + b"\n" for one in quoted), step) == plain


@pytest.mark.parametrize(
    ("start", "head", "date"),
    [
        (FROM, b"", 1_000_086_400),
        (b"From a@b Mon Sep 10 01:46 2001\n", b"", 1_000_086_360),
        (b"From a@b Mon Sep 10 01:46:40 UTC 2001\n", b"", 1_000_086_400),
        (
            b"From a b c 1:00 1999\n",
            b"Received: by x;\n\tMon, 10 Sep 2001 03:46:40 +0200\nSubject: x\n\n",
            1_000_086_400,
        ),
        (b"From a b c 1:00 1999\n", b"Received: by x; nonsense\n\n", None),
        (b"From a b c 1:00 1999\n", b"Subject: x\n\nReceived: by x; Mon, 10 Sep 2001 03:46:40 +0200\n", None),
    ],
)
def test_dates(start: bytes, head: bytes, date: int | None) -> None:
    assert date_of(start, head) == date


def test_flags_and_the_notes_of_pine() -> None:
    assert flags_of(b"Subject: x\n\nStatus: RO\n") is None
    assert flags_of(b"Status: RO\nX-Status: AF\n\n") == b"FRS"
    assert flags_of(b"Subject: x\nStatus: O\n\n") == b""
    assert is_folder_data(b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\n")
    assert not is_folder_data(b"Subject: FOLDER INTERNAL DATA\n\n")


GIT = b"From 3a96760aa0000000000000000000000000000001 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\ny\n"


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])
def test_a_file_with_cr_lf_line_ends(step: int) -> None:
    assert messages(MBOX.encode().replace(b"\n", b"\r\n"), step) == TWO


def test_a_cr_lf_in_a_file_with_lf_line_ends_stays() -> None:
    assert messages(FROM + b"x\r\n\r\ny\r\n\n") == [b"x\r\n\r\ny\r\n"]


def test_a_patch_of_git_in_a_message_is_text_and_a_doubt() -> None:
    text = FROM + b"Subject: x\n\nthe patch:\n\n" + GIT + b"\n" + FROM + b"Subject: second\n\n"
    assert len(messages(text)) == 2
    assert [(line, told[:44]) for line, told in survey([text]).doubts] == [
        (6, "a From_ line of git is taken as text; it can")
    ]


def test_a_file_of_patches_of_git() -> None:
    assert messages(GIT + b"\n" + GIT) == [b"Subject: [PATCH] x\n\ny\n"] * 2
