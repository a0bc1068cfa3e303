"""An SMTP server on loopback for the tests, with one fault or none. It notes each line that it is sent."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
FLOOD = b"250-and more\r\n" * 4096


@dataclass
class Server:
    """What it says. ``fault``: "silent" after connecting, "drip" and "endless" at EHLO, "cut" and "wait" after 220."""

    tls: ssl.SSLContext | None = None
    greeting: str = "220 mx ESMTP"
    ehlo: str = "250-mx\r\n250-PIPELINING\r\n250 STARTTLS"
    starttls: str = "220 go ahead"
    fault: str = ""
    lines: list[str] = field(default_factory=list)
    sessions: int = 0
    port: int = 0

    @contextmanager
    def up(self, host: str, port: int = 0) -> Iterator[Server]:
        """Listening."""
        stop = threading.Event()
        with socket.create_server((host, port)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listener, stop), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                stop.set()
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                thread.join(10)

    def _serve(self, listener: socket.socket, stop: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.sessions += 1
                with connection, contextlib.suppress(OSError):
                    self._session(connection, stop)

    def _session(self, connection: socket.socket, stop: threading.Event) -> None:
        connection.settimeout(10)
        if self.fault == "silent":
            connection.recv(1)
            return
        connection.sendall(self.greeting.encode() + b"\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            verb = line.split()[0].upper()
            self.lines.append(line.decode().strip())
            if verb == b"STARTTLS" and self.starttls.startswith("220"):
                connection.sendall(self.starttls.encode() + b"\r\n")
                if self.fault == "cut":
                    return
                if self.fault == "wait":
                    lines.read()
                    return
                assert self.tls is not None
                connection = self.tls.wrap_socket(connection, server_side=True)
                lines = connection.makefile("rb")
                continue
            if verb == b"EHLO" and self.fault in ("drip", "endless"):
                while not stop.wait(0.05 if self.fault == "drip" else 0):
                    connection.sendall(b"250-a\r\n" if self.fault == "drip" else FLOOD)
            said = {b"EHLO": self.ehlo, b"STARTTLS": self.starttls, b"QUIT": "221 bye"}.get(verb, "500 no")
            connection.sendall(said.encode() + b"\r\n")
            if verb == b"QUIT":
                connection.close()
                return


def context(authority: trustme.CA, *names: str, days: float = 90) -> ssl.SSLContext:
    """A server's side, with a certificate for some names that ends in so many days."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert(*names, not_before=NOW - 400 * DAY, not_after=NOW + days * DAY)
    issued.configure_cert(made)
    return made


def trust(authority: trustme.CA, place: Path) -> str:
    """A file for OpenSSL's SSL_CERT_FILE."""
    file = place / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)
