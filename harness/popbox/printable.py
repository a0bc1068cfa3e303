"""Text of a peer, a message or a log, made fit for a terminal: no octet of it moves the cursor or hides a word."""

from __future__ import annotations

import re

# Control characters but for TAB and LF; what changes the direction of text or ends a line invisibly; lone surrogates.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 message``, ``2 messages``; ``things`` where the plural is not made with an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def plain(text: object) -> str:
    """Text with what cannot be seen made visible: ``\\x1b``, ``\\u202e``. Lines and tabs stay."""
    return UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), str(text))
