"""Which UIDL a file name can have: our server and qmail-pop3d take the name up to its first colon (Q-POP3-9).

Both pass over names that begin with a dot. Ours replaces what RFC 1939 §7 does not allow.
"""

from __future__ import annotations

from popbox.migrate.oldhost.stores import UIDL_OCTETS

_LEGAL = bytes(range(0x21, 0x7F))


def not_kept(uidl: bytes) -> str:
    """Why no file name has this UIDL; empty where one has."""
    if not 0 < len(uidl) <= UIDL_OCTETS or uidl.translate(None, _LEGAL):
        return f"it is not 1 to {UIDL_OCTETS} octets of 0x21 to 0x7E (RFC 1939 §7)"
    if b"/" in uidl:
        return "no file name holds a /"
    if b":" in uidl:
        return "a Maildir's server takes a file name up to its first : (Q-POP3-9)"
    return "a Maildir's server passes over names that begin with a dot" if uidl.startswith(b".") else ""
