"""Lengths of time, sizes and rates as a load file writes them. Pure."""

from __future__ import annotations

import re

LONGEST_S = 14 * 86_400.0  # our choice: two weeks
LARGEST_OCTETS = 1 << 28  # our choice: 256 MiB
_NUMBER = r"(\d{1,9}(?:\.\d{1,3})?)"
_DURATION = re.compile(_NUMBER + r"\s*(ms|s|m|h)")
_SIZE = re.compile(_NUMBER + r"\s*(B|KB|KiB|MB|MiB)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_OCTETS = {"B": 1, "KB": 1_000, "KiB": 1 << 10, "MB": 1_000_000, "MiB": 1 << 20}


def seconds(text: str) -> float:
    """A length of time in seconds: ``500ms``, ``30s``, ``5m``, ``8h``.

    Raises:
        ValueError: it is none, or longer than two weeks.
    """
    found = _DURATION.fullmatch(text)
    if not found or (length := float(found[1]) * _SECONDS[found[2]]) > LONGEST_S:
        raise ValueError("500ms, 30s, 5m or 8h is wanted, at most two weeks")
    return length


def octets(text: str) -> int:
    """A size in octets: ``512B``, ``50KiB``, ``2MB``.

    Raises:
        ValueError: it is none, or more than 256 MiB.
    """
    found = _SIZE.fullmatch(text)
    if not found or (size := int(float(found[1]) * _OCTETS[found[2]])) > LARGEST_OCTETS:
        raise ValueError("512B, 50KiB or 2MB is wanted, at most 256MiB")
    return size
