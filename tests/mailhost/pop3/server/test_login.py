"""From a claim to an open maildrop, without a server: the test moves the clock, and throttle and disk do as it says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.mailhost.pop3.support import HOWTO_HASH

from mailhost.pop3.auth.passdb import Passdb
from mailhost.pop3.auth.password_check import Credentials
from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.protocol.events import Authenticate, Lookup, Reply
from mailhost.pop3.protocol.listing import Listing
from mailhost.pop3.protocol.profiles import RFC1939
from mailhost.pop3.server import login as logins
from mailhost.pop3.server.login import Logins
from mailhost.pop3.server.metrics import Count, Counters
from mailhost.pop3.server.threads import Work

PEER = "192.0.2.7"
TEXTS = RFC1939.texts
LISTING = Listing(())
RIGHT = Authenticate("plain", b"joe", b"testpw")
WRONG = Authenticate("plain", b"joe", b"no")
STAMP = b"<1.2@mx>"
DELAY_S = 2.0


class Clock:
    """In the place of the loop."""

    def __init__(self) -> None:
        self.now, self.due = 100.0, list[tuple[float, Work]]()

    def at(self, when: float, action: Work) -> None:
        self.due.append((when, action))

    def pass_to(self, now: float) -> None:
        """What is due by then happens at its time."""
        while ready := sorted((one for one in self.due if one[0] <= now), key=lambda one: one[0]):
            self.due.remove(ready[0])
            self.now = max(self.now, ready[0][0])
            ready[0][1]()
        self.now = now


class Throttle:
    """In the place of the throttle: ``waits`` are its next answers, then no login waits; ``told`` is what it heard."""

    def __init__(self) -> None:
        self.waits, self.told = list[float | None](), list[tuple[str, str, bytes, float]]()
        self.is_free, self.early = True, False

    def free(self, _peer: str, _login: bytes, _now: float) -> bool:
        return self.is_free

    def turns(self, _peer: str, login: bytes, _now: float) -> tuple[tuple[bytes, int], ...]:
        return ((login, 1),)

    def wait(self, _peer: str, _login: bytes, _now: float) -> float | None:
        return self.waits.pop(0) if self.waits else 0.0

    def too_soon(self, _login: bytes, _now: float) -> bool:
        return self.early

    def failed(self, peer: str, login: bytes, now: float) -> None:
        self.told.append(("failed", peer, login, now))

    def refused(self, peer: str, login: bytes, now: float) -> None:
        self.told.append(("refused", peer, login, now))

    def succeeded(self, peer: str, login: bytes, now: float) -> None:
        self.told.append(("succeeded", peer, login, now))


class Boxes:
    """In the place of the maildrops."""

    def __init__(self) -> None:
        self.failure = ""
        self.answer: Listing | Reply | None = LISTING
        self.opened = list[bytes]()
        self.closed = 0
        self.scanned: Callable[[Listing | Reply], None]

    def open(self, home: bytes) -> SimpleNamespace:
        if self.failure:
            raise MaildropError(self.failure, home)
        self.opened.append(home)
        return SimpleNamespace(close=self._close)

    def _close(self) -> None:
        self.closed += 1

    def scan(self, _drop: object, done: Callable[[Listing | Reply], None]) -> Listing | Reply | None:
        self.scanned = done
        return self.answer

    def reply(self, kind: str) -> Reply:
        return TEXTS.maildrop(kind)


class Session:
    """In the place of the protocol: its answers tell what it was told."""

    def __init__(self) -> None:
        self.context = SimpleNamespace(login=b"joe")
        self.proof = True

    def refused(self, reply: Reply) -> tuple[str, Reply]:
        return "refused", reply

    def found(self, stored: bytes) -> tuple[str, bytes]:
        return "found", stored

    def opened(self, listing: Listing) -> tuple[str, Listing]:
        return "opened", listing

    def signature(self) -> str:
        return "signature"

    def proves(self) -> bool:
        return self.proof


class Client:
    """In the place of a connection: what its claim gave at once, and with what it was resumed."""

    def __init__(self) -> None:
        self.fd, self.peer, self.session = 0, PEER, Session()  # 0 is a descriptor like any other
        self.drop: object = None
        self.at_once: object = None
        self.resumed = list[Any]()
        self.entered = 0

    def resume(self, event: object) -> None:
        assert event is not None
        self.resumed.append(event)

    def enter(self) -> None:
        self.entered += 1


IN = ("opened", LISTING)
REFUSED = ("refused", TEXTS.refused)
LATER = ("refused", TEXTS.temporary)


class Bench:
    """Logins with all that stands around them; ``work`` is what threads would do, done by ``do``."""

    def __init__(self, users: Path, fail_delay_s: float = DELAY_S) -> None:
        self.users, self.lines, self.work = users, list[dict[str, object]](), list[Work]()
        (users / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\noff:!{HOWTO_HASH}:popuser:/box/off\n")
        (users / "popsecrets").write_bytes(b"joe:apop:tanstaaf\noff:apop:tanstaaf\n")
        self.clock, self.throttle, self.boxes, self.counts = Clock(), Throttle(), Boxes(), Counters().mine
        options = SimpleNamespace(profile=RFC1939, limits=SimpleNamespace(fail_delay_s=fail_delay_s))
        log = SimpleNamespace(line=lambda event, **fields: self.lines.append({"event": event, **fields}))
        rows = Passdb(users, run=self.work.append)
        credentials = Credentials(self.work.append, lambda work: work())
        parts: list[Any] = [options, self.clock, log, rows, credentials, self.boxes, self.throttle, self.counts]
        self.logins = Logins(*parts)

    def do(self) -> None:
        while self.work:
            self.work.pop(0)()

    def begin(self, claim: Authenticate | Lookup, client: Client | None = None) -> Client:
        """Have it claimed, with nothing done yet that a thread does."""
        client = client or Client()
        fake: Any = client
        client.at_once = self.logins.claim(fake, claim)
        return client

    def claim(self, claim: Authenticate | Lookup, client: Client | None = None) -> Client:
        """Have it claimed and looked at."""
        client = self.begin(claim, client)
        self.do()
        return client

    def remembered(self) -> Bench:
        """The right password was here before."""
        assert self.claim(RIGHT).resumed == [IN]
        self.throttle.told.clear()
        return self

    def count(self) -> dict[str, int]:
        return {count.name: self.counts[count] for count in Count if self.counts[count]}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return made(tmp_path, monkeypatch)


def made(users: Path, monkeypatch: pytest.MonkeyPatch, fail_delay_s: float = DELAY_S) -> Bench:
    one = Bench(users, fail_delay_s)
    monkeypatch.setattr(logins, "time", SimpleNamespace(monotonic=lambda: one.clock.now))
    return one


def digest(secret: bytes) -> bytes:
    return hashlib.md5(STAMP + secret, usedforsecurity=False).hexdigest().encode()


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
