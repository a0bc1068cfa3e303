"""What every TLS server of the mail host offers. Imported only where there is a certificate: `ssl` costs memory."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from mailhost.system.reading import open_given


def server_context(cert: Path, key: Path | None) -> ssl.SSLContext:
    """A server context: TLS 1.2 and later (RFC 8314 §4.1), without renegotiation and compression (RFC 9325 §3.3, §3.5).

    Raises:
        OSError: a file cannot be read, the key is encrypted, or certificate and key do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    for path in (cert, key):
        if path is not None:
            os.close(open_given(path))  # OpenSSL would wait for a FIFO, and read a device without end
    context.load_cert_chain(cert, key, _no_pass_phrase)
    return context


def _no_pass_phrase() -> str:
    """In place of OpenSSL's own, which asks at the terminal, or reads standard input, and waits."""
    raise OSError("the key is encrypted, and a server has no one to ask for its pass phrase")
