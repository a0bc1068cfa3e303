"""From an old host's UIDLs to file names that have the same UIDLs on our server and on qmail-pop3d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from popbox.migrate.oldhost.uidls import not_kept
from popbox.migrate.pop3.listing import Entry


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
        name = uidl if not why else hashed(key)
        found.append(Wanted(entry, key, name, why))
    return found


def hashed(key: bytes) -> bytes:
    """A name of our own for a message whose UIDL no file can have."""
    return blake2b(key, digest_size=16).hexdigest().encode() + b".popbox"


def by_content(sha256: str, before: int) -> tuple[bytes, bytes]:
    """Key and name of a message without a UIDL, of which ``before`` like ones came before it in its box."""
    key = b"\n%s %d" % (sha256.encode(), before)
    return key, b"%s.%d.popbox" % (sha256[:32].encode(), before)
