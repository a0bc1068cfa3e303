"""Keeps the password out of every text that is shown, in each form in which a server may say it back. Pure.

A check's text quotes replies by ``repr``, and a transcript reads octets as Latin-1: both change how a password looks.
"""

from __future__ import annotations

import base64
import re

from popbox.clients.secret import MASK

SHORTEST = 4  # our choice: masking a shorter text would hide words that have nothing to do with the password
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")


def masked(text: str, password: str) -> str:
    """``text`` without the password, without those that the checks derive from it, and without control characters.

    A base64 word that holds one of them, such as the response of AUTH PLAIN (RFC 4616 §2), is masked whole.
    """
    sent = [one.encode() for one in (password, password.swapcase(), password[:-1]) if len(one) >= SHORTEST]
    text = _BASE64.sub(lambda word: MASK if any(one in _decoded(word[0]) for one in sent) else word[0], text)
    for form in sorted({form for one in sent for form in _forms(one)}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _forms(octets: bytes) -> list[str]:
    """The octets as UTF-8, as Latin-1, and as ``repr`` of text or of octets spells them; ``'`` is escaped or not."""
    latin = octets.decode("latin-1")
    quoted = [repr(latin + '"')[1:-2], repr(octets + b'"')[2:-2]]
    return [octets.decode(), latin, *quoted, *(one.replace("\\'", "'") for one in quoted)]


def _decoded(word: str) -> bytes:
    """The octets of a base64 word, as far as it is whole: a long line is cut where it is shown."""
    word = word.rstrip("=")
    return base64.b64decode(word[: len(word) // 4 * 4]) + _last_octets(word[len(word) // 4 * 4 :])


def _last_octets(letters: str) -> bytes:
    """What the last, incomplete group of two or three letters holds; one letter holds no octet."""
    return base64.b64decode(letters.ljust(4, "=")) if len(letters) > 1 else b""
