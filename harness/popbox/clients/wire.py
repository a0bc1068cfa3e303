"""A TCP connection that speaks lines, logs all of them and never waits without a deadline."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from popbox.clients.secret import Secrets
from popbox.errors import ConnectionFailed, StepTimeout

LINE_OCTETS = 1 << 20  # our choice: no server we talk to sends longer lines; it bounds memory


class Address(NamedTuple):
    """Where a service listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Logged:
    """One line as it went over the wire, without its line end. ``at_s`` counts from the connection's start."""

    side: str  # "C" or "S", "-" for a remark
    text: str
    at_s: float
    octets: bytes = b""  # as they went, but for a secret: then those of ``text``
    ended: bytes = b"\r\n"  # the line end as it went: CR LF, or from some servers a bare LF
    secret: str = field(default="", repr=False)  # what `secret.MASK` stands for in ``text``

    def __str__(self) -> str:
        """The transcript form: ``C: text`` or ``S: text``."""
        return f"{self.side}: {self.text}"


def readable(octets: bytes) -> str:
    """Octets for a person: UTF-8 where they are valid, otherwise ``\\xNN``, so that none is hidden."""
    return octets.decode("utf-8", "backslashreplace")


def connected(address: Address, timeout_s: float) -> socket.socket:
    """A TCP connection made within ``timeout_s``, without Nagle's delay.

    Raises:
        ConnectionFailed: the peer refused or did not answer, or its name cannot be looked up.
    """
    try:
        connection = socket.create_connection(address, timeout=timeout_s)
    except UnicodeError as error:  # Python's, before it asks for a label that is empty or longer than 63 octets
        raise ConnectionFailed(f"cannot connect to {address}: that is no name of a host") from error
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {address}: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Wire:
    """One connection. Its log shows no password."""

    def __init__(self, address: Address, timeout_s: float = 10.0) -> None:
        """Connect within ``timeout_s``, which also bounds each later read.

        Raises:
            ConnectionFailed: the peer refused or did not answer.
        """
        connection = connected(address, timeout_s)
        self._begin(connection, str(address), timeout_s, lambda: None)

    @classmethod
    def over(cls, connection: socket.socket, peer: str, timeout_s: float, end: Callable[[], None]) -> Self:
        """A wire over a connected socket, such as one end of a pair; ``end`` is called when it closes."""
        wire = cls.__new__(cls)
        wire._begin(connection, peer, timeout_s, end)
        return wire

    def _begin(self, connection: socket.socket, peer: str, timeout_s: float, end: Callable[[], None]) -> None:
        self.peer, self.timeout_s = peer, timeout_s
        self.log: list[Logged] = []
        self._secrets = Secrets()
        self._socket, self._end = connection, end
        self.began = time.monotonic()
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def secure(self, context: ssl.SSLContext, server_name: str) -> None:
        """Begin TLS; what came in plain text before is thrown away (RFC 2595 §4).

        Raises:
            ConnectionFailed: the handshake failed.
        """
        self._buffer.clear()
        try:
            self._socket.settimeout(self.timeout_s)
            secured = context.wrap_socket(self._socket, server_hostname=server_name)
        except OSError as error:  # ssl.SSLError is one
            raise ConnectionFailed(f"{self.peer}: TLS failed: {error}") from error
        self._socket = secured
        self._note("-", f"TLS: {secured.version()}".encode())

    @property
    def tls(self) -> tuple[str, bytes]:
        """The protocol's version and the peer's certificate in DER, empty where there is none."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return "", b""
        return self._socket.version() or "", self._socket.getpeercert(binary_form=True) or b""

    def close(self) -> None:
        """Close the connection; harmless when done twice."""
        self._socket.close()
        self._end()

    def hang_up(self, within_s: float = 2.0) -> None:
        """Send nothing, and close once the server has seen the end: then it holds no lock any more."""
        deadline = time.monotonic() + within_s
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while (left_s := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                if not self._socket.recv(65536):
                    break
        self.close()

    def transcript(self) -> tuple[str, ...]:
        """All lines so far in ``C:``/``S:`` form."""
        return tuple(map(str, self.log))

    def send_line(self, line: bytes, shown: str | None = None) -> None:
        """Send ``line`` and CR LF; the log shows ``shown`` in its place, and does not keep what that hides."""
        self._note("C", line, shown=shown)
        self.send_octets(line + b"\r\n")

    def note_sent(self, line: bytes) -> None:
        """Log a line that went out through ``send_octets``."""
        self._note("C", line)

    def send_octets(self, octets: bytes) -> None:
        """Send octets as they are, without logging them.

        Raises:
            ConnectionFailed: the peer has closed the connection.
        """
        try:
            self._socket.settimeout(self.timeout_s)
            self._socket.sendall(octets)
        except OSError as error:
            raise ConnectionFailed(f"{self.peer} closed the connection while we sent: {error}") from error

    def read_line(self, awaited: str = "a line") -> bytes:
        """The next line without its LF or CR LF.

        Raises:
            StepTimeout: no line came in time.
            ConnectionFailed: the stream ended.
        """
        deadline = time.monotonic() + self.timeout_s
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_OCTETS:
                raise ConnectionFailed(f"{self.peer} sent a line of more than {LINE_OCTETS} octets")
            self._buffer += self._receive(deadline, awaited)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        bare = line.removesuffix(b"\r")
        self._note("S", bare, line[len(bare) :] + b"\n")
        return bare

    def _receive(self, deadline: float, awaited: str) -> bytes:
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))  # zero would mean: do not block
            octets = self._socket.recv(65536)
        except TimeoutError:
            raise StepTimeout(f"{awaited} from {self.peer}", self._last(), self.timeout_s) from None
        except OSError as error:
            raise ConnectionFailed(f"{self.peer} broke the connection: {error}; last: {self._last()}") from error
        if not octets:
            raise ConnectionFailed(
                f"{self.peer} closed the connection instead of sending {awaited}; last: {self._last()}"
            )
        return octets

    def _last(self) -> str:
        return str(self.log[-1]) if self.log else "nothing"

    def _note(self, side: str, line: bytes, ended: bytes = b"\r\n", shown: str | None = None) -> None:
        text, secret, at_s = readable(line), "", time.monotonic() - self.began
        if side == "C":
            text, secret = self._secrets.sent(text)
            text, secret = (text, secret) if shown is None else (shown, "")
        elif side == "S":
            text = self._secrets.heard(text)
        self.log.append(Logged(side, text, at_s, line if text == readable(line) else text.encode(), ended, secret))
