"""The SMTP core: each fact by its id, each input whole, octet by octet and with trailing data."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mailhost.standin import header_fields
from mailhost.standin.smtp import address
from mailhost.standin.smtp import session as smtp
from mailhost.standin.smtp.session import Abandoned, Close, Content, Ended, Envelope, Reply, Session, StartTls

MAIL = b"MAIL FROM:<a@b.org>\r\n"
RCPT = b"RCPT TO:<joe@d.com>\r\n"


@dataclass
class Policy:
    greeting: bytes = b"mx"
    databytes: int = 0
    relayclient: bytes | None = None
    starttls: bool = False
    broken: bool = False
    asked: list[bytes] = field(default_factory=list)

    def localize(self, address: bytes) -> bytes:
        return address

    def refusal(self, sender: bytes, recipient: bytes) -> Reply | None:
        self.asked.append(recipient)
        if self.broken:
            return smtp.NO_CONTROLS
        return None if b"@d.com" in recipient or b"@" not in recipient else Reply(553, (b"no",))


def run(data: bytes, policy: Policy | None = None, cut: int = 0) -> list[smtp.Event]:
    """All events that follow from ``data``; stored messages are answered at once."""
    session = Session(policy or Policy())
    events: list[smtp.Event] = []
    pieces = [data[i : i + cut] for i in range(0, len(data), cut)] if cut else [data]
    for piece in pieces:
        todo = session.feed(piece)
        while todo and todo[-1] == Ended():
            events += todo
            todo = session.stored(Reply(250, (b"stored",)))
        events += todo
    return events


def said(data: bytes, policy: Policy | None = None, cut: int = 0) -> bytes:
    return b"".join(one.octets for one in run(data, policy, cut) if isinstance(one, Reply))


def stored(content: bytes, cut: int = 0, policy: Policy | None = None) -> bytes | None:
    """What is stored of ``content``, None if refused."""
    events = run(MAIL + RCPT + b"DATA\r\n" + content, policy, cut)
    kept = b"".join(one.octets for one in events if isinstance(one, Content))
    return kept if Ended() in events else None


DIALOGUES = {
    "Q-SMTP-5": (b"NOOP\nNOOP\r\nNOOP " + b"x" * 100_000 + b"\r\n", b"250 ok\r\n" * 3),
    "Q-SMTP-6": (b"MAIL\tFROM:<a>\r\n NOOP\r\nnOOp   x\r\n", b"502 unimplemented (#5.5.1)\r\n" * 2 + b"250 ok\r\n"),
    "Q-SMTP-7": (b"EXPN x\r\n\r\nAUTH\r\nSTARTTLS\r\n", b"502 unimplemented (#5.5.1)\r\n" * 4),
    "Q-SMTP-8": (
        b"HELO a\r\nEHLO a\r\nRSET\r\nNOOP\r\nVRFY x\r\nQUIT\r\n",
        b"250 mx\r\n250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n250 flushed\r\n250 ok\r\n"
        b"252 send some mail, i'll try my best\r\n221 mx\r\n",
    ),
    "Q-SMTP-9": (MAIL + b"HELO\r\n" + RCPT, b"250 ok\r\n250 mx\r\n503 MAIL first (#5.5.1)\r\n"),
    "Q-SMTP-10": (
        RCPT + b"DATA\r\n" + MAIL + b"DATA\r\n",
        b"503 MAIL first (#5.5.1)\r\n" * 2 + b"250 ok\r\n503 RCPT first (#5.5.1)\r\n",
    ),
    "Q-SMTP-11": (MAIL + RCPT + MAIL + b"DATA\r\n", b"250 ok\r\n" * 3 + b"503 RCPT first (#5.5.1)\r\n"),
    "Q-SMTP-12": (MAIL + RCPT * 3, b"250 ok\r\n" * 4),
    "Q-SMTP-14": (b"MAIL FROM:<a@b> BODY=8BITMIME SIZE=9 X=Y\r\n", b"250 ok\r\n"),
    "Q-ADDR-8 E-65": (
        b"MAIL FROM:<" + b"x" * 899 + b">\r\nMAIL FROM:<" + b"x" * 900 + b">\r\n",
        b"250 ok\r\n555 syntax error (#5.5.4)\r\n",
    ),
    "Q-ADDR-10": (MAIL + b"RCPT TO:<>\r\n", b"250 ok\r\n250 ok\r\n"),
    "Q-ADDR-11": (b"MAIL FROM:<any thing>\r\n", b"250 ok\r\n"),
    "Q-RCPT-6": (MAIL + b"RCPT TO:<q@x>\r\n" + RCPT, b"250 ok\r\n553 no\r\n250 ok\r\n"),
    "E-66": (b"MAIL TO:<a>\r\nRCPT FROM:<joe@d.com>\r\n", b"250 ok\r\n" * 2),
    "E-67": (MAIL + RCPT + b"HELO x\r\nDATA\r\n", b"250 ok\r\n250 ok\r\n250 mx\r\n503 MAIL first (#5.5.1)\r\n"),
}


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("fact", DIALOGUES)
def test_replies(fact: str, cut: int) -> None:
    sent, wanted = DIALOGUES[fact]
    assert said(sent, cut=cut and (1 if len(sent) < 9000 else 4096)) == wanted


ADDRESSES = {
    "Q-ADDR-1": [(b"<a@b>", b"a@b"), (b"FROM:<a@b>", b"a@b"), (b"junk<a@b>x", b"a@b")],
    "Q-ADDR-2": [(b"TO:joe@d.com extra", b"joe@d.com"), (b"TO: joe@d.com>", b"joe@d.com>"), (b"joe@d.com", b"")],
    "Q-ADDR-3": [(b"TO:<joe@d.com", b"joe@d.com")],
    "Q-ADDR-4 E-68": [(b"<@a,@b:joe@d>", b"joe@d"), (b"<@a:@b:joe@d>", b"@b:joe@d"), (b"<@domain.com>", b"")],
    "Q-ADDR-5": [(b'<"jo e"@d>', b"jo e@d"), (b'<jo"@"e@d>', b"jo@e@d"), (b"<a\\>b@d>", b"a>b@d")],
    "Q-ADDR-6": [(b"< joe@d>", b" joe@d"), (b"<\xe9@D>", b"\xe9@D")],
}


@pytest.mark.parametrize("fact", ADDRESSES)
def test_addresses(fact: str) -> None:
    for argument, wanted in ADDRESSES[fact]:
        assert address.parse(argument) == wanted


def test_q_addr_6_a_nul_cuts_the_line() -> None:
    assert [one for one in run(MAIL + b"RCPT TO:<joe@d.com\0x>\r\nDATA\r\n") if isinstance(one, Envelope)] == [
        Envelope(b"a@b.org", (b"joe@d.com",), None)
    ]


def test_q_addr_7_literals_of_this_host() -> None:
    here = frozenset({"127.0.0.1"})
    for literal in (b"[127.0.0.1]", b"[383.0.0.1]", b"[0.0.0.0]"):
        assert address.localize(b"joe@" + literal, here, b"mx") == b"joe@mx"
    for other in (b"[127.1]", b"[127.0.0.1]x", b"[127.0.0.1", b"127.0.0.1", b"[10.0.0.1]"):
        assert address.localize(b"joe@" + other, here, b"mx") == b"joe@" + other
    assert address.localize(b"joe@[127.0.0.1]", here, None) == b"joe@[127.0.0.1]"


def test_q_addr_9_and_q_queue_3_a_relayclient_suffix_may_exceed_the_queue() -> None:
    long = b"RCPT TO:<" + b"x" * 890 + b"@d.com>\r\n"
    answer = said(MAIL + long + b"DATA\r\n.\r\n", Policy(relayclient=b"y" * 200))
    assert answer.endswith(b"554 envelope address too long for qq (#5.1.3)\r\n")


def test_q_rcpt_7_relayclient_is_added() -> None:
    events = run(MAIL + RCPT + b"DATA\r\n", Policy(relayclient=b"@fix"))
    assert Envelope(b"a@b.org", (b"joe@d.com@fix",), None) in events


def test_q_smtp_4_unreadable_controls_at_rcpt_end_the_session() -> None:
    events = run(MAIL + RCPT + b"NOOP\r\n", Policy(broken=True))
    assert events[-2:] == [smtp.NO_CONTROLS, Close(1)]


CONTENTS = {
    "Q-DATA-1": (b"a\r\nb\r\n.\r\n", b"a\nb\n"),
    "Q-DATA-3": (b"a\r\r\nb\rc\r\n.\r\n", b"a\r\nb\rc\n"),
    "Q-DATA-4": (b"..\r\n.a\r\n. \r\n.\rx\r\n.\r\n", b".\na\n \n.\rx\n"),
    "Q-DATA-5": (b"\0\xff" + b"l" * 100_000 + b"\r\n.\r\n", b"\0\xff" + b"l" * 100_000 + b"\n"),
    "Q-DATA-6": (b".\r\n", b""),
}


@pytest.mark.parametrize("cut", [0, 1, 3, 7])
@pytest.mark.parametrize("fact", CONTENTS)
def test_content(fact: str, cut: int) -> None:
    sent, wanted = CONTENTS[fact]
    assert stored(sent, cut=cut and (cut if len(sent) < 9000 else cut * 1000)) == wanted


@pytest.mark.parametrize("content", [b"a\nb\r\n.\r\n", b".\n", b"a\r\n.\nb", b"\n"])
@pytest.mark.parametrize("cut", [0, 1])
def test_q_data_2_e_60_e_61_a_bare_lf_ends_the_session(content: bytes, cut: int) -> None:
    events = run(MAIL + RCPT + b"DATA\r\n" + content + MAIL, cut=cut)
    assert events[-3:] == [Abandoned(), smtp.BARE_LF, Close(1)]
    assert Ended() not in events


def test_smuggling_a_second_message_fails_for_each_false_end() -> None:
    for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r\r\n", b"\n.\r", b"\r\n\0.\r\n"):
        content = b"a" + end + MAIL + RCPT + b"DATA\r\nevil\r\n.\r\n"
        for cut in (0, 1):
            ends = [one for one in run(MAIL + RCPT + b"DATA\r\n" + content, cut=cut) if one == Ended()]
            assert len(ends) <= 1, end


def test_q_data_6_end_of_input_inside_content_stores_nothing() -> None:
    assert stored(b"a\r\nb") is None


@pytest.mark.parametrize("cut", [0, 1])
def test_q_data_7_and_e_63_databytes_counts_stored_octets(cut: int) -> None:
    policy = Policy(databytes=4)
    assert stored(b"a\r\n..\r\n.\r\n", cut, policy) == b"a\n.\n"
    answer = said(MAIL + RCPT + b"DATA\r\nabcd\r\n.\r\nNOOP\r\n", policy, cut)
    assert answer.endswith(b"552 sorry, that message size exceeds my databytes limit (#5.3.4)\r\n250 ok\r\n")


@pytest.mark.parametrize("cut", [0, 1, 13])
@pytest.mark.parametrize("name", [b"Received: x", b"received", b"DELIVERED-To: y", b"Received-SPF: z"])
def test_q_data_8_and_e_62_hops(name: bytes, cut: int) -> None:
    line = name + b"\r\n"
    assert stored(line * 99 + b"\r\n" + line * 3 + b".\r\n", cut) is not None
    assert said(MAIL + RCPT + b"DATA\r\n" + line * 100 + b".\r\n", Policy(databytes=5), cut).endswith(
        b"554 too many hops, this message is looping (#5.4.6)\r\n"
    )


def test_input_behind_a_message_waits_until_it_is_stored() -> None:
    session = Session(Policy())
    events = session.feed(MAIL + RCPT + b"DATA\r\nx\r\n.\r\nNOOP\r\n")
    assert events[-1] == Ended()
    assert session.feed(b"QUIT\r\n") == []
    assert session.stored(Reply(451, (b"later",)))[:2] == [Reply(451, (b"later",)), smtp.OK]


def test_starttls_forgets_what_came_in_the_clear() -> None:
    session = Session(Policy(starttls=True))
    assert b"STARTTLS" in b"".join(one.octets for one in session.feed(b"EHLO x\r\n") if isinstance(one, Reply))
    assert session.feed(b"STARTTLS\r\n" + MAIL) == [smtp.READY_FOR_TLS, StartTls()]
    session.secured()
    assert session.feed(RCPT) == [smtp.MAIL_FIRST]
    assert session.feed(b"STARTTLS\r\n") == [smtp.UNIMPLEMENTED]


def test_a_command_without_end_is_cut_off() -> None:
    assert run(b"x" * (smtp.LINE_OCTETS + 1)) == [smtp.TOO_LONG, Close(1)]


def test_every_state_answers_every_verb() -> None:
    verbs = {verb for _, verb in smtp.TABLE}
    for state in (smtp.State.IDLE, smtp.State.MAIL, smtp.State.RCPT):
        for verb in verbs:
            assert ((state, verb) in smtp.TABLE) or ((state, verb) in smtp.MISSING)


def test_q_hdr_1_2_3_the_received_field() -> None:
    peer = header_fields.Peer(b"192.0.2.1", b"mx.example.net")
    tail = b" (192.0.2.1)\n  by mx.example.net (popbox stand-in) with SMTP; 1 Jan 1970 00:00:00 -0000\n"
    for helo, shown in ((None, b""), (b"UNKNOWN", b""), (b"", b" (HELO )"), (b"a b(c)[d]", b" (HELO a?b?c?[d])")):
        assert header_fields.received_smtp(peer, helo, 0) == b"Received: from unknown" + shown + tail


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        (b"", b"<>"), (b"a@b", b"<a@b>"), (b"a b@c", b'<"a b"@c>'), (b'a"b@c', b'<"a\\"b"@c>'), (b".a@c", b'<".a"@c>'),
        (b"a..b@c", b'<"a..b"@c>'), (b"@c", b'<""@c>'), (b"\xe9@c", b'<"\xe9"@c>'), (b"a(b@c", b'<"a(b"@c>'),
        (b"x", b"<x>"),
    ],
)  # fmt: skip
def test_q_hdr_6_return_path(sender: bytes, shown: bytes) -> None:
    assert header_fields.return_path(sender) == b"Return-Path: " + shown + b"\n"


def test_q_send_17_what_a_log_line_shows() -> None:
    assert header_fields.logged(b"a b\n%\xff~") == "a_b/__~"
