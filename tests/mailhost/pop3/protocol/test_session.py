"""The core without I/O: every command in every state, golden transcripts, cuts of the input."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mailhost.pop3.io_layer import BOX, IoLayer, message

from mailhost.pop3.protocol.events import Authenticate, Close, Reply, StartTls, Update
from mailhost.pop3.protocol.listing import Listing
from mailhost.pop3.protocol.profiles import PROFILES, QMAIL, RFC1939, Profile
from mailhost.pop3.protocol.session import KNOWN_VERBS, TABLE, Session
from mailhost.pop3.protocol.state import Features, State

VERBS = sorted(KNOWN_VERBS | {b"XTND", b""})


@pytest.mark.parametrize(("name", "state", "verb"), list(itertools.product(PROFILES, State, VERBS)))
def test_every_command_in_every_state(name: str, state: State, verb: bytes) -> None:
    """A verb the table lacks gets an error and changes nothing, others an answer; waiting states are silent."""
    layer = IoLayer(PROFILES[name])
    if state is State.TRANSACTION:
        layer.session.opened(BOX)
    layer.session.context.state = state
    out = layer.feed(verb + b" 1\r\n")
    if state not in (State.AUTHORIZATION, State.TRANSACTION):
        assert out == b""
    elif verb in PROFILES[name].verbs and (state, verb) in TABLE:
        assert out.startswith((b"+OK", b"-ERR", b"+ "))
        assert out.endswith(b"\r\n")
    else:
        assert out.startswith(b"-ERR")
        assert layer.session.state is state


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_one_answer_for_each_over_long_line(profile: Profile) -> None:
    layer = IoLayer(profile)
    long = b"X" * (profile.line_octets + 1)
    assert layer.feed(b"NOOP " + long + b"\r\n" + long + long) == profile.texts.too_long.data
    assert layer.feed(long + b"\r\nQUIT\r\n") == profile.texts.too_long.data + profile.texts.bye.data


def test_a_peer_that_sends_only_rubbish_is_let_go() -> None:
    layer = IoLayer(RFC1939)
    layer.feed(b"GET / HTTP/1.1\r\n" * 60)
    assert layer.closed == "too many errors"


def test_after_a_few_failed_logins_the_session_ends() -> None:
    layer = IoLayer(RFC1939)
    layer.feed(b"USER joe\r\nPASS x\r\n" * 2)
    assert not layer.closed
    layer.feed(b"USER joe\r\nPASS x\r\n")
    assert layer.closed == "login refused"
    layer = IoLayer(QMAIL)
    assert layer.feed(b"USER joe\r\nPASS x\r\n").endswith(b"-ERR authorization failed\r\n")
    assert layer.closed


def test_a_password_may_hold_spaces() -> None:
    layer = IoLayer(RFC1939)
    layer.feed(b"USER joe\r\nPASS  two words \r\n")
    assert Authenticate("plain", b"joe", b" two words ") in layer.events
    layer = IoLayer(QMAIL)
    layer.feed(b"USER joe\r\nPASS  two words \r\n")
    assert Authenticate("plain", b"joe", b"two words ") in layer.events


def test_each_message_that_could_not_be_removed_has_its_line_in_qmail_and_one_for_all_in_rfc1939() -> None:
    for profile, lines in ((QMAIL, 2), (RFC1939, 1)):
        session = Session.logged_in(profile, BOX)
        session.receive(b"DELE 1\r\nDELE 2\r\nDELE 3\r\nQUIT\r\n")
        events = [session.next_event() for _ in range(4)]
        assert isinstance(events[-1], Update)
        reply = session.updated(failed=2)
        assert isinstance(reply, Close)
        assert reply.reply.data.count(b"-ERR") == lines
        assert reply.reply.data.endswith(b"+OK \r\n") == profile.qmail_quirks


def test_quit_in_a_large_box_of_new_mail_takes_no_time() -> None:
    """Each of these messages was once compared with each of those: minutes in which no other session was served."""
    box = Listing(tuple(message(b"%d.h" % n, 1) for n in range(30_000)))
    session = Session.logged_in(RFC1939, box)
    for number in range(2, 30_000, 2):
        session.receive(b"DELE %d\r\n" % number)
        session.next_event()
    session.receive(b"QUIT\r\n")
    began = time.process_time()
    event = session.next_event()
    assert time.process_time() - began < 1
    assert event == Update(box.messages[1:-1:2], (*box.messages[::2], box.messages[-1]))


def test_quit_cut_off_deletes_nothing() -> None:
    layer = IoLayer(RFC1939)
    layer.feed(b"USER joe\r\nPASS pw\r\nDELE 1\r\nQUIT")
    assert not any(isinstance(event, Update) for event in layer.events)
    layer.feed(b"\r\n")
    assert Update((BOX.messages[0],), (BOX.messages[2],)) in layer.events


def test_capabilities_in_both_states() -> None:
    layer = IoLayer(RFC1939, Features(tls=True, scram=True, login_delay_s=60))
    before = layer.feed(b"CAPA\r\n").split(b"\r\n")
    assert {b"USER", b"STLS", b"SASL PLAIN SCRAM-SHA-256", b"LOGIN-DELAY 60", b"PIPELINING"} <= set(before)
    assert {b"RESP-CODES", b"AUTH-RESP-CODE", b"EXPIRE NEVER", b"UTF8", b"LANG", b"UIDL", b"TOP"} <= set(before)
    layer.feed(b"USER joe\r\nPASS pw\r\n")
    assert b"IMPLEMENTATION popbox-rfc1939" in before
    before.remove(b"STLS")
    after = layer.feed(b"CAPA\r\n").split(b"\r\n")
    assert after == before, "RFC 2449 §5: the same in both states; RFC 2595 §4: STLS in AUTHORIZATION only"


def test_stls_is_not_announced_after_login_in_the_qmail_profile_either() -> None:
    layer = IoLayer(QMAIL, Features(tls=True))
    assert b"STLS" in layer.feed(b"CAPA\r\n").split(b"\r\n")
    layer.feed(b"USER joe\r\n")
    layer.feed(b"PASS pw\r\n")
    assert b"STLS" not in layer.feed(b"CAPA\r\n").split(b"\r\n")


@pytest.mark.parametrize("line", [b"CAPA x", b"capa  x", b"STLS now"])
@pytest.mark.parametrize("profile", [RFC1939, QMAIL], ids=["rfc1939", "qmail"])
def test_capa_and_stls_take_no_argument_in_any_profile(profile: Profile, line: bytes) -> None:
    layer = IoLayer(profile, Features(tls=True))
    assert layer.feed(line + b"\r\n").startswith(b"-ERR")
    assert not any(isinstance(event, StartTls) for event in layer.events)
    assert layer.feed(b"CAPA \r\n").startswith(b"+OK"), "a blank behind it is no argument"


@pytest.mark.parametrize("line", [b"STAT x", b"NOOP x", b"RSET x"])
def test_qmail_ignores_an_argument_of_its_own_commands(line: bytes) -> None:
    layer = IoLayer(QMAIL, Features(tls=True))
    layer.feed(b"USER joe\r\n")
    layer.feed(b"PASS pw\r\n")
    assert layer.feed(line + b"\r\n").startswith(b"+OK")


def test_behind_popup_no_capability_is_announced_that_popup_lacks() -> None:
    session = Session.logged_in(RFC1939, BOX)
    session.receive(b"CAPA\r\n")
    event = session.next_event()
    assert isinstance(event, Reply)
    tags = {line.split(b" ")[0] for line in event.data.split(b"\r\n")}
    assert {b"USER", b"UIDL", b"TOP", b"LANG"} <= tags
    assert not tags & {b"SASL", b"UTF8", b"STLS"}


def test_without_tls_no_password_where_the_operator_says_so() -> None:
    layer = IoLayer(RFC1939, Features(tls=True, plaintext=False))
    assert b"USER" not in layer.feed(b"CAPA\r\n").split(b"\r\n")
    assert layer.feed(b"USER joe\r\n").startswith(b"-ERR [AUTH]")
    assert layer.feed(b"AUTH PLAIN AGpvZQBwdw==\r\n").startswith(b"-ERR")
    layer.feed(b"STLS\r\n")
    layer.session.secured()
    assert b"USER" in layer.feed(b"CAPA\r\n").split(b"\r\n")


def test_stls_forgets_what_was_said_before_and_behind_it() -> None:
    layer = IoLayer(RFC1939, Features(tls=True))
    assert layer.feed(b"USER eve\r\nSTLS\r\nPASS injected\r\n").endswith(b"+OK begin TLS\r\n")
    layer.session.secured()
    assert layer.feed(b"PASS pw\r\n") == b"-ERR USER first\r\n"
    assert layer.feed(b"STLS\r\n").startswith(b"-ERR")
    assert not any(isinstance(event, Authenticate) for event in layer.events)


def test_auth_plain_initial_response_continuation_cancel_and_rubbish() -> None:
    good = b"AGpvZQBwdw=="
    layer = IoLayer(RFC1939)
    assert layer.feed(b"AUTH\r\n") == b"+OK mechanisms\r\nPLAIN\r\n.\r\n"
    assert layer.feed(b"AUTH PLAIN\r\n*\r\n") == b"+ \r\n-ERR authentication cancelled\r\n"
    assert layer.feed(b"AUTH PLAIN\r\n!!!\r\n") == b"+ \r\n-ERR [AUTH] malformed response\r\n"
    assert layer.feed(b"AUTH PLAIN =\r\n") == b"-ERR [AUTH] malformed response\r\n"
    assert layer.feed(b"AUTH LOGIN\r\n") == b"-ERR mechanism is not offered\r\n"
    assert layer.feed(b"auth plain\r\n" + good + b"\r\nSTAT\r\n") == b"+ \r\n+OK maildrop ready\r\n+OK 3 60\r\n"
    assert IoLayer(RFC1939).feed(b"AUTH PLAIN " + good + b"\r\n") == b"+OK maildrop ready\r\n"
    other = b"ZXZlAGpvZQBwdw=="  # eve acting for... as joe
    assert IoLayer(RFC1939).feed(b"AUTH PLAIN " + other + b"\r\n") == b"-ERR [AUTH] malformed response\r\n"


def test_lang_and_utf8() -> None:
    layer = IoLayer(RFC1939)
    assert layer.feed(b"LANG\r\n").endswith(b".\r\n")
    assert layer.feed(b"LANG *\r\n").startswith(b"+OK en ")
    assert layer.feed(b"LANG xx\r\n").startswith(b"-ERR")
    assert layer.feed(b"UTF8\r\n").startswith(b"+OK")


WORDS = st.sampled_from(
    [b"joe", b"pw", b"1", b"99", b"-1", b"PLAIN", b"SCRAM-SHA-256", b"biwsbj1qb2Uscj14", b"=", b"*", b"\0"]
)
NOISE = st.one_of(
    st.binary(max_size=40),
    st.tuples(st.sampled_from(VERBS), st.lists(WORDS, max_size=3)).map(lambda t: b" ".join([t[0], *t[1]]) + b"\r\n"),
)


@given(st.sampled_from(sorted(PROFILES)), st.lists(NOISE, max_size=40))
def test_no_input_makes_the_core_raise(name: str, noise: list[bytes]) -> None:
    """The same property ran for ten minutes in ``tests/bench/pop3/fuzz.py``."""
    layer = IoLayer(PROFILES[name], Features(tls=True, scram=True, apop=True))
    for data in noise:
        out = layer.feed(data)
        assert all(line.endswith(b"\r") or not line for line in out.split(b"\n"))


def test_the_password_is_not_in_the_events_repr() -> None:
    assert "hunter2" not in repr(Authenticate("plain", b"joe", b"hunter2"))


@pytest.mark.parametrize("between", [b"NOOP", b"CAPA", b"XYZZY", b"", b"STAT", b"x" * 600, b"AUTH", b"USER"])
def test_pass_counts_immediately_after_user_only(between: bytes) -> None:
    layer = IoLayer(RFC1939)
    layer.feed(b"USER joe\r\n" + between + b"\r\n")
    assert layer.feed(b"PASS pw\r\n") == b"-ERR USER first\r\n"
    assert not any(isinstance(event, Authenticate) for event in layer.events)
    assert layer.feed(b"USER joe\r\nPASS pw\r\n").endswith(b"+OK maildrop ready\r\n")


@pytest.mark.parametrize("between", [b"NOOP", b"CAPA", b"XYZZY", b"", b"STAT"])
def test_qmail_remembers_the_name(between: bytes) -> None:
    layer = IoLayer(QMAIL)
    layer.feed(b"USER joe\r\n")
    layer.feed(between + b"\r\n")
    assert layer.feed(b"PASS pw\r\n") == b"+OK \r\n"
