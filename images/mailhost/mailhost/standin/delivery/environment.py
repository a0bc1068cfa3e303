"""The environment of a program delivery. Pure. Source: Q-PROG-3, qmail-command(8)."""

from __future__ import annotations

from dataclasses import dataclass

from mailhost.qmail.controlfile import c_string


@dataclass(frozen=True, slots=True)
class Variables:
    """What the variables are made from: the assignment's fields, the routed address, the three header lines."""

    user: bytes
    home: bytes
    local: bytes
    host: bytes
    ext: bytes
    default: bytes | None
    sender: bytes
    newsender: bytes
    dtline: bytes
    rpline: bytes
    ufline: bytes


def environment(of: Variables) -> dict[bytes, bytes]:
    """Name -> value; DEFAULT only where a .qmail-...default file decided. Source: qmail-command(8), Q-PROG-3."""
    values = {
        b"USER": of.user, b"HOME": of.home, b"LOCAL": of.local, b"HOST": of.host,
        b"RECIPIENT": of.local + b"@" + of.host, b"SENDER": of.sender, b"NEWSENDER": of.newsender, b"EXT": of.ext,
        b"DTLINE": of.dtline, b"RPLINE": of.rpline, b"UFLINE": of.ufline,
    }  # fmt: skip
    host, ext = of.host, of.ext
    for number in (b"2", b"3", b"4"):
        host = host.rpartition(b".")[0] if b"." in host else host
        ext = ext.partition(b"-")[2]
        values[b"HOST" + number] = host
        values[b"EXT" + number] = ext
    if of.default is not None:
        values[b"DEFAULT"] = of.default
    return {name: c_string(value) for name, value in values.items()}
