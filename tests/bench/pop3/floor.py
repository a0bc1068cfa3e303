"""The floor of the bench: a server on popbox's own loop that knows every answer beforehand.

It checks no password, opens no box, logs nothing and limits nothing: what a session costs here is the loop and the
system calls of a lock-step session. RETR sends prepared octets, from memory or, where they are many, from a CRLF-ready
file by sendfile(2). With ``delete`` QUIT removes the files of the user's box.
Started as ``python -m tests.bench.pop3.floor HOME PORT MODE MESSAGES OCTETS``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import tempfile
from pathlib import Path

from mailhost.pop3.server.event_loop import Loop

SENDFILE_OCTETS = 1 << 20
OK = b"+OK\r\n"


class Answers:
    """What is said to each command, made once."""

    def __init__(self, home: Path, mode: str, messages: int, octets: int) -> None:
        """``octets`` is a message's size on the wire."""
        self.home, self.mode = home, mode
        line = b"x" * 62 + b"\r\n"
        body = (line * (octets // len(line) + 1))[: octets - 2] + b"\r\n"
        self.retr = b"+OK %d octets\r\n%b.\r\n" % (octets, body)
        self.file = 0
        if octets >= SENDFILE_OCTETS:
            with tempfile.TemporaryFile() as file:
                file.write(self.retr)
                file.flush()
                self.file = os.dup(file.fileno())
        listing = b"".join(b"%d %d\r\n" % (number, octets) for number in range(1, messages + 1))
        self.verbs = {b"USER": OK, b"PASS": OK, b"DELE": OK, b"STAT": b"+OK %d %d\r\n" % (messages, messages * octets)}
        self.verbs[b"LIST"] = b"+OK\r\n%b.\r\n" % listing

    def empty(self, user: bytes) -> None:
        """Remove the messages of a box, as QUIT does after DELE of each."""
        with os.scandir(self.home / "box" / user.decode() / "Maildir" / "cur") as entries:
            paths = [entry.path for entry in entries]
        for path in paths:
            os.remove(path)  # noqa: PTH107  # as the server does, without an object a file


class Session:
    """One connection."""

    __slots__ = ("answers", "begin", "fd", "loop", "user")

    def __init__(self, loop: Loop, fd: int, answers: Answers) -> None:
        """Greets at once."""
        self.loop, self.fd, self.answers = loop, fd, answers
        self.user, self.begin = b"", 0
        os.set_blocking(fd, False)
        os.write(fd, b"+OK <1.2@floor>\r\n")
        loop.add(fd, select.EPOLLIN, self.ready)

    def ready(self, _: int) -> None:
        """A command has come; the load generator sends one at a time."""
        line = os.read(self.fd, 4096)
        verb = line[:4]
        if verb == b"RETR":
            self.begin = 0
            self.send(0)
            if self.begin < len(self.answers.retr):
                self.wait(select.EPOLLOUT)
        elif verb == b"QUIT" or not line:
            if self.answers.mode == "delete" and line:
                self.answers.empty(self.user)
            self.loop.forget(self.fd)
            with contextlib.suppress(OSError):
                os.write(self.fd, OK)
            os.close(self.fd)
        else:
            if verb == b"USER":
                self.user = line[5:-2]
            os.write(self.fd, self.answers.verbs[verb])

    def send(self, mask: int) -> None:
        """As much of the message as fits; ``mask`` is 0 for the first piece."""
        whole, file = self.answers.retr, self.answers.file
        with contextlib.suppress(BlockingIOError):
            while self.begin < len(whole):
                if file:
                    self.begin += os.sendfile(self.fd, file, self.begin, len(whole) - self.begin)
                else:
                    self.begin += os.write(self.fd, memoryview(whole)[self.begin :])
        if mask and self.begin == len(whole):
            self.wait(select.EPOLLIN)

    def wait(self, events: int) -> None:
        """For room, or for the next command."""
        self.loop.remove(self.fd)
        self.loop.add(self.fd, events, self.send if events == select.EPOLLOUT else self.ready)


def main(home: Path, port: int, mode: str, messages: int, octets: int) -> None:
    """Serve until SIGTERM."""
    loop, answers = Loop(), Answers(home, mode, messages, octets)
    signal.signal(signal.SIGTERM, lambda *_: loop.post(loop.stop))
    loop.heed_signals()
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it
        listener.setblocking(False)

        def accept(_: int) -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    Session(loop, listener._accept()[0], answers)  # type: ignore[attr-defined]  # as the server does

        loop.add(listener.fileno(), select.EPOLLIN, accept)
        loop.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
