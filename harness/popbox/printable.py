"""What a peer, a message or a log says, fit for a terminal: no octet of theirs moves the cursor or hides a word."""

from __future__ import annotations

import re

# Control characters but for TAB and LF; what turns the direction of text or ends a line unseen; halves of characters.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def plain(text: object) -> str:
    """Text with what cannot be seen made visible: ``\\x1b``, ``\\u202e``. Lines and tabs stay."""
    return UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), str(text))
