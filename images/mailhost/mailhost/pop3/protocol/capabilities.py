"""CAPA: what is available in the present state (RFC 2449, 3206, 5034, 2595, 6856)."""

from __future__ import annotations

from mailhost.pop3.protocol.events import Reply
from mailhost.pop3.protocol.state import SessionState, State


def capability_reply(context: SessionState) -> Reply:
    """The multi-line reply to CAPA: the same before and after login (RFC 2449 §5, a MUST), but for STLS.

    STLS alone is registered for the AUTHORIZATION state only (RFC 2595 §4); every other capability is for both states.
    """
    words = _qmail(context) if context.profile.qmail_quirks else _standard(context)
    words.append(b"IMPLEMENTATION popbox-" + context.profile.name.encode("ascii"))
    return Reply(b"+OK capabilities\r\n" + b"".join(word + b"\r\n" for word in words) + b".\r\n")


def _standard(context: SessionState) -> list[bytes]:
    """The list of the rfc1939 profile."""
    features = context.features
    words = [b"TOP", b"UIDL", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"EXPIRE NEVER", b"LANG"]
    if not features.behind_popup:
        words.append(b"UTF8")
    if features.login_delay_s:
        words.append(b"LOGIN-DELAY %d" % features.login_delay_s)
    if features.plaintext:
        words.append(b"USER")
    mechanisms = sasl_mechanisms(context)
    if mechanisms:
        words.append(b"SASL " + b" ".join(mechanisms))
    return words + _stls(context)


def _qmail(context: SessionState) -> list[bytes]:
    """The qmail profile answers CAPA only so that a client can find STLS, which the old host did not have."""
    return [b"TOP", b"UIDL", b"USER", *_stls(context)]


def _stls(context: SessionState) -> list[bytes]:
    """STLS, where it can be said now."""
    features = context.features
    return [b"STLS"] if features.tls and not features.secure and context.state is State.AUTHORIZATION else []


def sasl_mechanisms(context: SessionState) -> list[bytes]:
    """The mechanisms AUTH takes now (RFC 5034 §3); PLAIN shows the password, so it is offered where USER is."""
    if context.features.behind_popup:
        return []
    names = [b"PLAIN"] if context.features.plaintext else []
    return [*names, b"SCRAM-SHA-256"] if context.features.scram else names
