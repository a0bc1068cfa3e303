"""Mail that arrives during the move: the sheet followed step by step, with senders that never stop."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.houses import csv

from popbox.cli.migrate import migrate
from popbox.clients.smtp import deliver
from popbox.clients.wire import Address
from popbox.errors import ConnectionFailed, StepTimeout
from popbox.hosts.base import closing
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry

BOXES = ("joe", "ann", "bob")
TOKEN = re.compile(rb"^X-Token: (\S+)", re.MULTILINE)


class Sender:
    """Sends to whatever MX says, keeps what was not taken, and tries that again: as the world's mail hosts do."""

    def __init__(self, mx: Address) -> None:
        self.mx = mx
        self.sent: list[str] = []
        self.refused = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            token = f"t{len(self.sent)}"
            to = BOXES[len(self.sent) % len(BOXES)]
            while not self._taken(token, to):
                self.refused += 1
                time.sleep(0.02)
            self.sent.append(token)
            time.sleep(0.005)

    def _taken(self, token: str, to: str) -> bool:
        text = f"Subject: {token}\nX-Token: {token}\nMessage-ID: <{token}@a.example>\n\nHello {to}\n".encode()
        with suppress(ConnectionFailed, StepTimeout):
            return deliver(self.mx, "paul@a.example", (f"{to}@domain.com",), text).accepted
        return False

    def more(self, count: int) -> None:
        """Wait until so many more have been taken."""
        due, deadline = len(self.sent) + count, time.monotonic() + 120
        while len(self.sent) < due:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def turned_away(self) -> None:
        """Wait until the one that is on the wire now has come to its end, and another has found no listener."""
        due, deadline = self.refused + 2, time.monotonic() + 120
        while self.refused < due:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> None:
        self._over.set()
        self._thread.join(120)
        assert not self._thread.is_alive()


@contextmanager
def host() -> Iterator[LocalHost]:
    with tempfile.TemporaryDirectory() as state, closing(LocalHost.start(Registry(Path(state)))) as up:
        yield up


def tokens(home: str) -> Counter[str]:
    """What lies in the boxes, by token; not what is on its way into one, which has a name in tmp/ and one in new/."""
    files = (file for part in ("new", "cur") for file in Path(home).glob(f"popboxes/*/*/Maildir/{part}/*"))
    return Counter(found[1].decode() for file in files if (found := TOKEN.search(file.read_bytes())))


def delivered(up: LocalHost, count: int) -> None:
    """Wait until the queue has run empty: so many are in boxes."""
    deadline = time.monotonic() + 120
    while sum(tokens(up.home()).values()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def bring(source: LocalHost, to: Path, home: str, *more: str) -> dict[str, Any]:
    """One pass of the import, as the sheet says it."""
    file = to.with_suffix(".json")
    argv = ["import", source.home(), "--as", source.home(), "--qmail-home", source.home(), "--to", str(to)]
    done = CliRunner().invoke(migrate, [*argv, "--home", home, "--json", str(file), *more], standalone_mode=False)
    assert done.return_value == 0, (done.output, done.exception)
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def proof(old: LocalHost, new: LocalHost, place: Path) -> int:
    accounts = csv(place / "a.csv", BOXES)
    sides = ["--old", str(old.address("pop3")), "--new", str(new.address("pop3")), "--accounts", str(accounts)]
    argv = ["verify", *sides, "--json", str(place / "verify.json")]
    return int(CliRunner().invoke(migrate, argv, standalone_mode=False, catch_exceptions=False).return_value)


@pytest.mark.slow
def test_mail_goes_to_exactly_one_place(place: Path) -> None:
    with host() as old, host() as new:
        assert old.run("domain", "add", "domain.com").code == 0
        for name in BOXES:
            made = old.run("mailbox", "add", f"{name}@domain.com", "--login", name, "--password-stdin", stdin=b"testpw")
            assert made.code == 0, made.stderr
        sender = Sender(old.address("smtp"))
        sender.more(20)
        new.stop("smtp")

        presync = bring(old, place / "move", new.home())
        sender.more(10)

        old.stop("smtp")  # freeze; the one that is on the wire now is taken whole or not at all
        sender.turned_away()
        taken = len(sender.sent)
        delivered(old, taken)
        refused = sender.refused
        assert proof(old, new, place) == 1, "what came after the presync must show"

        final = bring(old, place / "move", new.home(), "--final")
        assert proof(old, new, place) == 0
        assert tokens(new.home()) == tokens(old.home())

        new.restart("smtp", time.monotonic() + 60)  # switch
        sender.mx = new.address("smtp")
        sender.more(10)
        sender.end()
        delivered(new, len(sender.sent))

        assert sender.refused > refused, "no one sent during the freeze: the test proves nothing"
        assert presync["copied"] > 0
        assert final["final"] is True
        assert final["copied"] >= 10
        assert tokens(new.home()) == Counter(sender.sent), "each exactly once, and on the new host"
        assert set(tokens(old.home())) == set(sender.sent[: sum(tokens(old.home()).values())])
        assert max(tokens(old.home()).values()) == 1
        assert len(sender.sent) >= sum(tokens(old.home()).values()) + 10, "later mail is on the new host alone"

        new.stop("smtp")  # roll back, as the sheet says it
        bring(new, place / "back", old.home())
        assert tokens(old.home()) == Counter(sender.sent)
        assert proof(old, new, place) == 0
