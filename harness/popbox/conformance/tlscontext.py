"""TLS for checks: the handshake is judged, the certificate is not."""

from __future__ import annotations

import ssl


def trusting() -> ssl.SSLContext:
    """A context that takes any certificate: whom to trust is the business of clients, test hosts sign their own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
