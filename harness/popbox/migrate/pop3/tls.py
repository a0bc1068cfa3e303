"""How certificates and old protocols are judged. The default is strict; each weaker setting needs an option."""

from __future__ import annotations

import ssl
from pathlib import Path

from popbox.migrate.pop3.accounts import Unusable
from popbox.reading import opened


def context(ca_file: Path | None, any_certificate: bool, legacy: bool) -> ssl.SSLContext:
    """A client context. ``legacy`` accepts TLS 1.0, SHA-1 signatures and short keys, as servers of ten years ago have.

    Raises:
        Unusable: the CA file cannot be read, or holds no certificate.
    """
    if ca_file is not None:
        try:
            opened(ca_file).close()  # OpenSSL would wait for a FIFO, and read a device without end
        except OSError as error:
            raise Unusable(ca_file, f"cannot be read: {error.strerror}") from error
    try:
        made = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise Unusable(ca_file or "the CA file", f"holds no usable certificate: {error}") from error
    if any_certificate:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if legacy:
        made.minimum_version = ssl.TLSVersion.TLSv1
        made.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
    return made
