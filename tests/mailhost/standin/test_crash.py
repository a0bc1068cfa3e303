"""kill -9 under load: what got 250 is delivered; duplicates only where a crash fell between delivery and its record."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.standin.support import Home, Server, wait_for

Serve = Callable[..., Server]
CONCURRENCY = 20
KILLS = 5
MESSAGES = int(os.environ.get("POPBOX_CRASH_MESSAGES", "1500"))


class Load:
    """Clients that send numbered messages to whatever port is current, and note which got 250."""

    def __init__(self, messages: int) -> None:
        self.accepted: set[str] = set()
        self.server: Server | None = None
        self._numbers = iter(range(messages))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(CONCURRENCY)]
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
        """Whether this number is done with: answered, or cut off after its content was sent (its fate is open)."""
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
    """token/box -> copies."""
    found: Counter[str] = Counter()
    for box in range(6):
        for path in Path(home.path, f"popboxes/b{box}/Maildir/new").iterdir():
            token = re.search(rb"token-\d+-", path.read_bytes())
            assert token, f"a mutilated message: {path}"
            found[f"{token[0].decode()}/b{box}"] += 1
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
    copies = tokens(home)
    for token in load.accepted:
        number = int(token.split("-")[1])
        assert copies[f"{token}/b{number % 5}"] >= 1, f"{token} got 250 and is lost"
        if number % 10 == 0:
            assert copies[f"{token}/b5"] >= 1, f"{token} got 250 and is lost for its second recipient"
    twice = sum(count - 1 for count in copies.values())
    print(f"{len(load.accepted)} accepted, {sum(copies.values())} delivered, {twice} duplicates after {KILLS} kills")
    record_property("duplicates", twice)
    # Each kill can hit at most the deliveries that ran, and the clients that were not answered send again.
    assert twice <= KILLS * (10 + CONCURRENCY)
    assert home.queued("state") == []
    assert home.queued("tmp") == []
    assert last.stop() == 0


def resources(server: Server) -> tuple[int, int]:
    """(open descriptors, threads)."""
    proc = Path(f"/proc/{server.child.pid}")
    return len(os.listdir(proc / "fd")), len(os.listdir(proc / "task"))


def test_nothing_leaks(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    for _ in range(20):
        server.send("joe@d.com", "gone@d.com", sender="joe@d.com")
    wait_for(lambda: not home.queued(), "an empty queue")
    before = resources(server)
    for _ in range(150):
        server.send("joe@d.com", "gone@d.com", sender="joe@d.com")
        server.talk(b"MAIL FROM:<>\r\nRCPT TO:<joe@d.com>\r\nDATA\r\nbare\nlf\r\n")
    wait_for(lambda: not home.queued(), "an empty queue")
    time.sleep(0.1)
    after = resources(server)
    assert after[0] <= before[0]
    assert after[1] <= 20  # pools that have a limit
    assert home.queued("tmp") == home.queued("state") == []
