"""CAPA: what can be had in the present state (RFC 2449, 3206, 5034, 2595, 6856)."""

from __future__ import annotations

from mailhost.pop3.events import Reply
from mailhost.pop3.state import Memory


def capability_reply(memory: Memory) -> Reply:
    """The multi-line reply to CAPA, the same before and after login: RFC 2449 §5 has it so, with a MUST."""
    words = _qmail(memory) if memory.profile.plain else _standard(memory)
    words.append(b"IMPLEMENTATION popbox-" + memory.profile.name.encode("ascii"))
    return Reply(b"+OK capabilities\r\n" + b"".join(word + b"\r\n" for word in words) + b".\r\n")


def _standard(memory: Memory) -> list[bytes]:
    """The list of the rfc1939 profile."""
    features = memory.features
    words = [b"TOP", b"UIDL", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"EXPIRE NEVER", b"UTF8", b"LANG"]
    if features.login_delay_s:
        words.append(b"LOGIN-DELAY %d" % features.login_delay_s)
    if features.plaintext:
        words.append(b"USER")
    mechanisms = sasl_mechanisms(memory)
    if mechanisms:
        words.append(b"SASL " + b" ".join(mechanisms))
    if features.tls and not features.secure:
        words.append(b"STLS")
    return words


def _qmail(memory: Memory) -> list[bytes]:
    """The qmail profile answers CAPA only so that a client can find STLS, which the old host did not have."""
    words = [b"TOP", b"UIDL", b"USER"]
    if memory.features.tls and not memory.features.secure:
        words.append(b"STLS")
    return words


def sasl_mechanisms(memory: Memory) -> list[bytes]:
    """The mechanisms AUTH takes now; PLAIN shows the password, so it goes where USER and PASS go."""
    names = [b"PLAIN"] if memory.features.plaintext else []
    return [*names, b"SCRAM-SHA-256"] if memory.features.scram else names
