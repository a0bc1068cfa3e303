"""One piece of advice, and how bytes are shown in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """``text`` is for the operator; ``fact`` is the id of its fact in the fact sheet (H-*, E-*, Q-*)."""

    fact: str
    text: str


def shown(octets: bytes) -> str:
    """Bytes as text; what is not UTF-8 as ``\\xNN``."""
    return octets.decode("utf-8", "backslashreplace")
