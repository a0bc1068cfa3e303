"""kill -9 under load: what got 250 is delivered; duplicates only where a crash fell between delivery and its record."""

from __future__ import annotations

import concurrent.futures
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.standin.support import Home, Serve, Server, wait_for

CONCURRENCY = 20
KILLS = 5
MESSAGES = int(os.environ.get("POPBOX_CRASH_MESSAGES", "1500"))
LEAK_MESSAGES = int(os.environ.get("POPBOX_LEAK_MESSAGES", "1000"))


class Load:
    """Clients that send numbered messages to the current port, and record which got 250."""

    def __init__(self, messages: int) -> None:
        self.accepted: set[str] = set()
        self.server: Server | None = None
        self._numbers = iter(range(messages))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CONCURRENCY)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            token = f"token-{number}-"
            while not self._one(token, number):
                time.sleep(0.02)

    def _one(self, token: str, number: int) -> bool:
        """Whether this number is finished: answered, or disconnected after its content was sent (stored or not)."""
        if self.server is None:
            return False
        to = [f"b{number % 5}@d.com"] + (["b5@d.com"] if number % 10 == 0 else [])
        try:
            reply = self.server.send(*to, text=f"Subject: {token}\n\nx\n".encode())
        except (OSError, IndexError):
            return False
        if b" qp " in reply:  # "250 ok" alone is the answer to RCPT, last heard when we were cut off
            with self._lock:
                self.accepted.add(token)
            return True
        return False

    def done(self) -> int:
        with self._lock:
            return len(self.accepted)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def tokens(home: Home) -> Counter[str]:
    """token/box/number of the message -> copies."""
    found: Counter[str] = Counter()
    for box in range(6):
        for path in Path(home.path, f"popboxes/b{box}/Maildir/new").iterdir():
            text = path.read_bytes()
            token = re.search(rb"\(popbox stand-in (\d+) invoked(?s:.)*(token-\d+-)(?s:.)*\n\nx\n\Z", text)
            assert token, f"a mutilated message: {path}"
            found[f"{token[2].decode()}/b{box}/{token[1].decode()}"] += 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_five_kills_under_load_lose_nothing(home: Home, serve: Serve, record_property: Callable[..., None]) -> None:
    for number in range(6):
        home.box(f"b{number}")
    load = Load(MESSAGES)
    for kill in range(KILLS):
        load.server = server = serve()
        goal = (kill + 1) * MESSAGES // (KILLS + 1)
        wait_for(lambda goal=goal: load.done() >= goal, f"{goal} accepted messages", 60)  # type: ignore[misc]
        server.kill()
    load.server = last = serve()
    load.join()
    wait_for(lambda: not home.queued(), "an empty queue", 60)
    found = tokens(home)
    places = Counter(one.rpartition("/")[0] for one in found)
    for token in load.accepted:
        number = int(token.split("-")[1])
        assert places[f"{token}/b{number % 5}"] >= 1, f"{token} got 250 and is lost"
        if number % 10 == 0:
            assert places[f"{token}/b5"] >= 1, f"{token} got 250 and is lost for its second recipient"
    again = sum(count - 1 for count in found.values())
    sent_twice = sum(count - 1 for count in places.values())
    print(f"{len(load.accepted)} accepted, {sum(found.values())} delivered; after {KILLS} kills")
    print(f"{again} delivered twice, {sent_twice} accepted twice because the client was not answered")
    record_property("delivered twice", again)
    record_property("accepted twice", sent_twice)
    assert again <= KILLS * 10  # what ran when the kill came: between delivery and its record
    assert sent_twice <= KILLS * CONCURRENCY * 2  # of two recipients
    assert home.queued("state") == []
    assert home.queued("tmp") == []
    assert last.stop() == 0


def resources(server: Server) -> tuple[int, int, int]:
    """(open descriptors, threads, resident KiB)."""
    proc = Path(f"/proc/{server.child.pid}")
    resident = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
    assert resident
    return len(os.listdir(proc / "fd")), len(os.listdir(proc / "task")), int(resident[1])


def transaction(to: bytes, content: bytes = b"Subject: x\r\n\r\nhello\r\n.\r\n") -> bytes:
    return (
        b"MAIL FROM:<joe@d.com>\r\n" + b"".join(b"RCPT TO:<%s>\r\n" % to for to in to.split()) + b"DATA\r\n" + content
    )


def burst(server: Server, messages: int) -> None:
    """Send messages by four clients, fifty in each connection: good ones, bounces, bare LFs, connections cut inside."""
    fifty = transaction(b"joe@d.com") * 48 + transaction(b"joe@d.com gone@d.com") * 2
    connections = iter(range(messages // 50))
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                number = next(connections, None)
            if number is None:
                return
            assert server.talk(fifty + b"QUIT\r\n", 60).count(b" qp ") == 50
            server.talk(transaction(b"joe@d.com", b"bare\nlf\r\n"))
            with socket.create_connection(("127.0.0.1", server.port)) as peer:
                peer.sendall(transaction(b"joe@d.com", b"cut" * (100_000 if number % 20 == 0 else 1)))

    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        for one in [clients.submit(run) for _ in range(4)]:
            one.result()


@pytest.mark.timeout(60 + LEAK_MESSAGES / 50)
def test_nothing_leaks(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    burst(server, 400)
    wait_for(lambda: not home.queued(), "an empty queue", 60)
    before = resources(server)
    burst(server, LEAK_MESSAGES)
    wait_for(lambda: not any(map(home.queued, ("msg", "state", "tmp"))), "an empty queue", 60)
    wait_for(lambda: resources(server)[0] <= before[0], f"{before[0]} descriptors again")
    after = resources(server)
    print(f"{LEAK_MESSAGES} messages: descriptors, threads, KiB {before} -> {after}")
    assert after[1] <= 20  # pools that have a limit
    assert after[2] - before[2] < 16 << 10
    assert len(os.listdir(home.path / "popboxes/joe/Maildir/new")) == (400 + LEAK_MESSAGES) * 52 // 50
    assert server.stop() == 0
