"""A home, and the stand-in running on it as a program."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mailhost.qmail.newu import newu

IDS = (888, 888) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
WITHIN_S = 60.0


def wait_for(true: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
    """Wait until ``true`` holds."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.01)


class Home:
    """A qmail home with the domain d.com (prefix p) and the requested boxes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.assign: list[str] = []
        for name in ("control", "users", "alias", "popboxes", "queue/lock"):
            (path / name).mkdir(parents=True)
        os.chown(path / "alias", *IDS)
        self.control("me", "mx.example.net\n")
        self.control("locals", "mx.example.net\n")
        self.control("rcpthosts", "d.com\nmx.example.net\n")
        self.control("virtualdomains", "d.com:p\n")

    def control(self, name: str, text: str | bytes) -> None:
        (self.path / "control" / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def box(self, name: str, files: dict[str, str] | None = None, dash: str = "", lines: str = "=") -> Path:
        """Add a box with .qmail files, to users/assign and users/cdb."""
        box = self.path / "popboxes" / name
        for part in ("tmp", "new", "cur"):
            (box / "Maildir" / part).mkdir(parents=True)
        for file, text in (files or {".qmail": "./Maildir/\n"}).items():
            (box / file).write_text(text)
        for path in [box, *box.rglob("*")]:
            os.chown(path, *IDS)
        box.chmod(0o700)
        tail = f":popuser:{IDS[0]}:{IDS[1]}:{box}"
        if "=" in lines:
            self.assign.append(f"=p-{name}{tail}:::\n")
        if "+" in lines:
            self.assign.append(f"+p-{name}-{tail}:-::\n")
        (self.path / "users/assign").write_text("".join(self.assign) + ".\n")
        newu(self.path)
        return box

    def mail(self, box: str = "joe") -> list[bytes]:
        """The messages in a box's new/."""
        new = self.path / "popboxes" / box / "Maildir/new"
        return [(new / name).read_bytes() for name in sorted(os.listdir(new))]

    def queued(self, part: str = "msg") -> list[str]:
        return sorted(os.listdir(self.path / "queue/standin" / part))


class Server:
    """``mailhost serve standin`` as a child."""

    def __init__(self, home: Home, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.home = home
        self.log_file = home.path / f"log.{time.monotonic_ns()}"
        argv = [*prefix, sys.executable, "-m", "mailhost", "--home", str(home.path), "serve", "standin"]
        with self.log_file.open("wb") as log:
            self.child = subprocess.Popen(
                [*argv, "--listen", "127.0.0.1:0", *options], stdout=subprocess.PIPE, stderr=log
            )
        assert self.child.stdout is not None
        self.said = self.child.stdout.readline().decode()
        self.port = int(self.said.rpartition(":")[2]) if self.said else 0

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_log(self, pattern: str, within_s: float = WITHIN_S) -> re.Match[str]:
        wait_for(lambda: re.search(pattern, self.log), f"{pattern} in\n{self.log[-2000:]}", within_s)
        found = re.search(pattern, self.log)
        assert found
        return found

    def talk(self, data: bytes, within_s: float = WITHIN_S) -> bytes:
        """Send all of it and read until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), within_s) as peer:
            peer.sendall(data)
            answer = b""
            while piece := peer.recv(65536):
                answer += piece
        return answer

    def send(self, *to: str, text: bytes = b"Subject: x\n\nhello\n", sender: str = "s@d.com") -> bytes:
        """Send one message; returns the last reply before 221."""
        rcpts = "".join(f"RCPT TO:<{one}>\r\n" for one in to).encode()
        content = text.replace(b"\n", b"\r\n") + b".\r\n"
        answer = self.talk(b"MAIL FROM:<%s>\r\n%sDATA\r\n%sQUIT\r\n" % (sender.encode(), rcpts, content))
        return answer.splitlines()[-2]

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def stop(self) -> int:
        """Send TERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.child.wait(WITHIN_S)

    def kill(self) -> None:
        """kill -9."""
        self.child.kill()
        self.child.wait(WITHIN_S)

    def close(self) -> None:
        if self.child.poll() is None:
            self.kill()
        if self.child.stdout is not None:
            self.child.stdout.close()


Serve = Callable[..., Server]
"""Starts one on the test's home, with these options; the `serve` fixture."""


def cli(home: Home, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ``mailhost ARGV`` on the home."""
    argv = (sys.executable, "-m", "mailhost", "--home", str(home.path), *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WITHIN_S)
