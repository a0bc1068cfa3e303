"""The header fields that the stand-in writes, and text safe for a log line. Pure. Source: Q-HDR-1..6, Q-SEND-17."""

from __future__ import annotations

import time
from dataclasses import dataclass

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_TRACE_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@%+/=:-[]")
_TRACE = bytes(octet if octet in _TRACE_KEPT else 0x3F for octet in range(256))
_LOGGED = bytes(
    0x2F if octet == 0x0A else octet if 33 <= octet <= 126 and octet != 0x25 else 0x5F for octet in range(256)
)
# RFC 5322 atoms; a local part made of them and single inner dots needs no quotes.
_ATOM = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+/=?^_`{|}~-.")


@dataclass(frozen=True, slots=True)
class Peer:
    """The peer of a connection: ``ip`` as text, ``host`` its name or ``unknown``, ``local`` our own name."""

    ip: bytes
    local: bytes
    host: bytes = b"unknown"


def date(seconds: float) -> bytes:
    """``22 Nov 2026 07:47:30 -0000`` (Q-HDR-3)."""
    t = time.gmtime(seconds)
    return b"%d %s %d %02d:%02d:%02d -0000" % (
        t.tm_mday, _MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec,
    )  # fmt: skip


def mbox_date(seconds: float) -> bytes:
    """``Sun Nov 22 07:47:30 2026``, the form of a From_ line (Q-MBOX-2)."""
    t = time.gmtime(seconds)
    return b"%s %s %02d %02d:%02d:%02d %d" % (
        _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1], t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, t.tm_year,
    )  # fmt: skip


def received_smtp(peer: Peer, helo: bytes | None, seconds: float) -> bytes:
    """The trace field of the SMTP side; it shows HELO where that differs from the peer's name (Q-HDR-1, -2)."""
    shown = b" (HELO %s)" % _safe(helo) if helo is not None and helo.lower() != peer.host.lower() else b""
    by = _safe(peer.local)
    return b"Received: from %s%s (%s)\n  by %s (popbox stand-in) with SMTP; %s\n" % (
        _safe(peer.host), shown, _safe(peer.ip), by, date(seconds),
    )  # fmt: skip


def received_queue(number: int, who: bytes, seconds: float) -> bytes:
    """The queue's own trace field; ``who``: ``from network``, ``for bounce``, ``by uid N``."""
    return b"Received: (popbox stand-in %d invoked %s); %s\n" % (number, who, date(seconds))


def _safe(text: bytes) -> bytes:
    return text.translate(_TRACE)


def quoted(address: bytes) -> bytes:
    """The address, its local part quoted where needed (RFC 5322 §3.4.1); empty stays empty (Q-HDR-6)."""
    if not address:
        return b""
    local, at, host = address.rpartition(b"@")
    if not at:
        local, host = address, b""
    if _plain(local):
        return address
    escaped = b"".join(b"\\%c" % octet if octet in b'"\\\n\r' else b"%c" % octet for octet in local)
    return b'"' + escaped + b'"' + at + host


def _plain(local: bytes) -> bool:
    return bool(local) and _ATOM.issuperset(local) and not (
        local.startswith(b".") or local.endswith(b".") or b".." in local
    )  # fmt: skip


def return_path(sender: bytes) -> bytes:
    """``Return-Path: <sender>``; a line feed cannot break the field."""
    return b"Return-Path: <" + quoted(sender).replace(b"\n", b"_") + b">\n"


def delivered_to(local: bytes, host: bytes) -> bytes:
    """``Delivered-To: local@host``, the rewritten address with its case kept (Q-HDR-5)."""
    return b"Delivered-To: " + (local + b"@" + host).replace(b"\n", b"_") + b"\n"


def mbox_from(sender: bytes, seconds: float) -> bytes:
    """The From_ line; blanks in the sender become dashes (Q-MBOX-2)."""
    name = sender.translate(bytes.maketrans(b" \t\n", b"---")) if sender else b"MAILER-DAEMON"
    return b"From " + name + b" " + mbox_date(seconds) + b"\n"


def logged(text: bytes) -> str:
    """The text for a log line: LF becomes ``/``, and what is not printable ASCII ``_`` (Q-SEND-17)."""
    return text.translate(_LOGGED).decode("ascii")
