"""One control file: the forms qmail knows (a line, a number, a list). Source: Q-CTL-*, Q-RCPT-5."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MOST_OCTETS = 64 << 20
"""Our choice: more than a million domains. qmail reads any size, until it runs out of memory."""
BLANKS = b" \t\n"  # trailing ones are cut; CR is data (Q-RCPT-5, E-10)


class Home(Protocol):
    """A qmail home: a Path, or what finds its files elsewhere."""

    def __truediv__(self, name: str, /) -> Path:
        """Where a file of the home lies.

        Raises:
            OSError: there is none (only what is no Path raises it).
        """


class ControlError(Exception):
    """A control file exists and cannot be read: ``file`` (below home) and ``rule``."""

    def __init__(self, file: str, rule: str) -> None:
        """``file`` is relative to home, ``rule`` says what is wrong."""
        super().__init__(f"{file}: {rule}")
        self.file = file
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list file: ``key`` as written, ``value`` after the first colon (map files), ``number`` from 1."""

    key: bytes
    value: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Table:
    """A list file as qmail searches it: case does not matter, and the LAST of equal keys wins (Q-VDOM-6)."""

    file: str
    lines: tuple[Line, ...] = ()
    _index: dict[bytes, Line] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the lines by lower-cased key."""
        object.__setattr__(self, "_index", {line.key.lower(): line for line in self.lines})

    def find(self, key: bytes) -> Line | None:
        """The line of ``key``, in any case, or None."""
        return self._index.get(key.lower())


def read(home: Home, file: str) -> bytes | None:
    """The bytes of ``home/file``; None when there is no such file.

    It never waits, as qmail's programs do not: a FIFO without a writer is an empty file.

    Raises:
        ControlError: the file cannot be read, or is larger than MOST_OCTETS.
    """
    try:
        with open(home / file, "rb", buffering=0, opener=_at_once) as raw:
            if os.fstat(raw.fileno()).st_size > MOST_OCTETS:
                raise ControlError(file, f"is larger than {MOST_OCTETS} octets, and not read")
            text = raw.readall()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ControlError(file, f"cannot be read: {error.strerror}") from error
    if text is None:
        raise ControlError(file, f"cannot be read: {os.strerror(errno.EAGAIN)}")
    return text


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def first_line(text: bytes | None) -> bytes | None:
    """The value of a one-line file: the first line without trailing blanks; ``#`` is not special."""
    if text is None:
        return None
    return text.split(b"\n", 1)[0].rstrip(BLANKS)


def c_string(octets: bytes) -> bytes:
    """What a C program sees of a string: everything before the first NUL."""
    return octets.partition(b"\0")[0]


def number(text: bytes | None, default: int) -> int:
    """The number a one-line file starts with, modulo 2^32; ``default`` when it starts with none (Q-CTL-4)."""
    line = first_line(text)
    if line is None or not line[:1].isdigit():
        return default
    return leading_digits(line)


def leading_digits(text: bytes) -> int:
    """The decimal number ``text`` starts with, modulo 2^32, 0 without a digit (Q-CTL-4, Q-LSP-9)."""
    if len(text) < 10 and text.isdigit():  # nearly always
        return int(text)
    digits = text[: len(text) - len(text.lstrip(b"0123456789"))]
    # Arithmetic modulo 10^k avoids Python's limit on the length of decimal texts.
    value = 0
    for start in range(0, len(digits), 4000):
        piece = digits[start : start + 4000]
        value = (value * pow(10, len(piece), 1 << 32) + int(piece)) % (1 << 32)
    return value


def list_lines(text: bytes | None) -> list[tuple[int, bytes]]:
    """(line number, word) of a list file, without empty lines and ``#`` lines; a NUL ends a word, as a newline does."""
    words = []
    for index, raw in enumerate((text or b"").split(b"\n"), start=1):
        line = raw.rstrip(BLANKS)
        if line[:1] in (b"", b"#", b"\0"):
            continue
        words += [(index, word) for word in line.split(b"\0")]
    return words


def set_table(file: str, text: bytes | None) -> Table:
    """A list of names, such as rcpthosts."""
    return Table(file, tuple(Line(word, b"", index) for index, word in list_lines(text)))


def map_table(file: str, text: bytes | None) -> Table:
    """A list of ``key:value``, such as virtualdomains; lines without a colon are ignored (Q-VDOM-5)."""
    split = ((index, *word.partition(b":")) for index, word in list_lines(text))
    return Table(file, tuple(Line(key, value, index) for index, key, colon, value in split if colon))
