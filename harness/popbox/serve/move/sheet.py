"""The cut-over sheet of ``popbox migrate plan --markdown``: its steps and their ticks, which the file itself keeps."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from popbox.reading import octets_of
from popbox.replacing import put, replaceable

MOST_OCTETS = 1 << 20  # our choice: a sheet has some kilobytes
STEP = re.compile(r"(\s*)- \[([ xX])\] (.*)")
HEADING = re.compile(r"(#{1,6}) +(.*)")
ESCAPED = re.compile(r"\\([\\`*_\[\]<>])")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the sheet. ``kind``: heading, step, command, point, row, text. ``key`` finds a step again.

    A row of a table has ``cells`` in place of a text.
    """

    number: int
    kind: str
    text: str
    done: bool = False
    key: str = ""
    cells: tuple[str, ...] = ()


def lines(text: str) -> list[Line]:
    """The lines that say something, numbered from 1. Pure."""
    return [one for number, line in enumerate(text.splitlines(), 1) if (one := _line(number, line)) is not None]


def _line(number: int, line: str) -> Line | None:
    if found := STEP.fullmatch(line):
        return Line(number, "step", _read(found[3]), found[2] != " ", _key(number, found[3]))
    if found := HEADING.fullmatch(line):
        return Line(number, "heading", _read(found[2]))
    if line.startswith("    ") and line.strip():
        return Line(number, "command", line.strip())
    if not line.strip() or set(line) <= set("|- "):
        return None
    if line.startswith("|"):
        return Line(number, "row", "", cells=tuple(_read(cell.strip()) for cell in line.strip("|").split("|")))
    return Line(number, "point" if line.startswith("- ") else "text", _read(line.removeprefix("- ")))


def _read(text: str) -> str:
    return ESCAPED.sub(r"\1", text)


def _key(number: int, text: str) -> str:
    return f"{number}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


class Sheet:
    """One file. Its steps are ticked one at a time."""

    def __init__(self, path: Path) -> None:
        """It is read whenever it is asked for: an editor may change it too."""
        self.path, self._lock = path, threading.Lock()

    def read(self) -> list[Line]:
        """Its lines.

        Raises:
            OSError: it cannot be read, or is no text.
        """
        return lines(self._text())

    def tick(self, key: str, *, done: bool) -> str:
        """Tick a step, or take its tick away; returns the step. All other octets of the file stay.

        Raises:
            LookupError: the sheet has no such step any more.
            OSError: it cannot be read or written; then it is as it was.
        """
        with self._lock:
            text = self._text()
            found = next((one for one in lines(text) if one.key and one.key == key), None)
            if found is None:
                raise LookupError("the sheet was changed: it has no such step any more")
            kept = text.splitlines(keepends=True)
            kept[found.number - 1] = re.sub(
                r"- \[[ xX]\]", f"- [{'x' if done else ' '}]", kept[found.number - 1], count=1
            )
            _replace(self.path, "".join(kept))
            return found.text

    def _text(self) -> str:
        try:
            return octets_of(self.path, MOST_OCTETS).decode()
        except UnicodeDecodeError as error:
            raise OSError("it is no UTF-8") from error


def _replace(path: Path, text: str) -> None:
    """Put a text in the place of a file, with the file's mode: whole, or not at all."""
    there = replaceable(path)
    beside = there.with_name(f".{there.name}.{os.getpid()}")
    try:
        put(there, text.encode(), beside, there.stat().st_mode & 0o7777)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
