"""A message of a load run is known again, whatever a delivery and POP3 put around it."""

from __future__ import annotations

import pytest

from popbox.load.books.message import Report, delivered_to, digest_of, is_of, make, reported, seen

SENT = make("run-0-1", "s@a", ("joe@a", "ann@a"), 4_096)
TRACE = b"Return-Path: <s@a>\nDelivered-To: joe@a\nReceived: (qmail 7 invoked by uid 888); 1 Jan\n"


def test_it_has_its_size_and_its_token_and_a_line_that_begins_with_a_dot() -> None:
    assert 4_096 <= len(SENT) < 4_096 + 200
    assert SENT.endswith(b"\n")
    assert not SENT.endswith(b"\n\n")
    assert b"\n.a line" in SENT


@pytest.mark.parametrize("around", [(b"", b""), (TRACE, b""), (TRACE, b"\n")], ids=["bare", "delivered", "qmail-pop3d"])
def test_it_is_known_again(around: tuple[bytes, bytes]) -> None:
    found = seen(around[0] + SENT + around[1])
    assert found is not None
    assert (found.token, found.digest, found.octets) == ("run-0-1", digest_of(SENT), len(SENT))


@pytest.mark.parametrize("cut", [1, 100, 4_000])
def test_one_that_was_cut_has_another_digest(cut: int) -> None:
    found = seen(TRACE + SENT[:-cut])
    assert found is not None
    assert found.digest != digest_of(SENT)


def test_two_bodies_are_never_alike() -> None:
    other = make("run-0-2", "s@a", ("joe@a", "ann@a"), 4_096)
    body, others = (one.partition(b"\n\n")[2].splitlines() for one in (SENT, other))
    assert not set(body[1:]) & set(others[1:])


def test_a_report_is_none_of_them_and_names_its_message() -> None:
    report = b"From: <>\nSubject: failure notice\n\nHi. This is the qmail-send program.\n\n" + SENT
    assert seen(report) is None
    assert reported(report) == Report("run-0-1", ())
    assert reported(b"Subject: x\n\nno token here\n") is None


@pytest.mark.parametrize(
    "said",
    [
        b"<joe@a.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n",
        b"Final-Recipient: rfc822; joe@a.example\nAction: failed\n",
        b"To joe@a.example.\n",
    ],
)
def test_a_report_names_the_addresses_that_it_tells_of_and_not_those_of_the_message(said: bytes) -> None:
    report = b"From: <mailer@b.example>\nTo: s@a\n\nHi.\n\n" + said + b"\n--- Below is a copy.\n\n" + SENT
    assert reported(report) == Report("run-0-1", ("joe@a.example",))


def test_a_message_that_quotes_another_is_itself() -> None:
    quoting = SENT + b"\n" + make("run-0-2", "s@a", ("joe@a",), 512)
    found = seen(TRACE + quoting)
    assert found is not None
    assert (found.token, found.digest) == ("run-0-1", digest_of(quoting))


def test_it_is_known_for_whom_a_file_was_delivered() -> None:
    assert delivered_to(TRACE + SENT) == "joe@a"
    assert delivered_to(SENT + b"Delivered-To: ann@a\n") == ""


@pytest.mark.parametrize(
    ("address", "box", "same"),
    [
        ("joe@a", "joe@a", True),
        ("a-joe@A", "Joe@a", True),
        ("xjoe@a", "joe@a", False),
        ("joe@a", "a-joe@a", False),
        ("joe@aa", "joe@a", False),
    ],
)
def test_an_address_is_a_boxs_as_it_stands_or_as_it_is_routed(address: str, box: str, same: bool) -> None:
    assert is_of(address, box) is same
