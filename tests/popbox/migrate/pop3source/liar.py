"""A POP3 server that says what it is told to say: each message with the UIDL, the size and the octets of its choice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from popbox.clients.wire import Address


class Said(NamedTuple):
    """One message: ``wire`` is what follows the status line of RETR, dot and all; ``size`` None: as it is."""

    uidl: str
    wire: bytes
    size: int | None = None


def sent(text: str) -> bytes:
    """A message as a good server sends it."""
    return text.replace("\n.", "\n..").replace("\n", "\r\n").encode("latin-1") + b".\r\n"


def length(one: Said) -> int:
    """Octets, byte-stuffing undone."""
    return len(one.wire.replace(b"\n..", b"\n.")) - 3


@contextmanager
def liar(messages: Sequence[Said]) -> Iterator[Address]:
    """Serves what ``messages`` holds at the time of each command."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=_serve, args=(listener.accept()[0], messages), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield Address(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, messages: Sequence[Said]) -> None:
    with client, suppress(OSError):
        client.sendall(b"+OK\r\n")
        for line in client.makefile("rb"):
            client.sendall(_reply(line.split(), messages))


def _reply(words: list[bytes], messages: Sequence[Said]) -> bytes:
    sizes = [length(one) if one.size is None else one.size for one in messages]
    if words[0] in (b"USER", b"PASS"):
        return b"+OK\r\n"
    if words[0] == b"STAT":
        return b"+OK %d %d\r\n" % (len(messages), sum(sizes))
    if words[0] == b"LIST":
        rows = [b"%d %d\r\n" % row for row in enumerate(sizes, start=1)]
    elif words[0] == b"UIDL":
        rows = [b"%d %s\r\n" % (number, one.uidl.encode()) for number, one in enumerate(messages, start=1)]
    elif words[0] == b"RETR":
        return b"+OK\r\n" + messages[int(words[1]) - 1].wire
    else:
        return b"-ERR unknown\r\n"
    return b"+OK\r\n" + b"".join(rows) + b".\r\n"
