"""Hard messages: what lies in the file, and so what must come over the wire.

Their names and mtimes both rise in the order of the table, so that servers that sort by either show them in it;
the last two disagree on purpose.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HEAD = b"From: popbox <check@popbox.invalid>\nSubject: %b\nX-Popbox-Check: %b\n"
MARK = "popbox-check"
AGE_S = 7200  # every message is older than the second of any login (Q-POP3-4)
STEP_S = 3


@dataclass(frozen=True, slots=True)
class Mail:
    """One message of the corpus: the octets of its file and what is hard about it."""

    name: str
    octets: bytes
    hard: str

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


CORPUS: tuple[Mail, ...] = (
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
BY_NAME = {mail.name: mail for mail in CORPUS}


def canonical(octets: bytes) -> bytes:
    """A file as RFC 1939 §3 sends it, dots not doubled: every line ends in CR LF, a CR LF that is stored stays one."""
    lines = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def doubled(octets: bytes) -> bytes:
    """A file as qmail-pop3d sends it: each LF becomes CR LF, whatever stands before it (Q-POP3-13)."""
    lines = octets.replace(b"\n", b"\r\n")
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


class Maildir:
    """The box's own directory: places files in new/ as a delivery does and removes only what it placed."""

    def __init__(self, path: Path) -> None:
        """``path`` holds new/, cur/ and tmp/."""
        self.path = path
        owner = (path / "new").stat()
        self._owner = owner.st_uid, owner.st_gid
        self._run = f"{os.getpid()}Q{time.time_ns() % 1_000_000_000}"
        self._count = 0

    def place_corpus(self) -> dict[str, str]:
        """Put in all of CORPUS; gives the file name of each message."""
        swap = {"later-name": len(CORPUS) + 1, "earlier-name": len(CORPUS)}
        began = time.time() - AGE_S
        return {
            mail.name: self.place(mail.octets, began + number * STEP_S, swap.get(mail.name, number + 1))
            for number, mail in enumerate(CORPUS)
        }

    def place(self, octets: bytes, mtime: float | None = None, serial: int | None = None) -> str:
        """Deliver one message, complete before it is seen; gives its file name. Default mtime: an hour ago, rising."""
        self._count += 1
        serial = 1000 + self._count if serial is None else serial
        name = f"{1_000_000_000 + serial}.M{serial}P{self._run}.{MARK}"
        draft = self.path / "tmp" / name
        draft.write_bytes(octets)
        if os.geteuid() == 0:
            os.chown(draft, *self._owner)
        draft.chmod(0o600)
        when = time.time() - AGE_S / 2 + self._count * 2 if mtime is None else mtime
        os.utime(draft, (when, when))
        draft.rename(self.path / "new" / name)
        return name

    def find(self, name: str) -> Path | None:
        """Where a placed file is now: in new/, or in cur/ with or without a suffix."""
        for folder in ("new", "cur"):
            for path in (self.path / folder).glob(name + "*"):
                if re.fullmatch(re.escape(name) + r"([:,;].*)?", path.name):
                    return path
        return None

    def flag(self, name: str, flags: str) -> None:
        """What a mail reader does with a message it has shown: to cur/, with these flags."""
        path = self.find(name)
        if path is not None:
            path.rename(self.path / "cur" / f"{name}:2,{flags}")

    @contextmanager
    def twins(self, one: bytes, two: bytes) -> Iterator[None]:
        """Two messages of one base name, the first in cur/ and flagged. Servers may rename them: they go by content."""
        name, other = self.place(one), self.place(two)
        try:
            self.flag(name, "S")
            (self.path / "new" / other).rename(self.path / "new" / name)
            yield
        finally:
            for path in [*(self.path / "new").iterdir(), *(self.path / "cur").iterdir()]:
                if path.is_file() and path.stat().st_size in (len(one), len(two)) and path.read_bytes() in (one, two):
                    path.unlink(missing_ok=True)

    def remove(self, *names: str) -> None:
        """Take placed files away; those that are gone already are let go."""
        for name in names:
            path = self.find(name)
            if path is not None:
                path.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove everything this run has placed."""
        for folder in ("new", "cur", "tmp"):
            for path in (self.path / folder).glob(f"*P{self._run}.{MARK}*"):
                path.unlink(missing_ok=True)
