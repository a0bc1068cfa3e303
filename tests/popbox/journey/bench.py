"""A host whose logs, rules and Maildirs a test writes, its store, and a recorder that can die."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.popbox.fakehost import FakeHost

from popbox.environment import NOTHING
from popbox.errors import HostError
from popbox.hosts.base import Ability, Command, Ran
from popbox.hosts.following import FileFollower
from popbox.journey.model import Journey
from popbox.journey.recorder import Recorder
from popbox.journey.store import Filters, Store

BOX = "popboxes/d/joe/Maildir"
ENDS = {"accepted": True, "ends": [["maildir", f"/HOME/{BOX}", "", "", ""]]}


@dataclass
class Host(FakeHost):
    """A home on this machine, with logs, rules and Maildirs that the test writes."""

    top: Path = Path()
    uid: int = field(default_factory=os.geteuid)
    ends: dict[str, Any] = field(default_factory=lambda: ENDS)
    blind: str = ""

    def home(self) -> str:
        return str(self.top)

    def cannot(self, ability: Ability) -> str:
        return self.blind if ability is Ability.FILES else ""

    def follow(self, service: str, position: str = "") -> FileFollower:
        return FileFollower(self.top / service, position)

    def read(self, path: str) -> bytes:
        try:
            return (self.top / path).read_bytes()
        except OSError as error:
            raise HostError(str(error)) from error

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        lines = [json.dumps({"version": 1}), *(json.dumps(self.ends) for _ in stdin.splitlines())]
        return Ran(argv, 0, "\n".join(lines).replace("/HOME", self.home()), "")

    def beside(self, *argv: str) -> Command:
        return Command(["python3", *argv], {**NOTHING, "PATH": os.environ["PATH"]})


class Bench:
    """A host, its store, and a recorder that can die."""

    def __init__(self, top: Path) -> None:
        self.host = Host(top=top)
        for name in ("new", "cur", "tmp"):
            (top / BOX / name).mkdir(parents=True)
        (top / "users").mkdir()
        (top / "users/poppasswd").write_text(f"testid:x:popuser:{top}/popboxes/d/joe\n")
        self.open()
        self.recorder.run_pass()  # from now on the logs are read as they come

    def open(self) -> None:
        self.store = Store.open(self.host.top / "journeys.db")
        self.recorder = Recorder.on(self.host, self.store)

    def close(self) -> None:
        self.recorder.close()
        self.store.close()

    def logged(self, number: int = 7, qp: int = 41, size: int = 194, sender: str = "a@b.org") -> None:
        lines = (
            f"info msg {number}: bytes {size} from <{sender}> qp {qp} uid 1\nstarting delivery {number}: "
            f"msg {number} to local d-joe@d.org\ndelivery {number}: success: did_1+0+0/\nend msg {number}\n"
        )
        self.write("smtp", lines)

    def write(self, log: str, lines: str) -> None:
        with (self.host.top / log).open("a") as file:
            file.write(lines)

    def put(self, name: str, qp: int = 41, size: int = 194, sender: str = "a@b.org", at: float | None = None) -> Path:
        """A file as qmail-local writes it, whose queue file has that size."""
        day = time.strftime("%d %b %Y %H:%M:%S", time.gmtime(at or time.time()))
        queued = f"Received: (qmail {qp} invoked from network); {day} -0000\n"
        queued += f"Subject: =?utf-8?q?h=C3=A9?=\nMessage-ID: <{name}>\n\n"
        queued += "x" * (size - len(queued))
        path = self.host.top / BOX / "new" / f"{int(at or time.time())}.{name}"
        path.write_text(f"Return-Path: <{sender}>\nDelivered-To: d-joe@d.org\n{queued}")
        path.chmod(0o600)
        return path

    def popped(self, name: str, event: str = "retrieved", session: str = "<1>", login: str = "testid") -> None:
        line = {
            "time": time.time(),
            "event": event,
            "id": session,
            "login": login,
            "uidl": name,
            "octets": 9,
            "file": name,
        }
        self.write("pop3", json.dumps(line) + "\n")

    def one(self, **filters: str) -> Journey:
        self.recorder.run_pass()
        (found,) = self.store.search(Filters(**filters))
        journey = self.store.journey(found)
        assert journey is not None
        return journey
