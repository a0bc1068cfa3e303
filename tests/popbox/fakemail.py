"""An SMTP and a POP3 server with one box in memory, broken on purpose as a test says: what the harness must find."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from popbox.clients.wire import Address

Kept = tuple[float, bytes]  # after so many seconds the box holds that, with CR LF line ends
NOWHERE = Address("", 0)
DELIVERY = b"Return-Path: <x@y>\r\nDelivered-To: joe@domain.com\r\n"


def once(message: bytes) -> list[Kept]:
    """As it should be."""
    return [(0.0, message)]


def stuffed(message: bytes) -> bytes:
    """As it should be: dots doubled, and the end."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@dataclass
class FakeMail:
    """``keep`` says what becomes of a message; ``hand_out`` what RETR sends after the line ``status`` gives."""

    keep: Callable[[bytes], list[Kept]] = once
    hand_out: Callable[[bytes], bytes] = stuffed
    status: Callable[[bytes], bytes] = lambda message: b"+OK %d octets\r\n" % len(message)
    size: Callable[[bytes], int] = len
    undot: bool = True
    box: list[Kept] = field(default_factory=list)  # since when (monotonic), octets
    smtp: Address = NOWHERE
    pop3: Address = NOWHERE

    def put(self, message: bytes) -> None:
        """A message has come in."""
        now = time.monotonic()
        self.box += [(now + after_s, octets) for after_s, octets in self.keep(DELIVERY + message)]

    def listed(self) -> list[bytes]:
        """What a login sees now, oldest first."""
        return [octets for since, octets in sorted(self.box) if since <= time.monotonic()]


class Clock:
    """Stands for the module ``time`` where a test says so: time passes where someone sleeps, and only there."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self._now = 1_000.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        mail: FakeMail = self.server.mail  # type: ignore[attr-defined]
        self.wfile.write(b"220 fake\r\n")
        for line in iter(self.rfile.readline, b""):
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                mail.put(b"".join(self._lines(mail.undot)))
                self.wfile.write(b"250 ok 1 qp 1\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")

    def _lines(self, undot: bool) -> Iterator[bytes]:
        for line in iter(self.rfile.readline, b".\r\n"):
            yield line[1:] if undot and line.startswith(b".") else line


class _Pop3(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.mail: FakeMail = self.server.mail  # type: ignore[attr-defined]
        self.seen: list[bytes] = []
        self.gone: set[int] = set()
        self.wfile.write(b"+OK hi\r\n")
        for line in iter(self.rfile.readline, b""):
            verb, *words = line.decode().split()
            answer = getattr(self, f"do_{verb.lower()}", lambda *_: b"+OK\r\n")(*words)
            self.wfile.write(answer)
            if verb == "QUIT":
                return

    def do_pass(self, *_: str) -> bytes:
        self.seen = self.mail.listed()
        return b"+OK\r\n"

    def do_stat(self) -> bytes:
        return b"+OK %d %d\r\n" % (len(self.seen), sum(map(self.mail.size, self.seen)))

    def do_list(self, number: str = "") -> bytes:
        sizes = [b"%d %d\r\n" % (n, self.mail.size(octets)) for n, octets in enumerate(self.seen, 1)]
        return b"+OK " + sizes[int(number) - 1] if number else b"+OK\r\n" + b"".join(sizes) + b".\r\n"

    def do_uidl(self) -> bytes:
        born = {octets: since for since, octets in self.mail.box}
        rows = [b"%d u%d.%d\r\n" % (n, int(born[octets] * 1e6), n) for n, octets in enumerate(self.seen, 1)]
        return b"+OK\r\n" + b"".join(rows) + b".\r\n"

    def do_retr(self, number: str) -> bytes:
        message = self.seen[int(number) - 1]
        return self.mail.status(message) + self.mail.hand_out(message)

    def do_top(self, number: str, _lines: str) -> bytes:
        return b"+OK\r\n" + stuffed(self.seen[int(number) - 1].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    def do_dele(self, number: str) -> bytes:
        self.gone.add(int(number) - 1)
        return b"+OK\r\n"

    def do_quit(self) -> bytes:
        taken = [self.seen[n] for n in self.gone]
        self.mail.box = [one for one in self.mail.box if one[1] not in taken]
        return b"+OK\r\n"


@contextmanager
def serving(mail: FakeMail) -> Iterator[FakeMail]:
    """Both servers on ephemeral ports of 127.0.0.1; their addresses stand in ``mail`` then."""
    servers = []
    for name, handler in (("smtp", _Smtp), ("pop3", _Pop3)):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.block_on_close = True, False
        server.mail = mail  # type: ignore[attr-defined]
        setattr(mail, name, Address(*server.server_address))  # type: ignore[misc]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
    try:
        yield mail
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
