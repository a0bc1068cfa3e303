"""A lock-step POP3 client on a raw socket (RFC 1939): what it reads is what the server sent, octet for octet."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Self

from popbox.clients.body import Body
from popbox.clients.secret import MASK, masked
from popbox.clients.wire import Address, Wire, readable
from popbox.errors import PopboxError


class Pop3Refused(PopboxError):
    """The server answered ``-ERR``; names the command (secrets masked) and the reply."""

    def __init__(self, command: str, reply: str) -> None:
        """``reply`` is the whole line."""
        super().__init__(f"{command}: {reply}")
        self.command, self.reply = command, reply


class Pop3:
    """One POP3 session. Commands raise Pop3Refused, ConnectionFailed or StepTimeout."""

    def __init__(self, address: Address, timeout_s: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        """Connect and read the greeting; with ``tls`` the connection begins with a handshake."""
        self.wire = Wire(address, timeout_s)
        self.received: Body | None = None  # what the last RETR gave
        try:
            if tls:
                self.wire.secure(tls, address.host)
            self.greeting = self._status("the greeting")
        except BaseException:
            self.wire.close()
            raise

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection without QUIT: nothing is deleted or moved (RFC 1939 §6)."""
        self.wire.close()

    def command(self, line: str, shown: str | None = None) -> str:
        """Send one line, return the text after ``+OK``; ``shown`` stands in log and errors for one with a secret."""
        self.wire.send_line(line.encode("utf-8"), shown)
        return self._status(shown or masked(line))

    def _status(self, command: str) -> str:
        line = readable(self.wire.read_line(f"the reply to {command}"))
        if line == "+OK" or line.startswith("+OK "):
            return line[4:]
        raise Pop3Refused(command, self.wire.log[-1].text)

    def multiline(self, line: str) -> list[bytes]:
        """Send a command with a multi-line reply; returns its lines without dot-stuffing and without the end."""
        self.command(line)
        lines: list[bytes] = []
        while (got := self.wire.read_line(f"the lines of {line}")) != b".":
            lines.append(got[1:] if got.startswith(b".") else got)
        return lines

    def login(self, login: str, password: str) -> None:
        """USER and PASS; the log does not keep the password."""
        self.command(f"USER {login}")
        self.command(f"PASS {password}", shown=f"PASS {MASK}")

    def stat(self) -> tuple[int, int]:
        """Number of messages and octets."""
        count, octets = self.command("STAT").split()[:2]
        return int(count), int(octets)

    def listing(self, verb: str = "LIST") -> dict[int, str]:
        """LIST or UIDL: message number -> size or unique-id."""
        pairs = (readable(line).split(" ", 1) for line in self.multiline(verb))
        return {int(number): value for number, value in pairs}

    def body(self, number: int) -> Body:
        """RETR: the message as it came over the wire."""
        before = len(self.wire.log) + 1  # the command itself
        self.multiline(f"RETR {number}")
        status, *lines, end = self.wire.log[before:]
        self.received = Body(status, tuple(lines), end)
        return self.received

    def retrieve(self, number: int) -> bytes:
        """RETR: the message with LF line ends, each sent line ended by one."""
        return self.body(number).text

    def head(self, number: int) -> bytes:
        """TOP n 0: the header, with LF line ends; the whole message where the server has no TOP."""
        try:
            return b"".join(line + b"\n" for line in self.multiline(f"TOP {number} 0"))
        except Pop3Refused:
            return self.retrieve(number)

    def quit(self) -> None:
        """QUIT: enter the UPDATE state."""
        self.command("QUIT")
