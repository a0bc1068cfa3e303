"""A box that is told to be unchanged without digests is one of which the comparison says equal; no verdict changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.popbox.migrate.verify.test_digest import wire

from popbox.migrate.pop3.habits import listed
from popbox.migrate.pop3.listing import Listing
from popbox.migrate.verify import message as messages
from popbox.migrate.verify.judge import compare as comparing
from popbox.migrate.verify.judge.compare import compare
from popbox.migrate.verify.judge.unchanged import unchanged
from popbox.migrate.verify.mailbox import Side
from popbox.migrate.verify.message import Message
from popbox.migrate.verify.result import Box, Verdict

TEXTS = [
    *(b"", b"\n", b"A: b", b"A: b\n", b"A: b\n\n", b"A: b\n\n\n", b"A: b\n\nc\n", b"A: b\n\nc\r\n\n", b"A: c\n\nc\n"),
    *(b"X-UIDL: 1\nA: b\n\nc\n", b"A: b\r\r\n\n", b"\r", b"A: b\n\nc\r"),
]
Given = tuple[bytes, str, bool, int]  # text as stored, UIDL, kept as it came, too much in LIST
ROWS = st.lists(
    st.tuples(st.sampled_from(TEXTS), st.sampled_from("abcd"), st.booleans(), st.sampled_from([0, 0, 0, 1]))
)
PROFILE = st.sampled_from(["qmail", "rfc1939", "dovecot"])


def side(rows: list[Given], profile: str, listing: Listing | None = None) -> Side:
    """What a host of that profile would have shown."""
    found = []
    for number, (text, uidl, kept, more) in enumerate(rows, 1):
        message, sent = Message(number, uidl, 0), wire(text, profile)
        message.keep(sent)
        assert message.measured is not None
        message.size = listed(profile, *message.measured)[0] + more
        if not kept:
            message = Message(number, uidl, message.size, message.content)
        found.append(message)
    return Side(found, listing=listing or Listing(no_stat=""))


def by_digests(old: Side, new: Side, profiles: tuple[str, str]) -> Box:
    """The verdict without the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "unchanged", lambda *_: False)
        return compare("a", "a", old, new, profiles, content=True)


@given(ROWS, ROWS, PROFILE, PROFILE, st.booleans())
def test_it_changes_no_verdict(rows: list[Given], others: list[Given], was: str, now: str, moved: bool) -> None:
    profiles = was, now
    again = rows if moved else others
    due = by_digests(side(rows, was), side(again, now), profiles)
    assert compare("a", "a", side(rows, was), side(again, now), profiles, content=True) == due
    if unchanged(side(rows, was), side(again, now), profiles):
        assert not due.findings
        assert set(due.verdicts.values()) == {Verdict.EQUAL}


@pytest.mark.parametrize("profiles", [("qmail", "rfc1939"), ("rfc1939", "qmail"), ("dovecot", "rfc1939")])
def test_a_good_move_costs_no_digest(profiles: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(text, str(number), True, 0) for number, text in enumerate(TEXTS) if text]
    old, new = (side(rows, profile) for profile in profiles)
    monkeypatch.setattr(messages, "digest", None)
    assert unchanged(old, new, profiles)
    assert compare("a", "a", old, new, profiles, content=True).equal


BAD = Listing(no_stat="", odd=["gives LIST in another order than that of the numbers"])
CHANGES = {
    "text": ([(b"A: b\n\nC\n", "a", True, 0)], None),
    "an empty line": ([(b"A: b\n\nc\n\n", "a", True, 0)], None),
    "uidl": ([(b"A: b\n\nc\n", "b", True, 0)], None),
    "size": ([(b"A: b\n\nc\n", "a", True, 1)], None),
    "not kept": ([(b"A: b\n\nc\n", "a", False, 0)], None),
    "one more": ([(b"A: b\n\nc\n", "a", True, 0), (b"", "b", True, 0)], None),
    "reply": ([(b"A: b\n\nc\n", "a", True, 0)], BAD),
    "no UIDL": ([(b"A: b\n\nc\n", "a", True, 0)], Listing(no_stat="", no_uidl="-ERR unimplemented")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("profiles", [("qmail", "rfc1939"), ("rfc1939", "rfc1939")])
def test_what_is_not_unchanged(change: str, profiles: tuple[str, str]) -> None:
    rows, listing = CHANGES[change]
    same: list[Given] = [(b"A: b\n\nc\n", "a", True, 0)]
    old, new = (side(same, profile) for profile in profiles)
    assert unchanged(old, new, profiles)
    assert not unchanged(old, side(rows, profiles[1], listing), profiles)
    assert not unchanged(side(rows, profiles[0], listing), new, profiles)


@pytest.mark.parametrize("uidls", ["aa", ["a", ""]])
def test_ids_that_no_client_can_use_are_not_unchanged(uidls: list[str]) -> None:
    rows: list[Given] = [(b"A: b\n\nc\n", uidl, True, 0) for uidl in uidls]
    assert not unchanged(side(rows, "rfc1939"), side(rows, "rfc1939"), ("rfc1939", "rfc1939"))


@pytest.mark.parametrize("end", [b"\r\n", b"x\n", b"\n\n"])
def test_only_an_empty_line_is_qmails(end: bytes) -> None:
    old, new = Message(1, "a", 0), Message(1, "a", 8)
    old.keep(b"A: b\r\n\r\n" + end)
    new.keep(b"A: b\r\n\r\n")
    assert old.measured
    old.size = listed("qmail", *old.measured)[0]
    sides = (Side([message], listing=Listing(no_stat="")) for message in (old, new))
    assert unchanged(*sides, ("qmail", "rfc1939")) is (end == b"\r\n")
