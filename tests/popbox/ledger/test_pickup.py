"""What POP3 handed out: read from the log of a conversation, and fetched by popbox from a scripted server."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from tests.popbox.fakehost import HOME, FakeHost
from tests.popbox.peer import peer

from popbox.clients.body import Body
from popbox.clients.wire import Logged
from popbox.ledger import pickup
from popbox.ledger.pickup import Heard, RetrievedMessage, fetch, hear, known_logins
from popbox.scenario.names import HOWTO_HASH, HOWTO_PASSWORD


def line(side: str, text: str, at_s: float = 0.0) -> Logged:
    return Logged(side, text, at_s, text.encode())


def conversation(*said: str) -> Any:
    """Each is ``C text`` or ``S text``; each comes a second after the one before."""
    return SimpleNamespace(log=[line(one[0], one[2:], float(n)) for n, one in enumerate(said)], began=40.0)


def heard(*said: str) -> Heard:
    return hear(3, conversation(*said))


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickup, "time", SimpleNamespace(time=lambda: 1000.0, monotonic=lambda: 50.0))


LOGIN = ("S +OK hi", "C USER joe", "S +OK", "C PASS testpw", "S +OK")


def test_a_session_is_read_reply_by_reply() -> None:
    said = heard(
        *("S +OK hi", "C USER joe the first", "S +OK", "C pass my secret words", "S +OK"),
        *("C LIST", "S +OK", "S 1 120", "S 2 99", "S x 1", "S 3 y", "S 4", "S 5 6 7", "S ."),
        *("C UIDL", "S +OK", "S 1 aa", "S .", "C UIDL 1", "S +OK 1 aa"),
        *("C CAPA 7", "S +OK", "S TOP", "S .", "C TOP 2 0", "S +OK", "S Subject: y", "S ."),
        *("C LIST 2", "S +OK 2 98", "C RETR 1", "S +OK", "S Subject: x", "S .", "C RETR 2", "S -ERR gone"),
        *("C DELE 1", "S +OK", "C DELE 2", "S -ERR no", "C QUIT", "S +OK"),
    )
    body = Body(line("S", "+OK", 31.0), (line("S", "Subject: x", 32.0),), line("S", ".", 33.0))
    assert (said.by, said.login, said.password) == ("step 3", "joe the first", "my secret words")
    assert said.listed == {1: 120, 2: 98, 5: 6}
    assert list(said.handed()) == [RetrievedMessage("step 3", "joe the first", 1, body, 990.0 + 33.0, True, 120)]


def test_pipelined_commands_get_their_own_replies() -> None:
    said = heard(
        *("S +OK hi", "C USER joe", "C PASS testpw", "C RETR 1", "C DELE 1", "C DELE 2", "C RSET", "C DELE 3"),
        *("S +OK", "S +OK", "S +OK", "S A: b", "S .", "S +OK", "S +OK", "S +OK", "S +OK"),
    )
    assert (said.login, said.password, list(said.got), said.marked) == ("joe", "testpw", [1], {3})
    assert [one.deleted for one in said.handed()] == [False]


@pytest.mark.parametrize(
    ("quit_", "deleted"), [(("C QUIT", "S +OK"), True), (("C QUIT", "S -ERR"), False), ((), False)]
)
def test_a_message_is_gone_when_quit_was_taken(quit_: tuple[str, ...], deleted: bool) -> None:
    said = heard(*LOGIN, "C RETR 1", "S +OK", "S A: b", "S .", "C DELE 1", "S +OK", *quit_)
    assert [one.deleted for one in said.handed()] == [deleted]
    other = heard(*LOGIN, "C RETR 2", "S +OK", "S A: b", "S .", "C DELE 1", "S +OK", *quit_)
    assert [one.deleted for one in other.handed()] == [False]


def test_what_is_refused_or_cut_short_or_unasked_counts_for_nothing() -> None:
    assert heard("S -ERR busy", "S +OK", "S -ERR") == Heard("step 3")
    assert heard("S +OK hi", "C USER joe", "S -ERR", "C PASS x", "S -ERR") == Heard("step 3")
    assert heard("S +OK hi", "C USER", "S +OK", "C ", "S +OK") == Heard("step 3")
    assert heard(*LOGIN, "C RETR 1", "S +OK", "S A: b").got == {}
    assert heard(*LOGIN, "C LIST", "S +OK", "S 1 5").listed == {}
    assert heard(*LOGIN, "C LIST 1", "S +OK one message").listed == {}
    assert list(heard(*LOGIN, "C RETR x", "S +OK", "S A: b", "S .").got) == [0]


SAMPLE = {HOWTO_HASH: HOWTO_PASSWORD}


def test_a_password_that_was_masked_or_refused_opens_nothing() -> None:
    rows = f"joe:x:popuser:{HOME}/popboxes/c/joe\neve:{HOWTO_HASH}:popuser:{HOME}/popboxes/c/eve/\n"
    rows += f"ann:x:popuser:{HOME}/popboxes/c/ann\nout:{HOWTO_HASH}:popuser:{HOME}/popboxes/c/out\nno:row\n"
    host = FakeHost(files={"users/poppasswd": rows.encode()})
    boxes = {"popboxes/c/joe", "popboxes/c/eve", "popboxes/c/ann"}
    said = [Heard("step 1", "joe", "pw"), Heard("step 2", "joe", ""), Heard("step 3", "ann", "********")]
    assert known_logins(host, boxes, said, SAMPLE) == {
        "popboxes/c/joe": ("joe", "pw"),
        "popboxes/c/eve": ("eve", HOWTO_PASSWORD),
    }
    assert known_logins(FakeHost(), boxes, said, SAMPLE) == {}


def test_a_directory_may_have_a_colon() -> None:
    row = f"joe:{HOWTO_HASH}:popuser:{HOME}/popboxes/c/a:b\n"
    host = FakeHost(files={"users/poppasswd": row.encode()})
    assert known_logins(host, {"popboxes/c/a:b"}, [], SAMPLE) == {"popboxes/c/a:b": ("joe", HOWTO_PASSWORD)}


GREETED = [b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n"]


def message(token: str) -> bytes:
    return b"+OK\r\nX-Popbox-Token: " + token.encode() + b"\r\n\r\nbody\r\n.\r\n"


def fetched(*script: bytes, tokens: str = "pb-1") -> tuple[list[RetrievedMessage] | str, list[bytes]]:
    with peer([*GREETED, *script]) as other:
        got = fetch(FakeHost(serves={"pop3": other.address}), "joe", "testpw", set(tokens.split()))
    return got, other.heard[2:]


def test_it_fetches_newest_first_until_it_has_all() -> None:
    got, asked = fetched(b"+OK 3 9\r\n", message("pb-2"), message("pb-1"), b"+OK\r\n2 44\r\n3 x\r\n.\r\n")
    assert asked == [b"STAT\r\n", b"RETR 3\r\n", b"RETR 2\r\n", b"LIST\r\n"]
    assert isinstance(got, list)
    assert [(one.by, one.login, one.number, one.at, one.listed, one.deleted) for one in got] == [
        ("popbox", "joe", 3, 1000.0, None, False),
        ("popbox", "joe", 2, 1000.0, 44, False),
    ]
    assert ["pb-1" in one.tokens() for one in got] == [False, True]


def test_it_wants_each_of_several_messages() -> None:
    _, asked = fetched(b"+OK 2 9\r\n", message("pb-2"), message("pb-1"), b"+OK\r\n.\r\n", tokens="pb-1 pb-2")
    assert asked == [b"STAT\r\n", b"RETR 2\r\n", b"RETR 1\r\n", b"LIST\r\n"]


def test_it_looks_at_all_and_at_no_more_than_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = fetched(b"+OK 2 9\r\n", message("x"), message("y"), b"+OK\r\n.\r\n")
    assert asked[1:-1] == [b"RETR 2\r\n", b"RETR 1\r\n"]
    monkeypatch.setattr(pickup, "MOST_MESSAGES", 2)
    _, asked = fetched(b"+OK 4 9\r\n", message("x"), message("y"), b"+OK\r\n.\r\n", message("z"))
    assert asked[1:-1] == [b"RETR 4\r\n", b"RETR 3\r\n"]


def test_without_sizes_the_messages_stand_and_without_messages_the_reason() -> None:
    got, _ = fetched(b"+OK 1 9\r\n", message("pb-1"), b"-ERR no LIST\r\n")
    assert [one.listed for one in got if not isinstance(one, str)] == [None]
    assert fetched(b"-ERR no\r\n")[0] == "joe over POP3: STAT: -ERR no"
    assert fetched(b"+OK 1 9\r\n", b"-ERR [SYS/TEMP] no\r\n")[0] == "joe over POP3: RETR 1: -ERR [SYS/TEMP] no"
    assert str(fetch(FakeHost(), "joe", "x", {"pb-1"})).startswith("joe over POP3: pop3 has no port")


def body(text: bytes) -> Body:
    lines = tuple(Logged("S", "", 0.0, one) for one in text.split(b"\n")[:-1])
    return Body(line("S", "+OK"), lines, line("S", "."))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (b"X-Popbox-Token: pb-1\n\nbody\n", True),
        (b"A: b\nX-Popbox-Token: pb-1\n", True),
        (b"A: b\n\nX-Popbox-Token: pb-1\n", False),  # a bounce of it
        (b"X-Popbox-Token: pb-12\n\n", False),
        (b"A: X-Popbox-Token: pb-1\n\n", False),
    ],
)
def test_a_token_counts_in_the_header_alone(text: bytes, holds: bool) -> None:
    assert ("pb-1" in RetrievedMessage("popbox", "joe", 1, body(text), 0.0).tokens()) is holds


def test_what_is_shown_is_what_went_over_the_wire() -> None:
    one = RetrievedMessage("step 1", "joe", 7, body(b"A: b\n\nc\n"), 0.0, listed=11)
    shown, wire = one.shown(), b"A: b\r\n\r\nc\r\n"
    assert (shown.by, shown.login, shown.number, shown.octets) == ("step 1", "joe", 7, len(wire))
    assert shown.sha256 == hashlib.sha256(wire).hexdigest()
    assert (one.octets, one.fault()) == (b"A: b\n\nc\n", "")
    assert "LIST says 99 octets" in RetrievedMessage("step 1", "joe", 7, one.body, 0.0, listed=99).fault()
