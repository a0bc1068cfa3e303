"""When a certificate ends, read from its DER: `ssl` does not report that for a file."""

from __future__ import annotations

import base64
import re
import sys
import time
from calendar import timegm
from pathlib import Path

from mailhost.system.reading import read_given

CHAIN = Path("/etc/popbox/tls/fullchain.pem")
"""Where the images have it."""

PEM_OCTETS = 1 << 20
"""A larger file is no chain (our choice)."""

LATE_DAYS = 14
"""Renewal is late from here on (our choice): certbot and cert-manager renew a month before the end."""

MISSING = "the certificate is missing, so TLS is off until it comes"

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


def not_after(pem: bytes) -> float:
    """Seconds since 1970 at which the first certificate of a chain ends (RFC 5280 §4.1.2.5).

    Raises:
        ValueError: the text holds no certificate.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("no certificate in PEM")
    der = base64.b64decode(found[1])
    try:
        _, at, _ = _value(der, 0)  # Certificate
        _, at, _ = _value(der, at)  # tbsCertificate
        tag, _, end = _value(der, at)
        fields = 3 if tag == _VERSION else 2  # version, serial number, signature; then issuer
        for _ in range(fields):
            at = end
            _, _, end = _value(der, at)
        tag, at, _ = _value(der, end)  # validity
        _, _, end = _value(der, at)  # notBefore
        kind, at, stop = _value(der, end)
    except IndexError:
        raise ValueError("no certificate in DER") from None
    if tag != _SEQUENCE or kind not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("no certificate in DER")
    text = der[at:stop].decode("ascii")
    if kind == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    if len(text) != 15 or text[14] != "Z" or not text[:14].isdigit():
        raise ValueError("no certificate in DER")
    # Not by time.strptime: it loads a module when first called, from root's Python perhaps, which popuser cannot read.
    year, rest = int(text[:4]), [int(text[at : at + 2]) for at in range(4, 14, 2)]
    return float(timegm((year, *rest)))


def _value(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, beginning and end of the value at ``at``.

    Raises:
        IndexError: it is cut short.
    """
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        start += count
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise IndexError
    return tag, start, start + length


def late(chain: Path, now: float) -> str:
    """What to say about a certificate that has ended, was not renewed in time, or is missing in its folder.

    Empty where there is nothing to say: a host without TLS has no such folder either.
    """
    try:
        end = not_after(read_given(chain, PEM_OCTETS))
    except FileNotFoundError:
        return f"{chain}: {MISSING}" if chain.parent.is_dir() else ""
    except (OSError, ValueError) as why:
        return f"{chain}: {getattr(why, 'strerror', None) or why}"
    if end - now > LATE_DAYS * 86_400:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end))
    return f"{chain}: the certificate {'has ended' if end <= now else 'ends'} on {when}, it should have been renewed"


def main() -> int:
    """For health checks: say what is late; exit 1 where it is."""
    said = late(CHAIN, time.time())
    if said:
        print(said)
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
