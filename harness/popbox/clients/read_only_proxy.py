"""A POP3 server on loopback that hands a box of another host to a mail program, and lets it change nothing.

The program logs in with anything, so it never holds the password. The proxy answers QUIT and DELE itself: on
the host behind it, QUIT may rename files. The address stays while the host behind it is replaced, as a name does in
DNS on the day of a move: mail programs remember "seen" messages by that address.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedRWPair

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.clients.pop3 import Pop3Refused
from popbox.clients.wire import Address
from popbox.errors import PopboxError

CLIENT_S = 60.0  # our choice: a mail program that is silent for so long has hung
COMMAND_OCTETS = 1024
WHOLE_LINES = 1000  # fetchmail asks for whole messages by TOP with a huge count

Opener = Callable[[], AbstractContextManager[BulkPop3]]
"""Opens the host behind, logged in."""


class ReadOnlyProxy:
    """``behind`` may be replaced between connections. ``fetched`` holds the number of each message handed out."""

    def __init__(self, listener: socket.socket) -> None:
        """Serve connections of ``listener`` until it is closed."""
        self.behind: Opener | None = None
        self.fetched: list[int] = []
        self.failed = ""
        self._listener = listener
        host, port = listener.getsockname()[:2]
        self.address = Address(host, port)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(CLIENT_S)
                with connection, connection.makefile("rwb") as client:
                    self._serve(client)

    def _serve(self, client: BufferedRWPair) -> None:
        try:
            assert self.behind is not None
            with self.behind() as stream:
                _say(client, b"+OK ready")
                while (line := client.readline(COMMAND_OCTETS)) and self._answer(client, stream, line.decode().strip()):
                    pass
        except (OSError, PopboxError, UnicodeDecodeError) as error:
            self.failed = str(error)

    def _answer(self, client: BufferedRWPair, stream: BulkPop3, line: str) -> bool:
        """One command; False at the end of the session."""
        verb, _, argument = line.upper().partition(" ")
        if verb in ("USER", "PASS", "QUIT", "NOOP", "RSET"):
            _say(client, b"+OK")
        elif verb not in ("STAT", "LIST", "UIDL", "RETR", "TOP", "LAST"):
            _say(client, b"-ERR not through this read-only proxy")
        else:
            self._pass_on(client, stream, line, verb, argument)
        return verb != "QUIT"

    def _pass_on(self, client: BufferedRWPair, stream: BulkPop3, line: str, verb: str, argument: str) -> None:
        try:
            text = stream.command(line)
        except Pop3Refused as refusal:
            _say(client, refusal.reply.encode())
            return
        _say(client, b"+OK " + text.encode())
        if verb in ("RETR", "TOP") or (verb in ("LIST", "UIDL") and not argument):
            for piece in stuffed(stream.body(line)):
                client.write(piece)
            _say(client, b".")
        number, _, count = argument.partition(" ")
        if verb == "RETR" or (verb == "TOP" and int(count or 0) > WHOLE_LINES):
            self.fetched.append(int(number))


def stuffed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Dots at the beginning of lines doubled (RFC 1939 §3), wherever the pieces are cut."""
    at_start = True
    for piece in pieces:
        yield (b"." if at_start and piece.startswith(b".") else b"") + piece.replace(b"\n.", b"\n..")
        at_start = piece.endswith(b"\n") if piece else at_start


def _say(client: BufferedRWPair, line: bytes) -> None:
    client.write(line + b"\r\n")
    client.flush()


@contextmanager
def read_only_proxy() -> Iterator[ReadOnlyProxy]:
    """A proxy on an ephemeral port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            yield ReadOnlyProxy(listener)
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
