"""Times as texts: lengths as clients write them (``500ms``, ``30s``, ``30`` or ``2m``), moments as told. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

LONGEST_S = 3_600.0  # our choice: an hour
_DURATION = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}


def seconds(text: str) -> float:
    """A length of time in seconds.

    Raises:
        ValueError: it is none, or longer than an hour; says what is wanted.
    """
    found = _DURATION.fullmatch(text)
    if not found or (length := float(found[1]) * _UNITS[found[2]]) > LONGEST_S:
        raise ValueError("500ms, 30s, 30 or 2m is wanted, at most an hour")
    return length


def moment(at: float, to: str = "seconds") -> str:
    """A wall clock time, in seconds since 1970, as ISO 8601 has it in UTC; ``to`` is a timespec of ``isoformat``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec=to)
