"""A connection that keeps every octet: replies are judged as they came, line ends included."""

from __future__ import annotations

import socket
import ssl
import time
from types import TracebackType
from typing import Self

from popbox.clients.ready import comes
from popbox.clients.wire import LINE_OCTETS, Address, Logged, connected
from popbox.errors import ConnectionFailed, StepTimeout

SHOWN_OCTETS = 160  # our choice: a transcript is for reading, a 1 MB line is not
SHOWN_LINES = 400


class Octets:
    """One TCP or TLS connection with a log. Reads raise StepTimeout, or ConnectionFailed at the end of the stream."""

    def __init__(self, address: Address, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        """Connect; with ``tls`` shake hands at once. ``timeout_s`` bounds the connection and each later read."""
        self.address, self.timeout_s = address, timeout_s
        self.log: list[Logged] = []
        self._began = time.monotonic()
        self._buffer = bytearray()
        self._socket = connected(address, timeout_s)
        if tls is not None:
            self.secure(tls)

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, without QUIT."""
        self.close()

    def close(self) -> None:
        """Close the socket; harmless when done twice."""
        self._socket.close()

    def secure(self, context: ssl.SSLContext) -> None:
        """Shake hands; what was buffered in the clear is dropped.

        Raises:
            ConnectionFailed: the handshake failed.
        """
        self._buffer.clear()
        self._socket.settimeout(self.timeout_s)
        try:
            self._socket = context.wrap_socket(self._socket)
        except (OSError, ValueError) as error:
            self._socket.close()
            raise ConnectionFailed(f"no TLS with {self.address}: {error}") from error
        self._note("-", f"TLS: {self.tls_version()}")

    def tls_version(self) -> str:
        """Such as ``TLSv1.3``; empty in the clear."""
        return (self._socket.version() or "") if isinstance(self._socket, ssl.SSLSocket) else ""

    def send(self, octets: bytes, shown: str | None = None) -> None:
        """Send octets as they are; ``shown`` stands in the log for what holds a secret.

        Raises:
            ConnectionFailed: the connection broke.
        """
        self._note("C", octets.removesuffix(b"\r\n").decode("latin-1") if shown is None else shown)
        try:
            self._socket.settimeout(self.timeout_s)
            self._socket.sendall(octets)
        except OSError as error:
            raise ConnectionFailed(f"the connection broke while we sent: {error}") from error

    def end_sending(self) -> None:
        """Close our half of the connection.

        Raises:
            ConnectionFailed: the connection broke.
        """
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise ConnectionFailed(f"the connection broke: {error}") from error

    def line(self, awaited: str) -> bytes:
        """The next line with its end, as it came.

        Raises:
            ConnectionFailed: the line is too long, or the connection has ended.
        """
        deadline = time.monotonic() + self.timeout_s
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > 4 * LINE_OCTETS:
                raise ConnectionFailed(f"a line of more than {4 * LINE_OCTETS} octets")
            self._receive(deadline - time.monotonic(), awaited)
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._note("S", line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1"))
        return line

    def lines(self, awaited: str) -> list[bytes]:
        """The lines of a multi-line reply, raw, without the dot that ends it."""
        got: list[bytes] = []
        while (line := self.line(awaited)) not in (b".\r\n", b".\n"):
            got.append(line)
        return got

    def unread(self, wait_s: float = 0.0) -> bytes:
        """What has come without being asked for, after waiting up to ``wait_s`` for it."""
        deadline = time.monotonic() + wait_s
        while not self._buffer and self._readable(max(deadline - time.monotonic(), 0.0)):
            if self._take() == 0:
                break
        return bytes(self._buffer)

    def ended(self, wait_s: float) -> bool:
        """Whether the server closes within ``wait_s``; octets that come before are kept for ``line``."""
        deadline = time.monotonic() + wait_s
        while self._readable(max(deadline - time.monotonic(), 0.0)):
            if self._take() == 0:
                return True
        return False

    def _readable(self, wait_s: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return comes(self._socket.fileno(), wait_s)

    def _take(self) -> int | None:
        """What is there, without waiting: octets, 0 at the end, None for TLS records that hold none."""
        try:
            self._socket.settimeout(0)
            octets = self._socket.recv(262_144)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:  # reset: the end as well
            return 0
        self._buffer += octets
        return len(octets)

    def _acknowledge_at_once(self) -> None:
        """Servers that write a reply in pieces wait for each acknowledgement: 40 ms a command, if we are slow."""
        if hasattr(socket, "TCP_QUICKACK"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _receive(self, wait_s: float, awaited: str) -> None:
        last = str(self.log[-1]) if self.log else "nothing"
        try:
            self._acknowledge_at_once()
            self._socket.settimeout(max(wait_s, 0.001))
            octets = self._socket.recv(262_144)
        except TimeoutError:
            raise StepTimeout(awaited, last, self.timeout_s) from None
        except OSError as error:
            raise ConnectionFailed(f"the connection broke instead of {awaited}: {error}") from error
        if not octets:
            raise ConnectionFailed(f"the server closed instead of sending {awaited}; last: {last}")
        self._buffer += octets

    def _note(self, side: str, text: str) -> None:
        if len(text) > SHOWN_OCTETS:
            text = f"{text[:SHOWN_OCTETS]} ... ({len(text)} octets)"
        if len(self.log) >= SHOWN_LINES:
            del self.log[SHOWN_LINES // 2 : SHOWN_LINES // 2 + 1]
        self.log.append(Logged(side, text, time.monotonic() - self._began))
