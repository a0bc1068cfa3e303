"""Where the tables and keys of a TOML text stand, for errors that name the line. Pure.

`tomli` tells no lines of what it has read. A statement of TOML ends at the end of a line, and no shorter piece of it
is TOML, so that the statements of a text are found by reading its lines one after the other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import tomli

TomlPath = tuple[str | int, ...]
_ENDS = ("]", "}", '"""', "'''")  # one of these is in the last line of whatever goes over several
_WORK = 20  # our choice: reads at most so many times the text, as an array can be made that is read again and again


def lines_of(text: str) -> dict[TomlPath, int]:
    """Line, from 1, of each table and key of a TOML text; ``("step", 1, "send")`` is in the second ``[[step]]``.

    What stands within the brackets of a value has the line on which its key stands.
    """
    found: dict[TomlPath, int] = {}
    counts: dict[TomlPath, int] = {}  # of an array of tables -> how many there are so far
    here: TomlPath = ()
    for line, header, table in _statements(text):
        if header:
            here = _entered(table, counts)
            found[here] = line
            for end in range(1, len(here)):
                found.setdefault(here[:end], line)
        else:
            _keys(table, here, line, found)
    return found


def line_of(path: TomlPath, lines: dict[TomlPath, int]) -> int:
    """The line of a key, or of the innermost table around it that the text has; 0 where it has none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The rule that a key breaks that is none of the known ones: which was meant, and which there are."""
    there = list(known)
    hint = "".join(f"did you mean {one!r}? " for one in meant(key, there))
    return f"unknown key; {hint}known here: {', '.join(there)}"


def meant(key: str, known: Iterable[str]) -> list[str]:
    """Which known key was meant, if any."""
    return difflib.get_close_matches(key.lower()[:200], list(known), 1)


def _statements(text: str) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """Line, whether it is the header of a table, and what `tomli` makes of it, for each statement."""
    left = _WORK * (len(text) + 1_000)
    first, lines = 1, list[str]()
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        first = first if lines else number
        lines.append(line)
        if len(lines) > 1 and not any(end in line for end in _ENDS):
            continue
        statement = "\n".join(lines)
        left -= len(statement) + 1
        if left < 0:
            return
        try:
            table = tomli.loads(statement)
        except (ValueError, RecursionError):
            continue
        yield first, statement.lstrip().startswith("["), table
        lines.clear()


def _entered(table: dict[str, Any], counts: dict[TomlPath, int]) -> TomlPath:
    """The path of the table that a header begins; ``counts`` knows the arrays of tables."""
    path: TomlPath = ()
    inner: Any = table
    while inner:
        key, inner = next(iter(inner.items()))
        path += (key,)
        if isinstance(inner, list):
            counts[path] = counts.get(path, 0) + 1
            inner = None
        if path in counts:
            path += (counts[path] - 1,)
    return path


def _keys(table: dict[str, Any], here: TomlPath, line: int, found: dict[TomlPath, int]) -> None:
    for key, value in table.items():
        found.setdefault((*here, key), line)
        if isinstance(value, dict):
            _keys(value, (*here, key), line, found)
