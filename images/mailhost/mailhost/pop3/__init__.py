"""The POP3 side: protocol, maildrop, server, and the chain popup | checkpoppasswd | pop3d."""

from __future__ import annotations

import sys

_MOVED = {"pop3d": "mailhost.pop3.chain.pop3d", "scram": "mailhost.pop3.protocol.scram"}


def __getattr__(name: str) -> object:
    """Modules by their names of earlier versions, for programs that import them (PEP 562)."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    __import__(_MOVED[name])
    return sys.modules[_MOVED[name]]
