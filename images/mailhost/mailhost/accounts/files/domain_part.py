"""users/domains/<domain>: one domain's part of users/assign, read line by line and written back without loss.

Our lines, for a box ``joe`` of prefix ``domain-com`` (facts: appendix B.5):

    =domain-com-joe:popuser:888:888:DIR:::      joe@domain.com              DIR/.qmail
    +domain-com-joe-:popuser:888:888:DIR:-::    joe-anything@domain.com     DIR/.qmail-default   (extensions)
    =domain-com-info:popuser:888:888:DIR:::     an alias: another address, the same DIR
    +domain-com-:popuser:888:888:DIR:-::        whatever is left            DIR/.qmail-default   (catchall)

The HOWTO's single ``+domain-com-joe:...:::`` is not written: it takes joey too, and sends extensions to a ./Mailbox
that POP3 never sees (H-13). Any other line that qmail-newu would take is *foreign*: kept as it is, never changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from mailhost.accounts.errors import InputError
from mailhost.accounts.layout import Identity

FIELDS = 8  # type+address, user, uid, gid, home, dash, ext, and the empty rest (Q-ASSIGN-1)


class Kind(Enum):
    """What a line is for, in the order lines of one local part are written."""

    EXACT = 0
    EXTENSIONS = 1
    CATCHALL = 2
    FOREIGN = 3

    __hash__ = object.__hash__  # Enum's own is a Python call, and each line of each box is looked up by its kind


@dataclass(frozen=True, slots=True)
class Assignment:
    """One line: its kind, the local part it takes (empty for catchall), the box directory's name, the line itself."""

    kind: Kind
    local: str
    box: str
    line: bytes

    @property
    def order(self) -> tuple[bool, bool, str, int]:
        """Boxes by local part, then the catchall, then foreign lines (the sort is stable: these keep their order)."""
        foreign = self.kind is Kind.FOREIGN
        catchall = self.kind is Kind.CATCHALL
        return foreign, catchall, "" if foreign else self.local, 0 if foreign else self.kind.value


class Part:
    """The lines of one domain; `entries` by what they take, so that adding one twice is seen."""

    def __init__(self, prefix: str, directory: str, file: str) -> None:
        """``directory``: where this prefix's boxes lie, absolute; ``file``: the part's name for error texts."""
        self.prefix, self.directory, self.file = prefix, directory, file
        self.entries: dict[tuple[Kind, str], Assignment] = {}

    def exact(self, local: str) -> Assignment | None:
        """The line of one address, or None."""
        return self.entries.get((Kind.EXACT, local))

    def of_box(self, box: str) -> list[Assignment]:
        """Every line that leads into one box."""
        return [e for e in self.entries.values() if e.box == box and e.kind is not Kind.FOREIGN]

    def foreign(self) -> list[Assignment]:
        """The lines that are not ours."""
        return [e for e in self.entries.values() if e.kind is Kind.FOREIGN]

    def foreign_for(self, local: str) -> Assignment | None:
        """A line that is not ours, for exactly this address."""
        return self.entries.get((Kind.FOREIGN, f"={self.prefix}-{local}"))

    def add(self, kind: Kind, local: str, box: str, identity: Identity) -> None:
        """Put one line of ours in; replaces an equal one."""
        wild = kind is not Kind.EXACT
        address = self.prefix + "-" + local + ("-" if kind is Kind.EXTENSIONS else "")
        owner = f"{identity.user}:{identity.uid}:{identity.gid}"
        line = f"{'+' if wild else '='}{address}:{owner}:{self.directory}/{box}:{'-' if wild else ''}::"
        self.entries[kind, local] = Assignment(kind, local, box, os.fsencode(line))

    def remove(self, kind: Kind, local: str) -> None:
        """Take one line out; nothing happens where it is not in."""
        self.entries.pop((kind, local), None)

    def render(self) -> bytes:
        """The file's text; every line ends in a newline, or the next file's first would be lost (H-18)."""
        return b"".join(e.line + b"\n" for e in sorted(self.entries.values(), key=lambda e: e.order))


def parse(text: bytes, prefix: str, directory: str, file: str) -> Part:
    """Read a part file.

    Raises:
        InputError: a line that qmail-newu would refuse, cut short or misread (naming it), or an address given twice.
    """
    part = Part(prefix, directory, file)
    if text and not text.endswith(b"\n"):
        raise InputError(
            "the last line does not end in a newline, so the next file's first entry would be lost (H-18)",
            file=file,
            line=text.count(b"\n") + 1,
        )
    starts = (f"={prefix}-".encode(), f"+{prefix}-".encode(), os.fsencode(directory) + b"/")
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        entry = _entry(line, number, starts, file)
        key = entry.kind, entry.local
        if key in part.entries:
            first = 1 + text.split(b"\n").index(part.entries[key].line)
            raise InputError(f"the same address as line {first}; qmail takes the first", file=file, line=number)
        part.entries[key] = entry
    return part


def _entry(line: bytes, number: int, starts: tuple[bytes, bytes, bytes], file: str) -> Assignment:
    """Classify one line; what is valid but not of our form is foreign and keyed by its own octets."""
    fields = line.split(b":")
    if line[:1] not in (b"=", b"+") or len(fields) < FIELDS or b"\0" in line:
        raise InputError(_why_not(line), file=file, line=number)
    if len(fields) > FIELDS or fields[7] not in (b"", b"\r"):
        raise InputError("text after the seventh colon is ignored by qmail (Q-ASSIGN-7)", file=file, line=number)
    exact, wild, directory = starts
    address, home, dash, ext = fields[0].lower(), fields[4], fields[5], fields[6]
    rest = home.removeprefix(directory)  # where the host itself lies may be named in any octets
    plain = rest.isascii() and b"".join(fields[:4]).isascii()
    ours = home.startswith(directory) and b"/" not in rest and bool(rest) and not ext and plain
    box = rest.decode("ascii", "replace")
    if ours and address.startswith(exact) and not dash:
        return Assignment(Kind.EXACT, address[len(exact) :].decode(), box, line)
    if ours and address == wild and dash == b"-":
        return Assignment(Kind.CATCHALL, "", box, line)
    if ours and address == wild + box.encode() + b"-" and dash == b"-":
        return Assignment(Kind.EXTENSIONS, box, box, line)
    return Assignment(Kind.FOREIGN, fields[0].lower().decode("latin-1"), "", line)


def _why_not(line: bytes) -> str:
    """The rule that a line breaks."""
    if not line.strip():
        return "an empty line makes qmail-newu fail (Q-ASSIGN-4)"
    if line.startswith(b"#"):
        return "users/assign has no comments: this line would register an address or break the build (Q-ASSIGN-2)"
    if line.startswith(b"."):
        return "a line that starts with a dot ends users/assign: all that follows would be lost (Q-ASSIGN-3)"
    if line[:1] not in (b"=", b"+"):
        return "starts with neither '=' nor '+' (Q-ASSIGN-2)"
    if b"\0" in line:
        return "holds a NUL (Q-ASSIGN-4)"
    return f"address:user:uid:gid:home:dash:ext: has at least seven colons, this has {line.count(b':')} (Q-ASSIGN-1)"
