"""A relay in front of a POP3 host that makes trouble on purpose, by the number of the connection (from 0)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from popbox.clients.wire import Address


@dataclass(frozen=True)
class Trouble:
    """``cut_after`` octets from the host; ``refuse``: this in place of the greeting; ``change``: what the host says.

    ``unknown``: a command that the host does not know.
    """

    cut_after: int | None = None
    refuse: bytes = b""
    refuse_pass: bytes = b""
    unknown: bytes = b"\n"
    change: Callable[[bytes], bytes] = bytes


@contextmanager
def meddler(upstream: Address, plan: Callable[[int], Trouble]) -> Iterator[tuple[Address, list[bytes]]]:
    """Its address, and what clients have sent, a line each."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept() -> None:
            with suppress(OSError):
                number = 0
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_relay, args=(client, upstream, plan(number), heard), daemon=True).start()
                    number += 1

        threading.Thread(target=accept, daemon=True).start()
        yield Address(*listener.getsockname()), heard
        listener.shutdown(socket.SHUT_RDWR)


def _relay(client: socket.socket, upstream: Address, trouble: Trouble, heard: list[bytes]) -> None:
    with client, socket.create_connection(upstream) as host, suppress(OSError):
        if trouble.refuse:
            client.sendall(trouble.refuse)
            return
        threading.Thread(target=_up, args=(client, host, trouble, heard), daemon=True).start()
        left = trouble.cut_after
        while octets := host.recv(65_536):
            octets = trouble.change(octets)
            client.sendall(octets if left is None else octets[:left])
            if left is not None and (left := left - len(octets)) <= 0:
                client.shutdown(socket.SHUT_RDWR)
                return
        client.shutdown(socket.SHUT_WR)


def _up(client: socket.socket, host: socket.socket, trouble: Trouble, heard: list[bytes]) -> None:
    with suppress(OSError):
        for line in client.makefile("rb"):
            heard.append(line)
            if trouble.refuse_pass and line.startswith(b"PASS "):
                client.sendall(trouble.refuse_pass)
                client.shutdown(socket.SHUT_RDWR)
                return
            if line.startswith(trouble.unknown):
                client.sendall(b"-ERR unimplemented\r\n")
                continue
            host.sendall(line)
        host.shutdown(socket.SHUT_WR)
