"""control/rcpthosts and control/virtualdomains: lines are added and taken out, every other line stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from mailhost.accounts import names
from mailhost.accounts.errors import InputError

BLANKS = b" \t\r"  # what may stand after an entry when we look for it; qmail itself strips no CR (Q-RCPT-5)


@dataclass(slots=True)
class Lines:
    """The lines of a list file, without their newlines."""

    file: str
    lines: list[bytes]

    @classmethod
    def of(cls, file: str, text: bytes | None) -> Self:
        """Split a text; ``file`` is its name for error texts. None (no file) is no lines."""
        lines = (text or b"").split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        return cls(file, lines)

    def render(self) -> bytes:
        """The file's text, every line ended."""
        return b"".join(line + b"\n" for line in self.lines)

    def number(self, entry: str) -> int:
        """The first line that is this entry, from 1; 0 for none."""
        wanted = entry.encode()
        return next((n for n, line in enumerate(self.lines, 1) if line.rstrip(BLANKS).lower() == wanted), 0)

    def add(self, line: str) -> None:
        """Add a line at the end, as the HOWTO does."""
        self.lines.append(line.encode())

    def remove(self, entry: str) -> None:
        """Take every line out that is this entry."""
        wanted = entry.encode()
        self.lines = [line for line in self.lines if line.rstrip(BLANKS).lower() != wanted]


class VirtualDomains(Lines):
    """control/virtualdomains. Lines for single addresses, ``.suffix`` lines and exceptions are other people's: kept."""

    __slots__ = ()

    def prefixes(self) -> dict[str, str]:
        """Domain -> prefix, in the order of the file, of the lines that are whole domains; the last of two counts."""
        found: dict[str, str] = {}
        for line in self.lines:
            name, colon, prefix = line.rstrip(b" \t").partition(b":")
            if colon and prefix and _is_domain(name) and prefix.isascii():
                found[name.lower().decode()] = prefix.decode()
        return found

    def number_of(self, name: str) -> int:
        """The line that counts for a domain, from 1; 0 for none."""
        start = name.encode() + b":"
        return max((n for n, line in enumerate(self.lines, 1) if line.lower().startswith(start)), default=0)

    def remove(self, entry: str) -> None:
        """Take every line of this domain out."""
        start = entry.encode() + b":"
        self.lines = [line for line in self.lines if not line.lower().startswith(start)]


def _is_domain(name: bytes) -> bool:
    """True for a key that is a domain as we would write it."""
    try:
        return not name.startswith(b"#") and names.domain(name.decode("ascii")) == name.lower().decode()
    except (InputError, UnicodeError):
        return False
