"""control/rcpthosts and control/virtualdomains: lines are added and taken out, every other line stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from mailhost.accounts import names
from mailhost.accounts.errors import InputError

BLANKS = b" \t\r"  # what may stand after an entry when we look for it; qmail itself strips no CR (Q-RCPT-5)


@dataclass(slots=True)
class Lines:
    """The lines of a list file, without their newlines; None stands where one was taken out."""

    file: str
    lines: list[bytes | None]
    _places: dict[bytes, list[int]] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, file: str, text: bytes | None) -> Self:
        """Split a text; ``file`` is its name for error texts. None (no file) is no lines."""
        lines: list[bytes | None] = list((text or b"").split(b"\n"))
        if lines[-1] == b"":
            lines.pop()
        return cls(file, lines)

    @staticmethod
    def _key(line: bytes) -> bytes:
        """What an entry is found by."""
        return line.rstrip(BLANKS).lower()

    def _index(self) -> dict[bytes, list[int]]:
        """Where each entry stands; made when one is first asked for, since a change may ask for thousands."""
        if self._places is None:
            self._places = {}
            for place, line in enumerate(self.lines):
                if line is not None:
                    self._places.setdefault(self._key(line), []).append(place)
        return self._places

    def render(self) -> bytes:
        """The file's text, every line ended."""
        return b"".join(line + b"\n" for line in self.lines if line is not None)

    def number(self, entry: str) -> int:
        """The first line that is this entry, from 1, in the file as it was read; 0 for none."""
        return self._index().get(entry.encode(), [-1])[0] + 1

    def add(self, line: str) -> None:
        """Add a line at the end, as the HOWTO does."""
        self._index().setdefault(self._key(line.encode()), []).append(len(self.lines))
        self.lines.append(line.encode())

    def remove(self, entry: str) -> None:
        """Take every line out that is this entry."""
        for place in self._index().pop(entry.encode(), ()):
            self.lines[place] = None


class VirtualDomains(Lines):
    """control/virtualdomains. Lines for single addresses, ``.suffix`` lines and exceptions are other people's: kept."""

    __slots__ = ()

    @staticmethod
    def _key(line: bytes) -> bytes:
        """The part before the colon; one that is no entry without it."""
        name, colon, _ = line.lower().partition(b":")
        return name if colon else b":"

    def prefixes(self) -> dict[str, str]:
        """Domain -> prefix, in the order of the file, of the lines that are whole domains; the last of two counts."""
        found: dict[str, str] = {}
        for line in filter(None, self.lines):
            name, colon, prefix = line.rstrip(b" \t").partition(b":")
            if colon and prefix and _is_domain(name) and prefix.isascii():
                found[name.lower().decode()] = prefix.decode()
        return found

    def number(self, entry: str) -> int:
        """The line that counts for a domain, the last, from 1; 0 for none."""
        return self._index().get(entry.encode(), [-1])[-1] + 1


def _is_domain(name: bytes) -> bool:
    """True for a key that is a domain as we would write it."""
    try:
        return not name.startswith(b"#") and names.domain(name.decode("ascii")) == name.lower().decode()
    except (InputError, UnicodeError):
        return False
