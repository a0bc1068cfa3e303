"""A file as a server would send it, in pieces, byte-stuffing left out: the rules of qmail-pop3d and of RFC 1939."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def sent(pieces: Iterable[bytes], profile: str) -> Iterator[bytes]:
    """Line ends CR LF, and one at the end; in the profile ``qmail`` an empty line more, and CR stays (Q-POP3-13)."""
    qmail = profile == "qmail"
    ready, last, returned = b"", b"\n", b""
    for piece in pieces:
        text, returned = returned + piece, b""
        if not qmail:
            if text.endswith(b"\r"):
                text, returned = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n")
        if not text:
            continue
        if ready:
            yield ready
        ready, last = text.replace(b"\n", b"\r\n"), text[-1:]
    whole = not returned and last == b"\n"
    yield ready + returned + (b"" if whole else b"\r\n") + (b"\r\n" if qmail else b"")
