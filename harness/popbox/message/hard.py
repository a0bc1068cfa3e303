"""Hard messages as files: what lies in one, and so what must come over the wire. Data that all rooms may use.

Their octets have LF line ends, as files of a Maildir do, but where something else is what is hard about them.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD = b"From: popbox <check@popbox.invalid>\nSubject: %b\nX-Popbox-Check: %b\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message: the octets of its file and what is hard about it. ``exact``: sent with its own line ends."""

    name: str
    octets: bytes
    hard: str
    exact: bool = False

    @property
    def token(self) -> bytes:
        """What is in no other message; the empty ones hold none."""
        return b"token-" + self.name.encode()


def _mail(name: str, body: bytes, hard: str) -> Mail:
    return Mail(name, HEAD % (name.encode(), b"token-" + name.encode()) + b"\n" + body, hard)


def _bare(name: str, octets: bytes, hard: str) -> Mail:
    return Mail(name, octets.replace(b"TOKEN", b"token-" + name.encode()), hard)


def _dot_at(offset: int, name: str) -> Mail:
    """A line that begins with a dot at ``offset`` of the file, where a reader's buffer may end."""
    head = HEAD % (name.encode(), b"token-" + name.encode()) + b"\n"
    fill = offset - len(head) - 1
    return Mail(name, head + b"x" * fill + b"\n.dot\n..\nend\n", f"a dot line begins at octet {offset}")


def _split_at(offset: int, name: str) -> Mail:
    """A stored CR LF whose LF stands at ``offset``."""
    head = (HEAD % (name.encode(), b"token-" + name.encode()) + b"\n").replace(b"\n", b"\r\n")
    return Mail(
        name, head + b"x" * (offset - 1 - len(head)) + b"\r\n.next\r\nend\r\n", f"CR LF split at octet {offset}"
    )


BODIES: tuple[Mail, ...] = (
    _mail("plain", b"one\ntwo\nthree\nfour\nfive\n", "nothing: the measure of the others"),
    _mail("dot-lines", b".\n..\n.x\n...\nx.\n .\n.", "lines that begin with a dot, the last one without an end"),
    _bare("dot-first", b".TOKEN: the first octet is a dot\nSubject: x\n\nbody\n", "the first octet is a dot"),
    _bare("only-dots", b".\n.\n..\n.\n", "nothing but dots"),
    _mail("dot-crlf", b"a\r\n.\r\nb\n", "a stored CR LF dot CR LF that must not end the reply"),
    _mail("no-final-newline", b"one\nlast line without an end", "no newline at the end of the file"),
    Mail(
        "crlf-file",
        (HEAD % (b"crlf", b"token-crlf-file") + b"\none\n.two\n").replace(b"\n", b"\r\n"),
        "CR LF in the file",
    ),
    _mail("mixed-ends", b"lf\ncrlf\r\nlf\ncrlf\r\n", "LF and CR LF in one file"),
    _mail("lone-cr", b"a\rb\r\rc\nend\r", "CR without LF, also as the last octet"),
    _mail("nul", b"a\0b\n\0\n\0end\n", "NUL octets"),
    _mail("eight-bit", bytes(range(0x80, 0x100)) + b"\n\xff\xfe\n", "all octets from 128 to 255"),
    _mail("controls", bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\nend\n", "control characters"),
    _mail("utf-8", "Grüße, 日本語, 😀\n".encode(), "UTF-8"),
    _bare("empty", b"", "an empty file"),
    _bare("header-only", b"Subject: TOKEN\n", "one header line and no empty line"),
    _bare("header-and-end", b"Subject: TOKEN\n\n", "a header, the empty line and no body"),
    _bare("no-header", b"\nTOKEN is in the body\n", "the first line is empty"),
    _bare("unended", b"TOKEN", "one line without an end"),
    _mail("blank-lines", b"\n\n\ntext\n\n\n", "empty lines at the beginning and end of the body"),
    _mail("only-blank", b"\n\n\n\n", "a body of empty lines"),
    _mail("trailing-spaces", b"space \ntab\t\n \n\t\n", "spaces and tabs at line ends"),
    _mail("from-lines", b"From me\n>From you\nFrom \n", "lines that an mbox would quote"),
    _mail("line-998", b"y" * 998 + b"\nend\n", "a line of 998 octets, the longest of RFC 5322"),
    _mail("long-line", b"z" * 100_000 + b"\nend\n", "a line of 100,000 octets"),
    _dot_at(1024, "dot-at-1024"),
    _dot_at(4096, "dot-at-4096"),
    _dot_at(8192, "dot-at-8192"),
    _dot_at(65536, "dot-at-65536"),
    _split_at(4096, "split-at-4096"),
    _split_at(65536, "split-at-65536"),
    _mail("many-lines", b"".join(b"%d\n" % n for n in range(5000)), "5000 short lines"),
    _mail("big", b"0123456789abcdef" * 3 + b".\n" + (b"." + b"q" * 62 + b"\n") * 16_384, "1 MB, each line a dot line"),
    _mail("later-name", b"x\n", "name later than the next one's, mtime earlier"),
    _mail("earlier-name", b"x\n", "name earlier, mtime later"),
)
