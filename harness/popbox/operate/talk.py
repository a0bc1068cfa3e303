"""A conversation by hand, as with telnet(1).

Typed lines go out with CR LF. Answers are printed as they are, except for control characters on a terminal.
"""

from __future__ import annotations

import selectors
import socket
from typing import IO

from popbox.clients.wire import Address, connected
from popbox.errors import ConnectionFailed
from popbox.printable import plain

CONNECT_S = 10.0
ANSWER_S = 5.0  # our choice: how long a line from a pipe waits for its answer to begin
QUIET_S = 0.1  # our choice: an answer that has paused so long is over
LAST_S = 2.0  # our choice: what may still come after the last line


def converse(address: Address, source: IO[str], sink: IO[str]) -> None:
    """Talk until the peer closes, or the input has ended and nothing more comes.

    Lines that a person types are sent as they come. Lines from a file or a pipe wait for the answer to the one before:
    a server that takes no pipelining (qmail-popup, Q-POPUP-14) would lose them.

    Raises:
        ConnectionFailed: the peer cannot be reached, or breaks the connection.
    """
    with connected(address, CONNECT_S) as peer:
        try:
            (_typed if source.isatty() else _piped)(peer, source, sink)
        except OSError as error:
            raise ConnectionFailed(f"{address} broke the connection: {error}") from error


def _typed(peer: socket.socket, source: IO[str], sink: IO[str]) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(peer, selectors.EVENT_READ)
        ready.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is peer and not _show(peer, sink):
                    return
                if key.fileobj is not peer:
                    line = source.readline()
                    if not line:
                        _show_until_quiet(peer, sink, LAST_S)
                        return
                    _say(peer, line)


def _piped(peer: socket.socket, source: IO[str], sink: IO[str]) -> None:
    open_ = _show_until_quiet(peer, sink, ANSWER_S)
    for line in source:
        if not open_:
            return
        _say(peer, line)
        open_ = _show_until_quiet(peer, sink, ANSWER_S)
    if open_:
        _show_until_quiet(peer, sink, LAST_S)


def _say(peer: socket.socket, line: str) -> None:
    peer.settimeout(ANSWER_S)
    peer.sendall(line.rstrip("\r\n").encode("utf-8", "surrogateescape") + b"\r\n")


def _show_until_quiet(peer: socket.socket, sink: IO[str], first_s: float) -> bool:
    """Print what comes, waiting ``first_s`` seconds for it to begin, up to a pause. Whether the peer is still there."""
    wait_s = first_s
    while True:
        peer.settimeout(wait_s)
        try:
            if not _show(peer, sink):
                return False
        except TimeoutError:
            return True
        wait_s = QUIET_S


def _show(peer: socket.socket, sink: IO[str]) -> bool:
    octets = peer.recv(65536)
    text = octets.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    sink.write(plain(text) if sink.isatty() else text)
    sink.flush()
    return bool(octets)
