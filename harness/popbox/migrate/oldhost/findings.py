"""What an audit says: something wrong on the old host, or something that an import cannot carry."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning"]


class Where(NamedTuple):
    """A file of the old host by its own path, and a line of it; 0: the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        """``file:line``, as grep prints it."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Finding(NamedTuple):
    """Something wrong. ``rule`` is a name from `rules.RULES`, which also gives level and consequence."""

    level: Level
    rule: str
    where: Where
    text: str
    consequence: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.level}: {self.where}: {self.text} [{self.rule}]\n    {self.consequence}"


class Left(NamedTuple):
    """Something that an import does not carry over, or not as it was, and what happens instead.

    ``lost``: a login cannot open mail that it could, or an address takes none that took some.
    """

    where: Where
    what: str
    why: str
    lost: bool = False

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.where}: {self.what}: {self.why}"


def shown(octets: bytes) -> str:
    """Octets of a name or a line as one printable line: UTF-8 where they are that, else ``\\xNN``; cut at 200."""
    text = octets.decode("utf-8", "backslashreplace")
    if len(text) <= 200 and text.isprintable():
        return text
    safe = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:201])
    return safe if len(safe) <= 200 else safe[:197] + "..."
