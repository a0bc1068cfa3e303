"""The floor of the bench: a server on popbox's own loop that knows every answer beforehand.

It checks no password, logs nothing and limits nothing: what a session costs here is the loop and the system calls of a
lock-step session. RETR sends prepared octets, from memory or, where they are many, from a CRLF-ready file by
sendfile(2). With ``delete`` QUIT removes the files of the user's box.
With ``--files`` it also makes the calls on files that no server can do without: the box is opened, locked and looked at
for changes, and each message that RETR asks for opened, looked at and read, though what is sent was prepared.
Started as ``python -m tests.bench.pop3.floor HOME PORT MODE MESSAGES OCTETS [--files]``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import tempfile
from pathlib import Path

from mailhost.pop3.server.event_loop import Loop

SENDFILE_OCTETS = 1 << 20
PIECE_OCTETS = 1 << 16
OK = b"+OK\r\n"


class Answers:
    """What is said to each command, made once."""

    def __init__(self, home: Path, mode: str, messages: int, octets: int, *, files: bool) -> None:
        """``octets`` is a message's size on the wire."""
        self.home, self.mode, self.files = home, mode, files
        self.names: dict[bytes, list[str]] = {}
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


class Box:
    """The calls on files that a session of popbox makes too."""

    __slots__ = ("fd", "names")

    def __init__(self, answers: Answers, user: bytes) -> None:
        """Opened and locked; its names are known from the session before, but where that removed the files."""
        maildir = answers.home / "box" / user.decode() / "Maildir"
        self.fd = os.open(maildir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("new", "cur"):
            os.stat(name, dir_fd=self.fd)
        if user not in answers.names or answers.mode == "delete":
            answers.names[user] = [f"cur/{name}" for name in os.listdir(maildir / "cur")]
        self.names = answers.names[user]

    def read(self, number: int) -> None:
        """One message, whole."""
        fd = os.open(self.names[number - 1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        left = os.fstat(fd).st_size
        while left:
            left -= len(os.read(fd, min(left, PIECE_OCTETS)))
        os.close(fd)


class Session:
    """One connection."""

    __slots__ = ("answers", "begin", "box", "fd", "loop", "user")

    def __init__(self, loop: Loop, fd: int, answers: Answers) -> None:
        """Greets at once."""
        self.loop, self.fd, self.answers = loop, fd, answers
        self.user, self.begin = b"", 0
        self.box: Box | None = None
        os.set_blocking(fd, False)
        os.write(fd, b"+OK <1.2@floor>\r\n")
        loop.add(fd, select.EPOLLIN, self.ready)

    def ready(self, _: int) -> None:
        """A command has come; the load generator sends one at a time."""
        try:
            line = os.read(self.fd, 4096)
        except ConnectionResetError:  # the bench looks whether the port answers, and does not read the banner
            line = b""
        verb = line[:4]
        if verb == b"RETR":
            if self.box is not None:
                self.box.read(int(line[5:]))
            self.begin = 0
            self.send(0)
            if self.begin < len(self.answers.retr):
                self.wait(select.EPOLLOUT)
        elif verb == b"QUIT" or not line:
            if self.answers.mode == "delete" and line:
                self.answers.empty(self.user)
            if self.box is not None:
                os.close(self.box.fd)
            self.loop.forget(self.fd)
            with contextlib.suppress(OSError):
                os.write(self.fd, OK)
            os.close(self.fd)
        else:
            if verb == b"USER":
                self.user = line[5:-2]
            elif verb == b"PASS" and self.answers.files:
                self.box = Box(self.answers, self.user)
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


def main(home: Path, port: int, mode: str, messages: int, octets: int, *, files: bool) -> None:
    """Serve until SIGTERM."""
    loop, answers = Loop(), Answers(home, mode, messages, octets, files=files)
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
    home, port, mode, messages, octets, *more = sys.argv[1:]
    main(Path(home), int(port), mode, int(messages), int(octets), files=bool(more))
