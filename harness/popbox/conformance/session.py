"""POP3 over ``Octets``: commands in lock-step, replies kept raw, secrets masked."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from popbox.clients.secret import MASK
from popbox.clients.wire import Address
from popbox.conformance.octets import Octets
from popbox.conformance.verdict import Broken

_STATUS = re.compile(rb"(\+OK|-ERR)(?:[ \r\n]|$)")
_SECRET = re.compile(rb"\s*(PASS|APOP|AUTH)\b ?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is; ``tls`` is set when connections begin with a handshake (POP3S)."""

    address: Address
    timeout_s: float
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its first line as it came and, after ``+OK`` to a multi-line command, the raw lines behind it."""

    raw: bytes
    lines: tuple[bytes, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it begins with ``+OK``.

        Raises:
            Broken: it is neither ``+OK`` nor ``-ERR``.
        """
        found = _STATUS.match(self.raw)
        if found is None:
            raise Broken(f"{self} is neither +OK nor -ERR")
        return found[1] == b"+OK"

    @property
    def text(self) -> bytes:
        """What follows the status indicator and a space, without the line end."""
        return self.raw.rstrip(b"\r\n").partition(b" ")[2]

    @property
    def body(self) -> bytes:
        """The lines joined, byte-stuffing undone (RFC 1939 §3)."""
        return b"".join(line[1:] if line.startswith(b".") else line for line in self.lines)

    def __str__(self) -> str:
        """The first line, quoted, so that spaces at its end are seen."""
        return repr(self.raw.decode("latin-1"))


class Session:
    """One connection to the server under test, greeting read. Use it as a context manager: it closes without QUIT."""

    def __init__(self, target: Target, entered: Callable[[Session], None] = lambda _: None) -> None:
        """Connect and read the greeting, whatever it is. ``entered`` is called after each accepted login."""
        self._entered = entered
        self.wire = Octets(target.address, target.timeout_s, target.tls)
        self.closed_at: float | None = None
        try:
            self.greeting = Reply(self.wire.line("the greeting"))
        except BaseException:
            self.wire.close()
            raise

    def __enter__(self) -> Session:
        """Return the session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close without QUIT: nothing is changed (RFC 1939 §6)."""
        self.close()

    def close(self) -> None:
        """Close without QUIT."""
        self.ending()
        self.wire.close()

    def ending(self) -> None:
        """From now on the server may release its lock on the box; ``send`` notes it for QUIT."""
        self.closed_at = self.closed_at or time.monotonic()

    def send(self, command: bytes, end: bytes = b"\r\n") -> None:
        """Send one line; what may hold a secret is masked in the log."""
        secret = _SECRET.match(command)
        if command.upper() == b"QUIT":
            self.ending()
        self.wire.send(command + end, secret[1].decode("latin-1") + " " + MASK if secret else None)

    def read(self, command: bytes) -> Reply:
        """The one-line reply to ``command``, which only names it: in errors, and as what may have been a login."""
        reply = Reply(self.wire.line(f"the reply to {_named(command)}"))
        if _SECRET.match(command) and reply.raw.startswith(b"+OK"):
            self._entered(self)
        return reply

    def say(self, command: bytes) -> Reply:
        """Send a line, read a line.

        Raises:
            Broken: the server had sent something unasked before.
        """
        self._nothing_unasked()
        self.send(command)
        return self.read(command)

    def multi(self, command: bytes) -> Reply:
        """As ``say``; after ``+OK`` the lines up to the dot as well."""
        return self.rest(command, self.say(command))

    def rest(self, command: bytes, reply: Reply) -> Reply:
        """``reply`` with the lines behind it, which are read now if it is ``+OK``."""
        if not reply.ok:
            return reply
        return Reply(reply.raw, tuple(self.wire.lines(f"the lines of {_named(command)} and a dot")))

    def login(self, login: str, password: str) -> Reply:
        """USER and PASS; the reply to PASS, or to USER where that was refused."""
        reply = self.say(b"USER " + login.encode())
        return self.say(b"PASS " + password.encode()) if reply.ok else reply

    def alive(self) -> bool:
        """Whether the server still answers; for the state after something odd. NOOP is +OK or -ERR in any state."""
        self.send(b"NOOP")
        return self.read(b"NOOP").raw.startswith((b"+OK", b"-ERR"))

    def _nothing_unasked(self) -> None:
        unread = self.wire.unread()
        if unread:
            raise Broken(f"said without being asked: {unread[:80]!r}")


def _named(command: bytes) -> str:
    secret = _SECRET.match(command)
    text = command[:40].decode("latin-1")
    return f"{secret[1].decode('latin-1')} {MASK}" if secret else text
