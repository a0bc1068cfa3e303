"""What every TLS server of the mail host offers. Imported only where there is a certificate: `ssl` costs memory."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(cert: Path, key: Path | None) -> ssl.SSLContext:
    """A server context: TLS 1.2 and later (RFC 8314 §4.1), without renegotiation and compression (RFC 9325 §3.3, §3.5).

    Raises:
        OSError: a file cannot be read, or certificate and key do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(cert, key)
    return context
