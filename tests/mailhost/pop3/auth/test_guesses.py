"""How many guesses can succeed: every mechanism, from one address and from many, against the running server.

Each address is one of 127.0.0.0/8. The numbers are those of README.md, "Guessing".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from tests.mailhost.pop3.chain_programs import converse, program
from tests.mailhost.pop3.support import HOWTO_HASH, Box, Client, Running

from mailhost.pop3.auth.throttle import QUEUE_S
from mailhost.pop3.chain import checkpoppasswd
from mailhost.pop3.options import DEFAULT_LIMITS
from mailhost.pop3.protocol import scram

Serve = Callable[..., Running]
Guess = Callable[[Client, bytes], bytes]
RIGHT = b"testpw"
REFUSED, LATER = b"-ERR [AUTH]", b"-ERR [SYS/TEMP]"
AT_ONCE, MOST_FREE = 40, 11
"""Connections that guess at the same moment; so many of them may be judged: 5 free failures and 6 under way."""


def connect(server: Running, address: str, timeout_s: float = 60) -> Client:
    sock = socket.socket()
    sock.bind((address, 0))
    sock.settimeout(timeout_s)
    sock.connect(("127.0.0.1", server.ports["pop3"]))
    return Client(0, timeout_s, sock)


def user_pass(client: Client, password: bytes) -> bytes:
    return client.login(b"testid", password)


def plain(client: Client, password: bytes) -> bytes:
    assert client.ask(b"AUTH PLAIN") == b"+ \r\n"
    return client.ask(base64.b64encode(b"\0testid\0" + password))


def plain_at_once(client: Client, password: bytes) -> bytes:
    return client.ask(b"AUTH PLAIN " + base64.b64encode(b"\0testid\0" + password))


def apop(client: Client, password: bytes) -> bytes:
    stamp = re.search(rb"<.*>", client.banner)
    assert stamp
    digest = hashlib.md5(stamp[0] + password, usedforsecurity=False).hexdigest().encode()
    return client.ask(b"APOP testid " + digest)


def scram_sha_256(client: Client, password: bytes) -> bytes:
    """The answer to the proof: the server's signature, or a refusal."""
    bare = b"n=testid,r=abc"
    first = base64.b64decode(client.ask(b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,," + bare))[2:])
    nonce, salt, iterations = (field[2:] for field in first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(salt), int(iterations))
    key, without = hmac.digest(salted, b"Client Key", "sha256"), b"c=biws,r=" + nonce
    signed = b",".join([bare, first, without])
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    answer = client.ask(base64.b64encode(without + b",p=" + base64.b64encode(proof)))
    if not answer.startswith(b"+ "):
        return answer
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    assert base64.b64decode(answer[2:]) == b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256"))
    return client.ask(b"=")


MECHANISMS: dict[str, Guess] = {
    "127.0.1.1": user_pass,
    "127.0.1.2": plain,
    "127.0.1.3": plain_at_once,
    "127.0.1.4": apop,
    "127.0.1.5": scram_sha_256,
}


def guessing(box: Box, serve: Serve, workers: str = "1") -> Running:
    """A server with the login testid, whose right password it remembers: its owner was here just now."""
    secrets = box.home / "users" / "popsecrets"
    secrets.write_bytes(b"testid:apop:" + RIGHT + b"\ntestid:scram:" + scram.make(RIGHT, iterations=4096) + b"\n")
    secrets.chmod(0o600)
    server = serve("--workers", workers)
    for _ in range(8):  # at each worker
        owner = server.client()
        assert owner.login() == b"+OK maildrop ready\r\n"
        owner.ask(b"QUIT")
    return server


class Attack:
    """Guesses of one mechanism from one address, all at the same moment; ``answers`` are those that came so far."""

    def __init__(self, server: Running, address: str, guess: Guess, count: int = AT_ONCE) -> None:
        self.answers: list[bytes] = []
        self._ready = threading.Barrier(count)
        self.threads = [
            threading.Thread(target=self._one, args=(connect(server, address), guess, b"guess %d" % n), daemon=True)
            for n in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def _one(self, client: Client, guess: Guess, password: bytes) -> None:
        self._ready.wait(60)
        self.answers.append(guess(client, password))
        client.close()

    def count(self, answer: bytes) -> int:
        return sum(each.startswith(answer) for each in self.answers)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_guesses_that_can_succeed_are_few_by_every_mechanism(box: Box, serve: Serve, workers: str) -> None:
    server = guessing(box, serve, workers)
    begun = time.monotonic()
    attacks = {address: Attack(server, address, guess) for address, guess in MECHANISMS.items()}
    wait_for(lambda: all(attack.count(LATER) >= AT_ONCE - MOST_FREE - 12 for attack in attacks.values()), 60)
    spent = time.monotonic() - begun
    for address, attack in attacks.items():
        judged = attack.count(REFUSED)
        assert judged <= MOST_FREE + 1 + spent / 4, f"{address}: {judged} guesses were judged in {spent:.1f} s"
        assert len(attack.answers) == judged + attack.count(LATER)


@pytest.mark.parametrize("address", list(MECHANISMS))
def test_who_is_throttled_cannot_tell_right_from_wrong(box: Box, serve: Serve, address: str) -> None:
    """Not by the reply, nor by when it comes; not where the right password is remembered either."""
    server, guess = guessing(box, serve), MECHANISMS[address]
    attack = Attack(server, address, guess)
    wait_for(lambda: attack.count(LATER) >= AT_ONCE - MOST_FREE - 12, 60)
    told: dict[bytes, tuple[bytes, float]] = {}

    def ask(password: bytes) -> None:
        client, begun = connect(server, address), time.monotonic()
        told[password] = guess(client, password), time.monotonic() - begun

    threads = [
        threading.Thread(target=ask, args=(password,), daemon=True) for password in (b"a", b"b", RIGHT, b"wrong")
    ]
    for thread in threads:  # of the four one at most finds that a place in the queue has become free
        thread.start()
        time.sleep(0.1)
    wait_for(lambda: RIGHT in told and b"wrong" in told, 60)
    assert told[RIGHT][0] == told[b"wrong"][0] == b"-ERR [SYS/TEMP] try again later\r\n"
    assert min(told[RIGHT][1], told[b"wrong"][1]) >= DEFAULT_LIMITS.fail_delay_s, (
        "told to come back, and that takes time"
    )


def test_a_throttled_right_password_waits_for_its_turn(box: Box, serve: Serve) -> None:
    server = guessing(box, serve)
    attack = Attack(server, "127.0.1.1", user_pass, 8)
    wait_for(lambda: attack.count(REFUSED) >= 7, 60)
    begun = time.monotonic()
    assert connect(server, "127.0.1.1").login() == b"+OK maildrop ready\r\n"
    behind = attack.count(REFUSED) == 8  # which shows it where this test itself was held up
    assert behind or time.monotonic() - begun > 1, "it is remembered, and must wait all the same"


@pytest.fixture
def sockets() -> Iterator[None]:
    """Room for a thousand and some: many machines give a process 1,024 descriptors, and more to who asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.needs("descriptors")
@pytest.mark.usefixtures("sockets")
def test_a_thousand_addresses_at_one_login_keep_no_other_client_out(box: Box, serve: Serve) -> None:
    """Nor a user who comes from an address for the first time, whatever is guessed there in the same moment."""
    server = guessing(box, serve)
    guessers = [connect(server, f"127.1.{n >> 8}.{n & 255}") for n in range(1, 1001)]
    for client in guessers:
        client.send(b"USER testid\r\nPASS no\r\nUSER testid\r\nPASS no\r\n")
    begun = time.monotonic()
    for number in range(20):
        owner = connect(server, f"127.2.0.{number + 1}")
        assert owner.login() == b"+OK maildrop ready\r\n"
        assert owner.ask(b"QUIT") == b"+OK bye\r\n"
    first = time.monotonic() - begun
    for client in guessers:
        assert client.line() == b"+OK send PASS\r\n"
        assert client.line().startswith(REFUSED)
    begun = time.monotonic()
    for number in range(20):
        owner = connect(server, f"127.2.1.{number + 1}")
        assert owner.login() == b"+OK maildrop ready\r\n"
        assert owner.ask(b"QUIT") == b"+OK bye\r\n"
    assert max(first, time.monotonic() - begun) < 20 * 3, "a few seconds each at most, on a slow machine too"
    for client in guessers:
        client.close()


def test_a_stranger_who_keeps_a_queue_full_keeps_no_client_from_elsewhere_out(box: Box, serve: Serve) -> None:
    server = guessing(box, serve)
    attack = Attack(server, "127.0.0.66", user_pass)
    wait_for(lambda: attack.count(LATER) >= AT_ONCE - MOST_FREE - 12, 60)
    for number in range(3):
        begun = time.monotonic()
        owner = connect(server, f"127.0.0.{100 + number}")
        assert owner.login() == b"+OK maildrop ready\r\n"
        assert owner.ask(b"QUIT") == b"+OK bye\r\n"
        assert time.monotonic() - begun < QUEUE_S, "as long as those in the queue wait"


def test_guesses_do_not_reach_the_health_check_which_is_no_open_door_either(box: Box, serve: Serve) -> None:
    """Not even guesses that seem to come from where it comes from, as behind a forwarder that hides addresses."""
    box.passwords({"testid": HOWTO_HASH, "popbox-canary": HOWTO_HASH})
    server = serve()
    attack = Attack(server, "127.0.0.1", user_pass)
    wait_for(lambda: attack.count(LATER) >= AT_ONCE - MOST_FREE - 12, 60)
    begun = time.monotonic()
    canary = server.client()
    assert canary.login(b"popbox-canary") == b"+OK maildrop ready\r\n"
    assert time.monotonic() - begun < QUEUE_S, "as long as those in the queue wait"
    guesses = Attack(server, "127.0.0.1", lambda client, password: client.login(b"popbox-canary", password))
    wait_for(lambda: guesses.count(LATER) >= AT_ONCE - MOST_FREE - 12, 60)
    assert guesses.count(REFUSED) <= MOST_FREE + 1 + (time.monotonic() - begun) / 4


def test_a_login_whose_check_takes_long_holds_one_thread(box: Box, serve: Serve) -> None:
    """0.6 s each: all at once they would hold every thread for half a minute."""
    costly = "$2b$13$abcdefghijklmnopqrstuu" + "x" * 31
    box.passwords({"testid": HOWTO_HASH, "slow": costly})
    server = serve()
    for number in range(40):
        connect(server, f"127.3.0.{number + 1}").send(b"USER slow\r\nPASS x\r\n")
    begun = time.monotonic()
    assert server.client(60).login() == b"+OK maildrop ready\r\n"
    assert time.monotonic() - begun < 20, "and not behind 40 checks"


def test_a_secret_without_a_row_lets_no_client_in(box: Box, serve: Serve) -> None:
    """users/popsecrets says what APOP and SCRAM need; who has a mailbox is in users/poppasswd."""
    server = guessing(box, serve)
    box.passwords({"ann": HOWTO_HASH})
    for guess in (apop, scram_sha_256):
        assert guess(server.client(), RIGHT).startswith(REFUSED)


def test_a_box_disabled_between_proof_and_answer_stays_shut(box: Box, serve: Serve) -> None:
    server = guessing(box, serve)
    client = server.client()
    ask = client.ask

    def disable_then_ask(line: bytes) -> bytes:
        if line == b"=":  # the server's signature has come: the password was right
            box.passwords({"testid": "!" + HOWTO_HASH})
        return ask(line)

    client.ask = disable_then_ask  # type: ignore[method-assign]
    assert scram_sha_256(client, RIGHT).startswith(REFUSED)


def test_what_is_logged_of_a_stranger_is_short_and_a_stopped_server_keeps_no_client_waiting(
    box: Box, serve: Serve
) -> None:
    server = serve()
    client = server.client()
    client.send(b"AUTH PLAIN\r\n" + base64.b64encode(b"\0" + b"n" * 8_000 + b"\0p") + b"\r\n")
    client.line()
    assert client.line().startswith(REFUSED)
    attack = Attack(server, "127.0.0.66", user_pass)
    wait_for(lambda: attack.count(LATER) >= AT_ONCE - MOST_FREE - 12, 60)
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < QUEUE_S, "as long as some of them wait"
    assert 0 < server.log().count("nnn") < 200


def salts(server: Running, *logins: bytes) -> list[bytes]:
    found = []
    for login in logins:
        client = server.client()
        first = base64.b64encode(b"n,,n=" + login + b",r=x")
        assert client.ask(b"AUTH SCRAM-SHA-256") == b"+ \r\n"
        answer = base64.b64decode(client.ask(first)[2:])
        found.append(answer.partition(b",s=")[2])
        client.close()
    return found


@pytest.mark.parametrize("key", [b"", b"0123456789abcdef"])
def test_the_salt_of_a_login_that_there_is_not_is_as_lasting_as_a_real_one(box: Box, serve: Serve, key: bytes) -> None:
    """Over workers, restarts, and, with users/scramkey, changes of users/popsecrets."""
    box.passwords({"testid": HOWTO_HASH, "ann": HOWTO_HASH, "off": "!" + HOWTO_HASH})
    server = guessing(box, serve, "2")
    if key:
        path = box.home / "users" / "scramkey"
        path.write_bytes(key)
        path.chmod(0o600)
    logins = (b"testid", b"ann", b"off", b"nobody", b"n" * 2_000)
    before = salts(server, *logins)
    assert len(set(before)) == len(logins)
    assert {len(text) for text in before} == {len(b"AAAAAAAAAAAAAAAAAAAAAA==,i=4096")}
    for _ in range(6):
        assert salts(server, *logins) == before
    server.stop()
    if key:
        with (box.home / "users" / "popsecrets").open("ab") as file:
            file.write(b"new:scram:" + scram.make(b"x") + b"\n")
    again = serve("--workers", "1")
    assert salts(again, *logins) == before


@pytest.mark.needs("popuser's Python")
@pytest.mark.parametrize("login", [b"testid", b"nobody", b"slow"])
def test_a_guess_at_the_chain_holds_its_processes_though_the_client_has_gone(box: Box, login: bytes) -> None:
    """So a limit on how many there may be, tcpserver's -c, is a limit on guesses."""
    box.passwords({"testid": HOWTO_HASH, "slow": "$2b$13$abcdefghijklmnopqrstuu" + "x" * 31})
    check = (program(box.home, "checkpoppasswd"), "--file", str(box.home / "users" / "poppasswd"), "true")
    client, process = converse([program(box.home, "popup"), "mx.example.net", *check])
    assert client.line().startswith(b"+OK")
    assert client.ask(b"USER " + login) == b"+OK \r\n"
    begun = time.monotonic()
    client.send(b"PASS wrong\r\n")
    client.close()
    process.communicate(timeout=60)
    assert time.monotonic() - begun >= DEFAULT_LIMITS.fail_delay_s


@pytest.mark.parametrize(("spent", "slept"), [(0.002, 1.998), (0.7, 1.3), (2.5, 1.5)])
def test_what_a_check_costs_does_not_show_in_the_chains_refusal(
    monkeypatch: pytest.MonkeyPatch, spent: float, slept: float
) -> None:
    clock, naps = iter([100.0, 100.0 + spent]), list[float]()
    monkeypatch.setattr(checkpoppasswd, "read_input", lambda: b"joe\0wrong\0")
    monkeypatch.setattr(checkpoppasswd, "look_up", lambda *_: None)
    monkeypatch.setattr(checkpoppasswd, "log", lambda _: None)
    monkeypatch.setattr(checkpoppasswd, "time", SimpleNamespace(monotonic=clock.__next__, sleep=naps.append))
    with pytest.raises(checkpoppasswd.Exit):
        checkpoppasswd.run(["true"])
    assert naps == [pytest.approx(slept)]


def wait_for(check: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
