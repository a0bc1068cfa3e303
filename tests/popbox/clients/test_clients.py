"""The raw-socket clients against peers that behave, and peers that do not."""

from __future__ import annotations

import time

import pytest
from tests.popbox.peer import peer

from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.clients.smtp import Smtp, commands, deliver
from popbox.clients.wire import Address, Wire, connected
from popbox.errors import ConnectionFailed, StepTimeout

ACCEPTS = [b"220 x ESMTP\r\n", b"250-x\r\n250 8BITMIME\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]


def test_a_connection_nobody_accepts_names_the_address() -> None:
    with peer([b""]) as gone:
        pass
    with pytest.raises(ConnectionFailed, match=f"cannot connect to {gone.address}"):
        Wire(gone.address)


def test_a_silent_peer_ends_in_a_timeout_that_says_what_was_last_seen() -> None:
    with peer([b"220 x\r\n"], linger=True) as silent, Wire(silent.address, timeout_s=60) as wire:
        wire.read_line("the greeting")
        wire.timeout_s = 0.2
        began = time.monotonic()
        wire.send_line(b"NOOP")
        with pytest.raises(StepTimeout, match=r"the reply to NOOP .*last seen: C: NOOP"):
            wire.read_line("the reply to NOOP")
        assert time.monotonic() - began < 60, "some fraction of a second, on a busy machine too"


def test_a_drip_of_octets_does_not_put_the_deadline_off() -> None:
    with peer([b"2", b"2"], linger=True) as slow, Wire(slow.address, timeout_s=0.3) as wire, pytest.raises(StepTimeout):
        wire.read_line()


def test_an_early_close_says_what_was_awaited() -> None:
    with peer([b"+OK hi\r\n"]) as closing, Wire(closing.address) as wire:
        wire.read_line()
        with pytest.raises(
            ConnectionFailed, match=r"closed the connection instead of sending a reply; last: S: \+OK hi"
        ):
            wire.read_line("a reply")


def test_smtp_sends_whole_lines_dots_doubled_and_reads_every_reply() -> None:
    with peer([*ACCEPTS, b"", b"", b"", b"", b"250 ok 1 qp 2\r\n", b"221 x\r\n"]) as server:
        receipt = deliver(server.address, "a@b", ("c@d",), b".first\nsecond\n\n..x\n")
    assert receipt.accepted
    assert str(receipt.reply) == "250 ok 1 qp 2"
    assert server.heard[4:9] == [b"..first\r\n", b"second\r\n", b"\r\n", b"...x\r\n", b".\r\n"]
    assert receipt.transcript[0] == "S: 220 x ESMTP"
    assert "C: ..first" in receipt.transcript


def test_the_lines_of_a_large_message_need_not_be_logged() -> None:
    with peer([b"220 x\r\n", b"", b"", b"250 ok\r\n"]) as server:
        session = Smtp(server.address, 10)
        with session.wire as wire:
            assert session.data(b".first\nsecond\n", logged=False).ok
    assert server.heard == [b"..first\r\n", b"second\r\n", b".\r\n"]
    assert wire.transcript() == ("S: 220 x", "C: .", "S: 250 ok")


def test_a_dialogue_is_told_without_the_message_and_a_long_one_without_its_middle() -> None:
    said = ["S: 220 x", "C: DATA", "S: 354 go", "C: Subject: secret", "C: ", "C: ..dot", "C: .", "S: 250 ok", "C: QUIT"]
    assert commands(said) == [*said[:3], "C: ... 3 lines of the message", *said[6:]]
    assert commands([f"C: RCPT TO:<{'x' * 2000}>"])[0] == f"C: RCPT TO:<{'x' * 488}..."
    many = [f"C: RCPT TO:<{number}@x>" for number in range(1000)]
    assert commands(many) == [*many[:100], "... 800 lines", *many[-100:]]


def test_smtp_stops_at_the_first_refusal() -> None:
    with peer([*ACCEPTS[:3], b"553 no\r\n", b"221 bye\r\n"]) as server:
        receipt = deliver(server.address, "a@b", ("c@d",), b"x\n")
    assert (receipt.accepted, receipt.command, str(receipt.reply)) == (False, "RCPT TO:<c@d>", "553 no")
    assert server.heard[-1] == b"QUIT\r\n"


@pytest.mark.parametrize("greeting", [b"hello\r\n", b"22 x\r\n", b"220x\r\n", b"\r\n"])
def test_what_is_no_smtp_reply_is_an_error(greeting: bytes) -> None:
    with peer([greeting]) as server, pytest.raises(ConnectionFailed, match="which is no SMTP reply"):
        deliver(server.address, "a@b", ("c@d",), b"x\n")


def test_pop3_undoes_dot_stuffing_and_masks_the_password() -> None:
    script = [b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK 2 10\r\n", b"+OK\r\n..a\r\n\r\nb\r\n.\r\n", b"+OK\r\n"]
    with peer(script) as server, Pop3(server.address) as session:
        session.login("testid", "s3cret")
        assert session.stat() == (2, 10)
        assert session.retrieve(1) == b".a\n\nb\n"
        session.quit()
        assert server.heard[1] == b"PASS s3cret\r\n"
        assert not any("s3cret" in line for line in session.wire.transcript())


@pytest.mark.parametrize("reply", [b"-ERR no\r\n", b"+OKAY\r\n", b"OK\r\n"])
def test_pop3_takes_nothing_but_ok_for_success(reply: bytes) -> None:
    with peer([b"+OK\r\n", reply]) as server, Pop3(server.address) as session, pytest.raises(Pop3Refused, match="QUIT"):
        session.quit()


def test_ipv6_addresses_are_written_with_brackets() -> None:
    assert str(Address("::1", 110)) == "[::1]:110"


@pytest.mark.parametrize("name", ["a..example", "a" * 64 + ".example"])
def test_a_name_that_cannot_be_looked_up_is_a_failed_connection(name: str) -> None:
    """Python refuses it by UnicodeError: `popbox probe a..example` said that popbox has a fault."""
    with pytest.raises(ConnectionFailed, match="is no name of a host"):
        connected(Address(name, 25), 1.0)
