"""The address in the argument of MAIL or RCPT. Pure: reads no file and asks no interface. Source: Q-ADDR-1..8."""

from __future__ import annotations

import re

LONGEST = 899  # octets after parsing; the only syntax refusal there is (Q-ADDR-8)
_LITERAL = re.compile(rb"\[(\d+)\.(\d+)\.(\d+)\.(\d+)\]")


def parse(argument: bytes) -> bytes:
    """The address, unquoted and without source route; empty where the argument holds none.

    Source: RFC 5321 §4.1.2, appendix C; Q-ADDR-1..6.
    """
    if b"<" in argument:
        text, end = argument.partition(b"<")[2], b">"
    else:
        text, end = argument.partition(b":")[2].lstrip(b" "), b" "
    if text.startswith(b"@"):
        text = text.partition(b":")[2]
    if b'"' in text or b"\\" in text:
        return _unquote(text, end)
    return text.partition(end)[0]


def _unquote(text: bytes, end: bytes) -> bytes:
    """Up to an unquoted ``end``; quotes vanish, a backslash makes the next octet plain (Q-ADDR-5)."""
    result = bytearray()
    quoted = escaped = False
    for octet in text:
        if escaped:
            escaped = False
        elif octet == 0x5C:
            escaped = True
            continue
        elif octet == 0x22:
            quoted = not quoted
            continue
        elif octet == end[0] and not quoted:
            break
        result.append(octet)
    return bytes(result)


def localize(address: bytes, interfaces: frozenset[str], name: bytes | None) -> bytes:
    """``user@[d.d.d.d]`` with ``name`` for the literal, when it is one of this host's ``interfaces``.

    Source: RFC 5321 §4.1.3, Q-ADDR-7.
    """
    user, at, host = address.rpartition(b"@")
    found = _LITERAL.fullmatch(host) if at and name is not None else None
    if found is None or name is None:
        return address
    dotted = ".".join(str(_octet(digits)) for digits in found.groups())
    return user + at + name if dotted in interfaces or dotted == "0.0.0.0" else address  # noqa: S104 - compared, not bound


def _octet(digits: bytes) -> int:
    """A decimal number modulo 256: 256 divides 10^8, so the last eight digits decide."""
    return int(digits[-8:]) % 256
