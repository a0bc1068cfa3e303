"""A compose project of compose.yaml, driven by commands, as an operator does. For the tests of the images."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.popbox import ROOT

from popbox.clients.smtp import Smtp
from popbox.clients.wire import Address
from popbox.errors import PopboxError
from popbox.hosts.docker import LOCAL_BASE

NAMES = Path("/tmp/popbox-swarmtest.lock")
MESSAGE = b"From: <a@b.example>\nSubject: %s\n\nhello\n"


def until(true: Callable[[], Any], awaited: str, within_s: float = 60.0) -> Any:
    """The first true answer; at the deadline an AssertionError that says what was awaited."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(PopboxError, OSError):
            if answer := true():
                return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {within_s:.0f} s for {awaited}")


@contextmanager
def names(*, lost: bool = False) -> Iterator[None]:
    """While containers of a test find each other by name; ``lost``: while a test takes all names from the engine.

    An engine that leaves its Swarm forgets the names of the containers that run, on each network (tried with 20.10).
    """
    with NAMES.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if lost else fcntl.LOCK_SH)
        yield


class Stack:
    """One project. ``root`` is where its compose.yaml lies; ``variables`` go to that file."""

    def __init__(self, profile: str, root: Path = ROOT, **variables: str) -> None:
        self.mta, self.root = profile, root
        self.project = f"imagetest-{secrets.token_hex(4)}"
        base = os.environ.get("QMAIL_BASE") or LOCAL_BASE
        self.variables = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_PROFILES": profile,
            "POPBOX_SMTP_PORT": "127.0.0.1::25",
            "POPBOX_POP3_PORT": "127.0.0.1::110",
            "POPBOX_POP3S_PORT": "127.0.0.1::995",
            "QMAIL_BASE": base if profile == "qmail" else "",
            **variables,
        }

    def compose(self, *argv: str, check: bool = True, within_s: float = 120.0) -> str:
        """Output of ``docker compose ARGV``; without ``check`` a non-zero exit code is no failure."""
        done = subprocess.run(
            ["docker", "compose", *argv],
            cwd=self.root,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr[-2000:]}"
        return done.stdout + ("" if check else done.stderr)

    def sh(self, service: str, command: str, check: bool = True) -> str:
        """Output of a shell command in a service's container."""
        return self.compose("exec", "-T", service, "sh", "-c", command, check=check)

    def state(self, service: str) -> dict[str, Any]:
        """What ``docker inspect`` says of a service's container."""
        number = self.compose("ps", "--all", "--quiet", service).strip()
        done = subprocess.run(["docker", "inspect", number], capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def smtp(self) -> Smtp:
        """A session with the MTA after its greeting, waited for. A restarted container may have another port."""
        return until(self._greeted, "a greeting")  # type: ignore[no-any-return]

    def _greeted(self) -> Smtp | None:
        port = self.compose("port", self.mta, "25", check=False).strip().rpartition(":")[2]
        if not port.isdigit():
            return None
        session = Smtp(Address("127.0.0.1", int(port)))
        session.command("HELO popbox.invalid")
        return session

    def send(self, subject: bytes, recipient: str = "joe@domain.com") -> None:
        """Hand one message to the MTA."""
        session = self.smtp()
        self.envelope(session, recipient)
        assert session.command("DATA").code == 354
        assert session.data(MESSAGE % subject).ok
        session.command("QUIT")

    def envelope(self, session: Smtp, recipient: str = "joe@domain.com") -> None:
        """MAIL and RCPT, accepted."""
        for line in ("MAIL FROM:<a@b.example>", f"RCPT TO:<{recipient}>"):
            assert session.command(line).ok

    def copies(self, subject: bytes, box: str = "joe") -> int:
        """How many messages with that subject are in the box."""
        pattern = f"grep -lsx 'Subject: {subject.decode()}' /var/qmail/popboxes/domain-com/{box}/Maildir/*/*"
        return len(self.sh("pop3", pattern, check=False).split())


def started(profile: str, **variables: str) -> Iterator[Stack]:
    """A running stack with the boxes joe and slow; ``variables`` go to compose.yaml."""
    stack = Stack(profile, **variables)
    try:
        stack.compose("up", "--detach", "--build", "--wait", within_s=600)
        stack.compose("exec", "-T", profile, "mailhost", "domain", "add", "domain.com")
        for box, login in (("joe", "testid"), ("slow", "slowid")):
            declare = ("mailhost", "mailbox", "add", f"{box}@domain.com", "--login", login, "--crypt", "DmIMm9e5Hc8ic")
            stack.compose("exec", "-T", profile, *declare)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)
