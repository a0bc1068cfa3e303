"""From a claim to an open maildrop, without a server: the test moves the clock, and throttle and disk do as it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mailhost.pop3.server.login_bench import (
    IN,
    LATER,
    LISTING,
    PEER,
    REFUSED,
    RIGHT,
    STAMP,
    TEXTS,
    WRONG,
    Bench,
    Client,
    digest,
    made,
)

from mailhost.pop3.protocol.events import Authenticate, Lookup, Reply


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return made(tmp_path, monkeypatch)


# Right and wrong


def test_a_right_password_opens_the_box_of_its_row(bench: Bench) -> None:
    client = bench.claim(RIGHT)
    assert (client.at_once, client.resumed, client.entered) == (None, [IN], 1)
    assert bench.boxes.opened == [b"/box/joe"]
    assert client.drop is not None
    assert bench.throttle.told == [("succeeded", PEER, b"joe", 100.0)]
    assert (bench.count(), bench.lines) == ({"LOGINS": 1}, [])


@pytest.mark.parametrize(("login", "reason"), [(b"joe", "wrong password"), (b"n" * 200, "unknown login")])
def test_a_wrong_claim_counts_at_once_and_is_answered_later(bench: Bench, login: bytes, reason: str) -> None:
    client = bench.claim(Authenticate("plain", login, b"no"))
    assert bench.throttle.told == [("failed", PEER, login, 100.0)]
    assert bench.count() == {"FAILURES": 1}
    assert bench.lines == [{"event": "login refused", "peer": PEER, "login": login[:128], "reason": reason}]
    assert client.session.context.login is None, "the name is not kept for the two seconds"
    assert (client.at_once, client.resumed) == (None, [])
    bench.clock.pass_to(101.9)
    assert client.resumed == []
    bench.clock.pass_to(102.0)
    assert (client.resumed, bench.boxes.opened) == ([REFUSED], [])


@pytest.mark.parametrize(("spent", "answered"), [(0.0, 102.0), (1.9, 102.0), (2.0, 104.0), (2.5, 104.0), (4.1, 106.0)])
def test_a_refusal_comes_a_whole_number_of_delays_after_the_claim(bench: Bench, spent: float, answered: float) -> None:
    bench.begin(WRONG)
    bench.clock.now += spent  # in the thread
    bench.do()
    assert [when for when, _ in bench.clock.due] == [answered]


def test_without_a_delay_a_refusal_comes_in_the_same_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = made(tmp_path, monkeypatch, 0.0)
    bench.claim(WRONG)
    assert [when for when, _ in bench.clock.due] == [100.0]


def test_who_has_gone_before_the_refusal_is_not_told(bench: Bench) -> None:
    client = bench.claim(WRONG)
    client.fd = -1
    bench.clock.pass_to(110)
    assert client.resumed == []


@pytest.mark.parametrize("claim", [RIGHT, WRONG])
def test_of_who_has_gone_before_the_verdict_only_a_failure_counts(bench: Bench, claim: Authenticate) -> None:
    client = bench.begin(claim)
    bench.work.pop(0)()  # the row is there, the password is next
    client.fd = -1
    bench.do()
    bench.clock.pass_to(110)
    assert (client.resumed, bench.boxes.opened) == ([], [])
    assert client.session.context.login == b"joe", "the log of the session that ended has it"
    assert [what for what, *_ in bench.throttle.told] == ([] if claim is RIGHT else ["failed"])
    assert bench.logins._turns.idle(), "and its turn is given back"


# Every mechanism


@pytest.mark.parametrize(
    ("login", "proof", "right"),
    [
        (b"joe", digest(b"tanstaaf"), True),
        (b"joe", digest(b"tanstaaf").upper(), True),
        (b"joe", digest(b"other"), False),
        (b"joe", b"testpw", False),  # the password itself proves nothing here
        (b"joe", b"", False),
        (b"off", digest(b"tanstaaf"), False),
        (b"nobody", digest(b""), False),  # no secret is none, and not an empty one
    ],
)
def test_apop(bench: Bench, login: bytes, proof: bytes, right: bool) -> None:
    client = bench.remembered().claim(Authenticate("apop", login, proof, STAMP))
    bench.clock.pass_to(102)
    assert client.resumed == [IN if right else REFUSED]
    assert bench.throttle.told == [("succeeded" if right else "failed", PEER, login, 100.0)]


def test_apop_of_a_login_without_such_a_secret_is_refused(bench: Bench) -> None:
    (bench.users / "popsecrets").write_bytes(b"")
    client = bench.claim(Authenticate("apop", b"joe", digest(b""), STAMP))
    bench.clock.pass_to(102)
    assert client.resumed == [REFUSED]


@pytest.mark.parametrize(
    ("login", "proof", "right"), [(b"joe", True, True), (b"joe", False, False), (b"off", True, False)]
)
def test_scram_gets_the_servers_signature_and_no_maildrop_yet(
    bench: Bench, login: bytes, proof: bool, right: bool
) -> None:
    client = Client()
    client.session.proof = proof
    bench.claim(Authenticate("scram", login, b""), client)
    bench.clock.pass_to(102)
    assert client.resumed == (["signature"] if right else [REFUSED])
    assert bench.throttle.told == [("succeeded" if right else "failed", PEER, login, 100.0)]
    assert (bench.boxes.opened, client.entered) == ([], 0)


@pytest.mark.parametrize("login", [b"joe", b"off", b"nobody"])
def test_a_proven_claim_does_not_wait_again_but_its_row_counts(bench: Bench, login: bytes) -> None:
    client = Client()
    client.session.proof = False  # it was asked for the scram claim, and is not asked again
    bench.throttle.waits = [7.0]
    bench.claim(Authenticate("proven", login, b""), client)
    bench.clock.pass_to(102)
    assert client.resumed == [IN if login == b"joe" else REFUSED]
    assert bench.throttle.waits == [7.0]


def test_what_scram_asks_for_is_found_for_any_login(bench: Bench) -> None:
    answers = [bench.claim(Lookup(login)) for login in (b"joe", b"nobody")]
    assert [client.at_once for client in answers] == [None, None]
    for client in answers:
        ((what, stored),) = client.resumed
        assert (what, stored.startswith(b"SCRAM-SHA-256$")) == ("found", True)


def test_who_has_gone_before_scrams_answer_is_not_told(bench: Bench) -> None:
    client = bench.begin(Lookup(b"joe"))
    client.fd = -1
    bench.do()
    assert client.resumed == []


# The throttle


def test_a_remembered_password_enters_at_once_where_no_login_has_to_wait(bench: Bench) -> None:
    client = bench.remembered().begin(RIGHT)
    assert (client.at_once, client.resumed, bench.work) == (IN, [], [])
    assert bench.throttle.told == [("succeeded", PEER, b"joe", 100.0)]


@pytest.mark.parametrize("wait", [0.5, None])
def test_a_remembered_password_is_throttled_like_any_other(bench: Bench, wait: float | None) -> None:
    bench.remembered().throttle.is_free = False
    bench.throttle.waits = [wait]
    client = bench.begin(RIGHT)
    assert (client.at_once, bench.throttle.told) == (None, [] if wait else [("refused", PEER, b"joe", 100.0)])
    bench.clock.pass_to(110)
    assert (client.resumed, bench.work) == ([IN] if wait else [LATER], [])
    assert bench.count()["THROTTLED"] == 1


def test_a_remembered_password_stands_behind_a_guess_that_is_being_judged(bench: Bench) -> None:
    """Else who has a guess judged could tell right from wrong by what does not wait."""
    bench.remembered()
    guess, right = bench.begin(WRONG), bench.begin(RIGHT)
    assert (guess.at_once, right.at_once, right.resumed) == (None, None, [])
    bench.do()
    assert right.resumed == [IN]
    assert [what for what, *_ in bench.throttle.told] == ["failed", "succeeded"]


def test_of_one_login_one_guess_is_judged_after_the_other(bench: Bench) -> None:
    bench.remembered()
    for _ in range(3):
        bench.begin(WRONG)
    assert len(bench.work) == 1
    for judged in range(1, 4):
        bench.work.pop(0)()
        assert len(bench.throttle.told) == judged
    assert (bench.work, bench.logins._turns.idle()) == ([], True)


def test_a_claim_waits_once_and_delays_no_other(bench: Bench) -> None:
    bench.remembered().throttle.waits = [5.0]
    late, next_ = bench.begin(WRONG), bench.begin(Authenticate("plain", b"joe", b"other"))
    bench.do()
    assert [(what, login) for what, _, login, _ in bench.throttle.told] == [("failed", b"joe")], "the next in line"
    assert bench.count() == {"LOGINS": 1, "THROTTLED": 1, "FAILURES": 1}
    bench.throttle.waits = [9.0]
    bench.clock.pass_to(105)
    bench.do()
    assert bench.throttle.told[1:] == [("failed", PEER, b"joe", 105.0)]
    assert bench.throttle.waits == [9.0], "it is not asked to wait again"
    bench.clock.pass_to(106.9)
    assert (late.resumed, next_.resumed) == ([], [REFUSED])
    bench.clock.pass_to(107)
    assert late.resumed == [REFUSED], "the delay runs from its turn, not from its claim"


def test_who_is_told_to_come_back_is_told_after_the_delay(bench: Bench) -> None:
    bench.throttle.waits = [None]
    client = bench.claim(WRONG)
    assert (bench.throttle.told, bench.count()) == ([("refused", PEER, b"joe", 100.0)], {"THROTTLED": 1})
    assert (client.session.context.login, client.resumed, bench.lines) == (None, [], [])
    bench.clock.pass_to(102)
    assert client.resumed == [LATER]
    assert bench.logins._turns.idle()


def test_who_has_gone_while_it_waited_is_judged_no_more(bench: Bench) -> None:
    bench.throttle.waits = [5.0]
    client = bench.claim(RIGHT)
    client.fd = -1
    bench.clock.pass_to(105)
    assert bench.work == [], "it is not looked up"
    assert (client.resumed, bench.throttle.told, bench.logins._turns.idle()) == ([], [], True)


# The password file


def broken(bench: Bench) -> None:
    (bench.users / "poppasswd").unlink()
    bench.clock.now += 1  # another round looks again


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("method", ["plain", "apop", "scram", "proven"])
def test_without_a_password_file_it_is_later_and_no_failure(bench: Bench, method: str, free: bool) -> None:
    bench.remembered().throttle.is_free = free
    broken(bench)
    client = bench.claim(Authenticate(method, b"joe", b"testpw"))
    assert [client.at_once, *client.resumed] == [LATER]
    assert bench.throttle.told == []
    ((line),) = bench.lines
    assert line["event"] == "password file"
    assert "No such file" in str(line["error"])
    assert bench.logins._turns.idle()


@pytest.mark.parametrize("gone", [False, True])
def test_a_row_that_is_none_is_said_to_who_is_there(bench: Bench, gone: bool) -> None:
    (bench.users / "poppasswd").write_text("joe:x\n")
    client = bench.begin(RIGHT)
    client.fd = -1 if gone else 0
    bench.do()
    assert client.resumed == ([] if gone else [LATER])
    assert len(bench.lines) == (0 if gone else 1)
    assert bench.logins._turns.idle()


def test_secrets_that_cannot_be_read_are_said_at_the_look_up(bench: Bench) -> None:
    (bench.users / "popsecrets").unlink()
    (bench.users / "popsecrets").mkdir()
    client = bench.claim(Lookup(b"joe"))
    assert client.resumed == [LATER]
    assert [line["event"] for line in bench.lines] == ["password file"]


# The maildrop


def test_login_delay(bench: Bench) -> None:
    bench.throttle.early = True
    (event,) = bench.claim(RIGHT).resumed
    assert event == ("refused", Reply(b"-ERR [LOGIN-DELAY] the last login was too short a time ago\r\n", ok=False))
    assert bench.boxes.opened == []


@pytest.mark.parametrize(
    ("kind", "reply", "said"),
    [
        ("busy", TEXTS.in_use, None),
        ("missing", TEXTS.no_maildir, "-ERR [SYS/PERM] this login has no maildrop"),
        ("unavailable", TEXTS.unavailable, "-ERR [SYS/TEMP] this maildrop cannot be opened now"),
    ],
)
def test_a_maildrop_that_cannot_be_opened(bench: Bench, kind: str, reply: Reply, said: str | None) -> None:
    bench.boxes.failure = kind
    client = bench.claim(RIGHT)
    assert (client.resumed, client.entered) == ([("refused", reply)], 0)
    assert bench.count() == ({"IN_USE": 1} if kind == "busy" else {})
    line = {"event": "maildrop not opened", "peer": PEER, "login": b"joe", "said": said}
    assert bench.lines == ([line] if said else [])


@pytest.mark.parametrize("later", [False, True])
def test_a_maildrop_that_cannot_be_read_is_closed_again(bench: Bench, later: bool) -> None:
    bench.boxes.answer = None if later else TEXTS.unavailable
    client = bench.claim(RIGHT)
    if later:
        assert (client.resumed, bench.boxes.closed) == ([], 0)
        bench.boxes.scanned(TEXTS.unavailable)
    assert client.resumed == [("refused", TEXTS.unavailable)]
    assert (bench.boxes.closed, client.drop, client.entered, bench.count()) == (1, None, 0, {})


@pytest.mark.parametrize("gone", [False, True])
def test_a_long_scan_resumes_who_is_still_there(bench: Bench, gone: bool) -> None:
    bench.boxes.answer = None
    client = bench.claim(RIGHT)
    assert client.resumed == []
    client.fd = -1 if gone else 0
    bench.boxes.scanned(LISTING)
    assert client.resumed == ([] if gone else [IN])
    assert bench.count() == ({} if gone else {"LOGINS": 1})
