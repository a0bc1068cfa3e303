"""Lines of the old host's files, and the names in them, as an import can take them over."""

from __future__ import annotations

import re
from collections.abc import Iterator

import idna

from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, read_text

# What mailhost takes (its accounts/names.py says why); popbox keeps its own copy, since it may not import mailhost.
_ATOM = r"[A-Za-z0-9!#$%&'*+\-=?^_`{|}~]+"
_LOCAL = re.compile(rf"(?!.{{65}}){_ATOM}(?:\.{_ATOM})*")
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DOMAIN = re.compile(rf"(?!.{{254}})(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")
_LOGIN = re.compile(r"(?!#)[!-9;-~]{1,128}")


def local_part(octets: bytes) -> str | None:
    """A local part in lower case; None where mailhost takes no such name."""
    text = octets.decode("latin-1")
    return text.lower() if _LOCAL.fullmatch(text) else None


def domain(octets: bytes) -> str | None:
    """A domain in lower case, or None."""
    text = octets.decode("latin-1").lower()
    return text if _DOMAIN.fullmatch(text) and _a_labels(text) else None


def _a_labels(text: str) -> bool:
    """Whether labels with ``--`` in the third place are A-labels of IDNA, as mailhost asks."""
    if not any(label[2:4] == "--" for label in text.split(".")):
        return True
    try:
        idna.encode(text, uts46=True, std3_rules=True)
    except (idna.IDNAError, UnicodeError):
        return False
    return True


def login(octets: bytes) -> str | None:
    """A login, case kept, or None."""
    text = octets.decode("latin-1")
    return text if _LOGIN.fullmatch(text) else None


def address(octets: bytes) -> str | None:
    """Any address of the world, its domain in lower case, or None."""
    local, at, host = octets.rpartition(b"@")
    name = domain(host)
    known = at and len(octets) <= 254 and local_part(local)
    return f"{local.decode('ascii')}@{name}" if known and name else None


def file_of(path: bytes) -> str:
    """A path as findings name it."""
    return shown(path)


def text_of(tree: OldHostTree, host: OldHost, path: bytes) -> bytes | None:
    """A configuration file; None where there is none, and, noted as a finding, where it cannot be read."""
    try:
        return read_text(tree, path)
    except OldHostError as why:
        host.unreadable(Where(file_of(path)), str(why))
        return None


def numbered(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a text, from 1, without their newlines; what follows the last newline only where it is not empty."""
    lines = octets.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return iter(enumerate(lines, start=1))


def entries(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a qmail list file that count: trailing blanks cut, without empty and ``#`` lines (Q-RCPT-5)."""
    for number, line in numbered(octets):
        line = line.rstrip(b" \t")
        if line and not line.startswith(b"#"):
            yield number, line
