"""TLS on a non-blocking socket, with the calls a ``Connection`` makes. Imported only where a certificate is given."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from pathlib import Path

from mailhost.system.tls import server_context


def load_texts(texts: list[bytes]) -> ssl.SSLContext:
    """The same from the files' contents: ssl takes paths only, so they are files in memory for as long as that needs.

    Raises:
        OSError: certificate and key do not belong together, or are none.
    """
    with contextlib.ExitStack() as held:
        paths: list[Path] = []
        for text in texts:
            file = held.enter_context(open(os.memfd_create("pem", os.MFD_CLOEXEC), "wb", buffering=0))  # noqa: PTH123
            file.write(text)
            paths.append(Path(f"/proc/self/fd/{file.fileno()}"))
        return server_context(paths[0], paths[1] if len(paths) > 1 else None)


class Tls:
    """TLS on a descriptor, which is this object's to close from now on; "not now" is always ``BlockingIOError``."""

    def __init__(self, fd: int, context: ssl.SSLContext) -> None:
        sock, self._lost = socket.socket(fileno=fd), False
        sock.setblocking(False)  # ssl takes over what the object believes of its descriptor
        try:
            self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:  # the peer has gone already, and ssl has closed the descriptor
            self._lost = True

    def handshake(self) -> int:
        """Go on with the handshake: 0 when done, otherwise the epoll events to wait for.

        Raises:
            OSError: the peer has gone, or does not speak TLS, or not as we do.
        """
        if self._lost:
            raise ConnectionResetError
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        return 0

    def recv(self, octets: int) -> bytes:
        """As ``socket.recv``; a connection cut without close_notify reads as its end.

        Raises:
            BlockingIOError: nothing can be read now.
            OSError: the connection failed.
        """
        try:
            return self._tls.recv(octets)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLEOFError:
            return b""

    def send(self, data: bytes | memoryview) -> int:
        """As ``socket.send``, but goes on after each TLS record, of 16 KiB, until the socket is full.

        Raises:
            BlockingIOError: the socket is full.
            OSError: the connection failed.
        """
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += self._tls.send(view[done:])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not done:
                raise BlockingIOError from None
        return done

    def pending(self) -> int:
        """Decrypted octets that epoll does not know of."""
        return self._tls.pending()

    def close(self) -> None:
        """Say close_notify, so that the client can tell the end from a cut, and close."""
        if self._lost:
            return
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        self._tls.close()
