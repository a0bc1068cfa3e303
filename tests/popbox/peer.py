"""A scripted TCP peer for tests: it says what it is told to, right or wrong, and notes what it heard."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from popbox.clients.wire import Address


@dataclass
class Peer:
    """Where the peer listens, and the lines it was sent."""

    address: Address
    heard: list[bytes] = field(default_factory=list)


@contextmanager
def peer(script: Sequence[bytes], *, linger: bool = False, repeat: bool = False) -> Iterator[Peer]:
    """Serve one connection: the first entry at once, each later one after a line was heard, then close.

    ``linger`` keeps the connection open and silent after the script, until the test is over. ``repeat`` serves one
    connection after another so.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    told = Peer(Address(*listener.getsockname()))
    over = threading.Event()

    def serve() -> None:
        while serve_one() and repeat:
            pass

    def serve_one() -> bool:
        try:
            connection, _ = listener.accept()
        except OSError:  # the test is over
            return False
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.settimeout(60)
            for number, octets in enumerate(script):
                if number and not (line := lines.readline()):
                    return True
                if number:
                    told.heard.append(line)
                connection.sendall(octets)
            if linger:
                over.wait(60)
        return True

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        with suppress(OSError):  # wakes the thread where no client ever connected
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)
