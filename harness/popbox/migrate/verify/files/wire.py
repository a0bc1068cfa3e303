"""A file as a server would send it, in pieces, byte-stuffing left out: by qmail-pop3d, courier and RFC 1939."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def sent(pieces: Iterable[bytes], profile: str) -> Iterator[bytes]:
    """CR LF ends each line, the last one too; CR stays in ``qmail``, which adds a line (Q-POP3-13), and ``courier``."""
    qmail, kept = profile == "qmail", profile in ("qmail", "courier")
    ready, last, returned = b"", b"\n", b""
    for piece in pieces:
        text, returned = returned + piece, b""
        if not kept:
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
