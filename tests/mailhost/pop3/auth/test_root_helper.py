"""The helper that stays root: whatever it is asked, when it is slow, and when the server is killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.mailhost.pop3.support import HOWTO_HASH, WITHIN_S, Box, Client, Running, eventually, http

from mailhost.pop3.auth import root_helper
from mailhost.pop3.auth.passdb import LOGIN_OCTETS, Files

Serve = Callable[..., Running]
as_root = pytest.mark.needs("root")  # only root has the helper


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long an answer is waited for is no matter of a loaded machine here; servers are processes of their own."""
    monkeypatch.setattr(root_helper, "ANSWER_S", 60.0)
    monkeypatch.setattr(root_helper, "LATE_S", 30.0)


@contextlib.contextmanager
def helping(users: Path) -> Iterator[tuple[socket.socket, threading.Thread]]:
    """A helper in a thread; gives the worker's end of its channel."""
    (users / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\n")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=root_helper.serve, args=([theirs], Files(users)), daemon=True)
    thread.start()
    yield ours, thread
    ours.close()
    thread.join(WITHIN_S)
    assert not thread.is_alive()


ODD = [
    b"",
    b"x",
    bytes(8),
    bytes(8) + b"r",
    bytes(8) + b"r" + b"\xff" * 4,
    bytes(8) + b"r" + b"\0\0\0\xff" + b"joe",
    bytes(8) + b"r" + root_helper.pack([b"joe", b"more"]),
    bytes(8) + b"r" + root_helper.pack([]),
    bytes(8) + b"u" + root_helper.pack([b"joe"]),
    bytes(8) + b"h" + root_helper.pack([b"joe", b"x"]),
    bytes(8) + b"?" + root_helper.pack([b"joe"]),
    bytes(8) + b"r" + root_helper.pack([b"a\0b\n:c"]),
    bytes(8) + b"r" + b"y" * 60_000,
]


@pytest.mark.parametrize("question", ODD)
def test_a_question_that_is_none_gets_no_answer_either(tmp_path: Path, question: bytes) -> None:
    (tmp_path / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\n")
    answer = b"-" if b"\n" in question else b"!"  # a name that no login can have is a question all the same
    assert root_helper.answer(question[root_helper.TAG_OCTETS :], Files(tmp_path)) == answer


@pytest.mark.parametrize("question", ODD)
def test_a_question_that_is_none_does_not_end_it(tmp_path: Path, question: bytes) -> None:
    with helping(tmp_path) as (ours, thread):
        ours.send(question)
        assert root_helper.HelperClient(ours).row(b"joe") is not None
        assert thread.is_alive()


@pytest.mark.parametrize("allowed", [True, False])
def test_a_weak_hash_is_replaced_only_where_that_is_allowed(tmp_path: Path, allowed: bool) -> None:
    asked: list[tuple[bytes, bytes]] = []

    class Noting(Files):
        def upgrade(self, login: bytes, password: bytes) -> None:
            asked.append((login, password))

    question = b"u" + root_helper.pack([b"joe", b"testpw"])
    assert root_helper.answer(question, Noting(tmp_path), upgrade=allowed) == b"-"
    assert asked == ([(b"joe", b"testpw")] if allowed else [])


class Channel:
    """A channel on a clock of its own: each receive takes a second, and then gives or raises what the test says."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock, self.question, self.waits, self.comes = clock, b"", list[float](), list[bytes | type[Exception]]()

    def settimeout(self, seconds: float) -> None:
        self.waits.append(seconds)

    def send(self, question: bytes) -> None:
        self.question = question

    def recv(self, _octets: int) -> bytes:
        self.clock.now += 1
        answer = self.comes.pop(0)
        if isinstance(answer, bytes):
            return self.question + answer if answer.startswith((b"-", b"!")) else answer
        raise answer


def test_how_long_an_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, late, whole = SimpleNamespace(now=100.0), 0.2, 3.0
    monkeypatch.setattr(root_helper, "LATE_S", late)
    monkeypatch.setattr(root_helper, "ANSWER_S", whole)
    monkeypatch.setattr(
        root_helper, "time", SimpleNamespace(monotonic=lambda: clock.now, monotonic_ns=lambda: int(clock.now * 1e9))
    )
    channel: Any = Channel(clock)
    helper = root_helper.HelperClient(channel)

    def ask(*comes: bytes | type[Exception]) -> object:
        channel.comes, channel.waits = list(comes), []
        try:
            return helper.row(b"joe")
        except OSError as error:
            return str(error)

    assert (ask(b"-"), channel.waits) == (None, [late, whole])
    assert (ask(b"stale", b"stale", b"-"), channel.waits) == (None, [late, whole, whole - 1, whole - 2])
    stale = [b"stale"] * 4
    assert (ask(*stale, b"-"), channel.waits[-2:]) == (None, [0.001, 0.001]), "never without a time, or for ever"
    assert (ask(TimeoutError), channel.waits) == ("the root helper does not answer", [late, whole])
    late_before = ("the root helper does not answer", [late, pytest.approx(late)])
    assert (ask(TimeoutError), channel.waits) == late_before
    assert (ask(b"-"), channel.waits) == (None, [late, pytest.approx(late)])
    assert (ask(b"-"), channel.waits) == (None, [late, whole]), "and is not any more"
    for gone in (b"", BrokenPipeError, ConnectionResetError):
        assert ask(gone) == "the root helper has gone"
    assert ask(b"!").startswith("the root helper cannot use the file, or the line of this login;")


def test_the_unprivileged_end_asks_for_all_that_a_source_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bytes, ...]] = []
    monkeypatch.setattr(root_helper.HelperClient, "_ask", lambda _, *what: asked.append(what) or [b"x"])
    with socket.socket() as channel:
        helper = root_helper.HelperClient(channel)
        assert (helper.fileno(), helper.pid) == (channel.fileno(), 0)
        helper.upgrade(b"joe", b"testpw")
        assert (helper.secret(b"joe", b"apop"), helper.holds(b"scram"), helper.pem()) == (b"x", True, [b"x"])
    assert asked == [(b"u", b"joe", b"testpw"), (b"a", b"joe"), (b"h", b"scram"), (b"p", b"")]


def test_the_longest_login_is_asked_for_and_no_longer_one(tmp_path: Path) -> None:
    with helping(tmp_path) as (ours, _):
        longest = "x" * LOGIN_OCTETS
        (tmp_path / "poppasswd").write_text(f"{longest}:{HOWTO_HASH}:popuser:/box\n{longest}y:*:popuser:/box\n")
        helper = root_helper.HelperClient(ours)
        assert helper.row(longest.encode()) is not None
        assert helper.row(longest.encode() + b"y") is None


@pytest.mark.parametrize(("octets", "told"), [(root_helper.PEM_OCTETS - 1, True), (root_helper.PEM_OCTETS, False)])
def test_certificate_and_key_are_told_up_to_a_length(tmp_path: Path, octets: int, told: bool) -> None:
    chain, key = tmp_path / "chain", tmp_path / "key"
    chain.write_bytes(b"c" * (octets - 7))
    key.write_bytes(b"private")
    answer = root_helper.answer(b"p" + root_helper.pack([b""]), Files(tmp_path), pem=(chain, key))
    assert answer == (b"+" + root_helper.pack([chain.read_bytes(), b"private"]) if told else b"!")


STARTED = """
import os, signal, sys
from pathlib import Path
from mailhost.pop3.auth import root_helper
root_helper.ANSWER_S = root_helper.LATE_S = 60.0
listener, client = os.pipe()
for number in (*range(7, 20), 300):
    os.dup2(listener, number)
(helper,) = root_helper.start(Path(sys.argv[1]), 1)
assert helper.row(b"nobody") is None  # it serves, so it has set itself up
for name in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
    os.kill(helper.pid, name)
print(helper.row(b"joe").home.decode())
descriptors = Path(f"/proc/{helper.pid}/fd")
assert {"0", "1", "2"} <= set(os.listdir(descriptors)), "it may have something to say"
print([name for fd in os.listdir(descriptors) if int(fd) > 2 and "[" in (name := os.readlink(descriptors / fd))])
helper._channel.close()
print(os.waitpid(helper.pid, 0)[1])
(helper,) = root_helper.start(Path(sys.argv[1]), 1)
os.kill(helper.pid, signal.SIGKILL)
os.waitpid(helper.pid, 0)
try:
    helper.row(b"joe")
except OSError as error:
    print(error)
"""


def test_a_helper_outlives_signals_keeps_one_channel_and_ends_with_its_workers(tmp_path: Path) -> None:
    (tmp_path / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\n")
    argv = [sys.executable, "-c", STARTED, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout.splitlines()[:3:2] == ["/box/joe", "0"], done.stderr
    assert done.stdout.endswith("\nthe root helper has gone\n"), "its channel hangs up with it"
    assert done.stdout.count("socket:[") == 1
    assert "pipe:[" not in done.stdout, "the port must be free when the server has gone"


def test_random_questions_do_not_end_it(tmp_path: Path) -> None:
    chance = random.Random(1)
    with helping(tmp_path) as (ours, thread):
        ours.setblocking(False)
        for _ in range(3_000):
            verb = bytes([chance.choice(b"rashup?\0")])
            body = root_helper.pack([b"joe"]) if chance.random() < 0.5 else chance.randbytes(chance.randrange(300))
            question = chance.randbytes(8) + verb + body
            with contextlib.suppress(BlockingIOError):
                ours.send(question[: chance.randrange(len(question) + 1)])
                while True:
                    ours.recv(65_536)
        assert root_helper.HelperClient(ours).row(b"joe") is not None
        assert thread.is_alive()


def test_a_worker_that_takes_no_answers_holds_no_other_up(tmp_path: Path) -> None:
    (tmp_path / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\n")
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    channels = [theirs for _, theirs in pairs]
    thread = threading.Thread(target=root_helper.serve, args=(channels, Files(tmp_path)), daemon=True)
    thread.start()
    deaf, other = (ours for ours, _ in pairs)
    deaf.settimeout(WITHIN_S)
    for _ in range(2_000):  # several times what two sockets hold
        deaf.send(bytes(8) + b"r" + root_helper.pack([b"joe"]))
    assert root_helper.HelperClient(other).row(b"joe") is not None
    for ours, _ in pairs:
        ours.close()
    thread.join(WITHIN_S)
    assert not thread.is_alive()


def test_a_worker_that_has_gone_leaves_the_others_served(tmp_path: Path) -> None:
    (tmp_path / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\n")
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    thread = threading.Thread(
        target=root_helper.serve, args=([theirs for _, theirs in pairs], Files(tmp_path)), daemon=True
    )
    thread.start()
    pairs[0][0].close()
    helper = root_helper.HelperClient(pairs[1][0])
    for _ in range(20):
        assert helper.row(b"joe") is not None
    pairs[1][0].close()
    thread.join(WITHIN_S)
    assert not thread.is_alive()


def test_what_there_is_not_is_told_as_that(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for question in (b"a" + root_helper.pack([b"joe"]), b"h" + root_helper.pack([b"apop"])):
        assert root_helper.answer(question, files) == b"-"
    with pytest.raises(ValueError, match="cut short"):
        root_helper.unpack(b"\0\0\0\5four")


def helper_of(server: Running) -> int:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    (helper,) = {int(pid) for pid in children if "\nUid:\t0\t" in Path(f"/proc/{pid}/status").read_text()}
    return helper


def gone(pid: int) -> bool:
    """Ended; the process that adopted it may not have waited for it yet."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


@as_root
@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_helper_outlives_a_killed_server(box: Box, serve: Serve, workers: str) -> None:
    server = serve("--workers", workers)
    helper = helper_of(server)
    assert not gone(helper)
    server.process.kill()
    server.process.wait()
    assert eventually(lambda: gone(helper))


@as_root
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_helper_that_hangs_delays_no_session_and_no_known_login(box: Box, serve: Serve, workers: str) -> None:
    """Not at a look-up, not at HUP, not at /ready; and who needs it is told so, in time."""
    box.passwords({"testid": HOWTO_HASH, "late": HOWTO_HASH})
    server = serve("--workers", workers, "--metrics", "127.0.0.1:0")
    inside = server.client()
    for _ in range(8):
        known = server.client()
        assert known.login() == b"+OK maildrop ready\r\n"
        assert known.ask(b"QUIT") == b"+OK bye\r\n"
    assert inside.login() == b"+OK maildrop ready\r\n"
    helper = helper_of(server)
    os.kill(helper, signal.SIGSTOP)
    try:
        strangers = [server.client() for _ in range(6)]
        for number, stranger in enumerate(strangers):
            stranger.send(b"USER late\r\nPASS testpw\r\n" if number else b"AUTH SCRAM-SHA-256 biwsbj1hLHI9eA==\r\n")
        server.process.send_signal(signal.SIGHUP)
        for _ in range(5):
            assert inside.ask(b"NOOP") == b"+OK done\r\n"
        inside.sock.settimeout(2)
        assert inside.ask(b"STAT").startswith(b"+OK 0")
        assert http(server, "/metrics").startswith(b"HTTP/1.1 200")
        assert http(server, "/ready").startswith(b"HTTP/1.1 503")
        for stranger in strangers[1:]:
            assert stranger.line() == b"+OK send PASS\r\n"
            assert stranger.line() == b"-ERR [SYS/TEMP] try again later\r\n"
        assert "the root helper does not answer" in server.log()
        assert inside.ask(b"QUIT") == b"+OK bye\r\n"
    finally:
        os.kill(helper, signal.SIGCONT)
    assert eventually(lambda: login(server.client())), "it answers again"
    assert eventually(lambda: http(server, "/ready").startswith(b"HTTP/1.1 200"))


def login(client: Client) -> bool:
    return client.login(b"late") == b"+OK maildrop ready\r\n"
