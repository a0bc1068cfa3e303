"""The stand-in's command line options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailhost.system.privileges import ID

SESSIONS = 400  # our choice: sessions at once; each costs a socket and a few kB
SESSIONS_EACH = SESSIONS // 2  # our choice, and Postfix's: one address gets at most half of the sessions


@dataclass(frozen=True, slots=True)
class Options:
    """``listen`` is host and port, port 0 an ephemeral one. ``remote``: ``routes``, ``mx`` or ``sink``."""

    home: Path
    listen: tuple[str, int]
    programs: bool = False
    remote: str = "routes"
    sink: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    sessions: int = SESSIONS
    sessions_each: int = SESSIONS_EACH
    proxy_from: tuple[str, ...] = ()
    ids: tuple[int, int] = (ID, ID)
