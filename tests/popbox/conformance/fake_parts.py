"""What the fake server is made of: its faults, its replies, its state."""

from __future__ import annotations

import itertools
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popbox.clients.wire import Address

LOGIN, PASSWORD = "testid", "testPW1x"
CAPABILITIES = (
    "TOP|UIDL|USER|PIPELINING|RESP-CODES|AUTH-RESP-CODE|SASL PLAIN|UTF8|LANG|LOGIN-DELAY 0|EXPIRE NEVER|"
    "IMPLEMENTATION fake"
)


@dataclass
class Exchange:
    """A command, the reply that is right, and what the session knows."""

    line: bytes
    verb: str
    argument: str
    logged_in: bool
    reply: bytes
    session: Any

    @property
    def ok(self) -> bool:
        """Whether the right reply is +OK."""
        return self.reply.startswith(b"+OK")


@dataclass(frozen=True)
class Faults:
    """What is wrong on purpose. ``spoil`` changes a file before it is sent, ``wire`` the encoded body."""

    switches: frozenset[str] = frozenset()
    reply: Callable[[Exchange], bytes] = lambda exchange: exchange.reply
    greeting: Callable[[bytes], bytes] = lambda line: line
    spoil: Callable[[bytes], bytes] = lambda octets: octets
    wire: Callable[[bytes], bytes] = lambda body: body


def ok(text: str = "") -> bytes:
    """A +OK line."""
    return f"+OK {text}".rstrip().encode("latin-1") + b"\r\n"


def err(text: str) -> bytes:
    """A -ERR line."""
    return f"-ERR {text}\r\n".encode("latin-1")


def listed(head: str, lines: list[str]) -> bytes:
    """A multi-line reply."""
    return ok(head) + "".join(f"{line}\r\n" for line in lines).encode() + b".\r\n"


def with_ends(octets: bytes) -> bytes:
    """A file with CR LF at each line end."""
    lines = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def stuffed(body: bytes) -> bytes:
    """Dots doubled, and the dot that ends the reply."""
    return re.sub(rb"^\.", b"..", body, flags=re.MULTILINE) + b".\r\n"


@dataclass
class Fake:
    """The server: where it listens, its box, and what it gets wrong."""

    maildir: Path
    faults: Faults
    address: Address
    tls: ssl.SSLContext | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    serials: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    open: set[socket.socket] = field(default_factory=set)
    current: Any = None
    heard: list[tuple[bool, str]] = field(default_factory=list)  # after login?, verb

    def has(self, switch: str) -> bool:
        """Whether a fault is on."""
        return switch in self.faults.switches

    def scan(self) -> list[Path]:
        """The messages in order."""
        files = [f for part in ("new", "cur") for f in (self.maildir / part).iterdir()]
        return sorted(files, key=lambda f: f.name)
