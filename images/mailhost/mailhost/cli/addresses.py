"""``ADDR:PORT`` on a command line, and as messages show it."""

from __future__ import annotations

import ipaddress


def host_and_port(text: str) -> tuple[str, int]:
    """Host (an IPv6 address without its brackets) and port of ``ADDR:PORT``.

    Raises:
        ValueError: it is no address, the text says why.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not ADDR:PORT")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if bracketed or not bare.strip("0123456789."):  # else a name, which the system looks up
        try:
            version: int = ipaddress.ip_address(bare).version
        except ValueError:
            version = 0
        if version != (6 if bracketed else 4):
            raise ValueError(f"{text!r} is not ADDR:PORT: {bare!r} is no IPv{6 if bracketed else 4} address")
    elif set(bare) & set(":[]"):
        raise ValueError(f"{text!r} is not ADDR:PORT; an IPv6 address stands in brackets, as in [::1]:110")
    return bare, int(port)


def shown(host: str, port: int) -> str:
    """``127.0.0.1:110``, ``[::1]:110``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
