"""The ledger: each message carries a token, and popbox finds out what became of each.

``reconcile`` makes the proofs; ``tracker`` says while a scenario runs where a message is by the MTA's log. This module
is the tokens.
"""

from __future__ import annotations

import re
import secrets

TOKEN_FIELD = "X-Popbox-Token"  # noqa: S105 - a header field's name, no secret
_TOKEN_LINE = re.compile(rb"(?<=\n)%b: ([^\n]*)(?=\n)" % TOKEN_FIELD.encode())
_issued: set[str] = set()  # by this process: scenarios run side by side, and may share a box


def new_token() -> str:
    """A token that is unique to one message."""
    token = f"pb-{secrets.token_hex(8)}"
    _issued.add(token)
    return token


def issued(header: bytes) -> bool:
    """Whether a header, between two newlines, carries a token that this process gave to a message."""
    return not _issued.isdisjoint(tokens_of(header))


def tokens_of(lines: bytes) -> set[str]:
    """The tokens that stand on lines of their own in a text that begins and ends with a newline."""
    return {token.decode("ascii", "replace") for token in _TOKEN_LINE.findall(lines)}


def stamp(message: bytes, token: str) -> bytes:
    """The message with the token as its first header field, and a final newline (SMTP carries whole lines)."""
    stamped = f"{TOKEN_FIELD}: {token}\n".encode() + message
    return stamped if stamped.endswith(b"\n") else stamped + b"\n"
