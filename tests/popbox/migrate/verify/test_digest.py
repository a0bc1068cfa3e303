"""A message's digest: the same however it is cut, equal under the known habits, different under anything else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbox.migrate.pop3.habits import listed
from popbox.migrate.verify.digest import HEAD_OCTETS, Content, Digest
from popbox.migrate.verify.digest import digest as whole
from popbox.migrate.verify.message import Message
from popbox.migrate.verify.sizes import canonical, comparable, detect, length

ALPHABET = st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"a", b".", b"Subject: x", b"\0", b"\xff"])
TEXT = st.lists(ALPHABET, max_size=30).map(b"".join)


def digest(*pieces: bytes) -> Content:
    made = Digest()
    for piece in pieces:
        made.feed(piece)
    return made.done()


def wire(stored: bytes, profile: str) -> bytes:
    """What a server sends of a file with LF line ends: the rules of Q-POP3-13, or RFC 1939."""
    ended = stored if stored.endswith(b"\n") or not stored else stored + b"\n"
    return (ended + (b"\n" if profile == "qmail" else b"")).replace(b"\n", b"\r\n")


@given(TEXT, st.lists(st.integers(0, 60), max_size=6))
def test_where_it_is_cut_does_not_matter(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    assert digest(*(text[a:b] for a, b in pairwise(edges))) == digest(text)
    assert digest(*(bytes([octet]) for octet in text)) == digest(text)


LINES = st.sampled_from(
    [b"Status: RO", b"x-UIDL : a", b"X-Other: b", b"\tmore", b"SUBJECT: y", b"Date:", b"Subjects: z"]
)
HEADER = st.lists(st.one_of(LINES, ALPHABET, st.sampled_from([b"\n", b"\r\n", b"\r\r\n"])), max_size=30).map(b"".join)


@given(HEADER)
def test_a_message_in_one_piece_is_the_same(sent: bytes) -> None:
    assert whole([sent]) == digest(*(bytes([octet]) for octet in sent)) == digest(sent)


def test_fields_and_added_lines_of_a_message_in_one_piece() -> None:
    sent = b"Subjects: no\r\nStatus: RO\r\nsubject: a\r\n b\r\nDate:\r\nX-UIDL: c\r\n\td\r\n"
    sent += b"Subject: e\r\n\r\nStatus: O\r\n"
    found = whole([sent])
    assert found.fields == (b"a\n b", b"", b"", b"")
    assert (found.added, found.added_octets) == ((b"Status", b"X-UIDL"), 24)
    assert found.bare == whole([b"Subjects: no\nsubject: a\n b\nDate:\nSubject: e\n\n"]).bare


@given(TEXT.map(lambda text: text.replace(b"\r", b"")))
def test_the_servers_habits_make_no_difference(stored: bytes) -> None:
    qmail, strict = digest(wire(stored, "qmail")), digest(wire(stored, "rfc1939"))
    assert canonical("qmail", qmail) == canonical("rfc1939", strict)
    assert length("qmail", qmail) == length("rfc1939", strict)
    assert len(stored) in listed("qmail", qmail.octets, qmail.lines)
    assert strict.octets == len(wire(stored, "rfc1939"))


def test_doubled_carriage_returns_make_no_difference() -> None:
    assert canonical("rfc1939", digest(b"A: b\r\r\n\r\r\nc\r\r\n")) == canonical("rfc1939", digest(b"A: b\n\nc\n"))


@given(TEXT, TEXT)
def test_other_text_is_told_apart(one: bytes, other: bytes) -> None:
    def plain(text: bytes) -> bytes:
        """LF line ends, none at the end: the independent statement of what is compared."""
        lines = [line.rstrip(b"\r") for line in text.split(b"\n")[:-1]] + text.split(b"\n")[-1:]
        return b"\n".join(lines).rstrip(b"\n")

    a, b = digest(one), digest(other)
    assert ((a.head, a.body) == (b.head, b.body)) == (plain(one) == plain(other))


@pytest.mark.parametrize("lost", [b"\n", b"x", b"A", b"\n\n"])
def test_a_lost_octet_shows(lost: bytes) -> None:
    text = b"A: b\n\nx\n\n\nend\n\n"
    assert canonical("rfc1939", digest(text)) != canonical("rfc1939", digest(text.replace(lost, b"", 1)))


def test_header_and_body_are_told_apart() -> None:
    one, other = digest(b"A: b\n\nbody\n"), digest(b"A: c\n\nbody\n")
    assert one.head != other.head
    assert one.body == other.body


def test_fields_are_the_first_of_the_header() -> None:
    text = b"subject: one\r\n two\r\nSubject: later\r\nMessage-ID:<x@y>\r\n\r\nDate: not here\r\n"
    assert digest(text).fields == (b"one\n two", b"", b"<x@y>", b"")


def test_a_header_without_end_is_cut_at_the_same_place() -> None:
    text = b"x" * (HEAD_OCTETS - 1) + b"\n\nbody\n"
    assert digest(text) == digest(text[:70_000], text[70_000 : HEAD_OCTETS - 1], text[HEAD_OCTETS - 1 :])


def message(size: int, sent: bytes) -> Message:
    return Message(1, "u", size, digest(sent))


def test_the_profile_is_found_by_the_sizes() -> None:
    lf = b"A: b\n\nc\n"
    assert detect([message(len(lf), wire(lf, "qmail"))], "rfc1939") == "qmail"
    assert detect([message(11, wire(lf, "rfc1939"))], "qmail") == "rfc1939"
    assert detect([message(9, wire(lf, "rfc1939")), message(11, wire(lf, "rfc1939"))], "rfc1939") == "dovecot"
    assert detect([message(11, wire(lf, "rfc1939"))], "dovecot") == "dovecot"
    assert detect([], "qmail") == "qmail"


def test_sizes_alone_are_bounds() -> None:
    assert comparable("qmail", 10, "qmail", 10) is True
    assert comparable("qmail", 10, "qmail", 12) is False
    assert comparable("dovecot", 10, "rfc1939", 12) is True
    assert comparable("qmail", 10, "rfc1939", 14) is None
    assert comparable("qmail", 10, "rfc1939", 9) is False
    assert comparable("rfc1939", 30, "qmail", 10) is False
