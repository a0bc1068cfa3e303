"""From an old host's UIDL to a file name that has the same UIDL on our server and on qmail-pop3d.

Both take the name up to its first colon (Q-POP3-9), and pass over names that begin with a dot. Ours replaces what
RFC 1939 §7 does not allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from popbox.migrate.pop3.listing import Entry

UIDL_OCTETS = 70  # RFC 1939 §7: 1 to 70 of 0x21 to 0x7E
_LEGAL = bytes(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message of the old host, and what it is to be called.

    ``key`` is what the journal knows it by, ``name`` its file's; both are empty where only the content can tell.
    ``why`` says what keeps its UIDL from being kept.
    """

    entry: Entry
    key: bytes = b""
    name: bytes = b""
    why: str = ""


def wanted(entries: Sequence[Entry]) -> list[Wanted]:
    """All messages of one listing with their names; the second of a UIDL is known by the UIDL and its number there."""
    seen: dict[bytes, int] = {}
    found = []
    for entry in entries:
        uidl = entry.uidl.encode("latin-1", "replace")
        if not uidl:
            found.append(Wanted(entry, why="the old host gives none"))
            continue
        before = seen.get(uidl, 0)
        seen[uidl] = before + 1
        key = uidl if not before else uidl + b"\n%d" % before  # no UIDL holds a newline
        why = "another message of the box has it too" if before else not_kept(uidl)
        name = uidl if not why else blake2b(key, digest_size=16).hexdigest().encode() + b".popbox"
        found.append(Wanted(entry, key, name, why))
    return found


def not_kept(uidl: bytes) -> str:
    """Why no file name has this UIDL; empty where one has."""
    if len(uidl) > UIDL_OCTETS or uidl.translate(None, _LEGAL):
        return f"it is not 1 to {UIDL_OCTETS} octets of 0x21 to 0x7E (RFC 1939 §7)"
    if b"/" in uidl:
        return "no file name holds a /"
    if b":" in uidl:
        return "a Maildir's server takes a file name up to its first : (Q-POP3-9)"
    return "a Maildir's server passes over names that begin with a dot" if uidl.startswith(b".") else ""


def by_content(sha256: str, before: int) -> tuple[bytes, bytes]:
    """Key and name of a message without a UIDL, of which ``before`` like ones came before it in its box."""
    key = b"\n%s %d" % (sha256.encode(), before)
    return key, b"%s.%d.popbox" % (sha256[:32].encode(), before)
