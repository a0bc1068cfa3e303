"""TOML in the form in which an accounts.toml is nearly always written, in a fraction of the time that `tomllib` takes.

That form: headers, ``key = value`` with bare keys, strings in double quotes without a backslash, lists of such
strings, true and false, numbers of digits, comments. A text with anything else in it is for `tomllib`, and so is one
that is wrong.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

_STRING = r'"[^"\\\x00-\x08\x0a-\x1f\x7f]*"'
_BARE = r"[A-Za-z0-9_-]+"
_BLANK = r"[ \t\n]*+"  # possessive: two of them side by side would try each way to share a long run of blanks
_LIST = rf"\[{_BLANK}(?:{_STRING}{_BLANK}(?:,{_BLANK}{_STRING}{_BLANK})*,?{_BLANK})?\]"
_NAME = rf"(?:{_STRING}|{_BARE})"
_STATEMENT = re.compile(
    rf"{_BLANK}(?:({_BARE})[ \t]*=[ \t]*(?:({_STRING})|(true|false)|(0|[1-9][0-9]{{0,17}})|({_LIST}))"
    rf"|\[({_NAME}(?:\.{_NAME})*)\])?"
    r"[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?(?:\n|\Z)"
)
_STRINGS, _NAMES = re.compile(_STRING), re.compile(_NAME)


def loads(text: str) -> dict[str, Any]:
    """What `tomllib.loads` gives for a text.

    Raises:
        ValueError, RecursionError: it is not TOML.
    """
    plain = _plain(text)
    return tomllib.loads(text) if plain is None else plain


def _plain(text: str) -> dict[str, Any] | None:
    """The same where all of the text has the plain form and is right; else None."""
    top: dict[str, Any] = {}
    table, headers, at = top, set[tuple[str, ...]](), 0
    while at < len(text):
        found = _STATEMENT.match(text, at)
        if found is None:
            return None
        at = found.end()
        key, string, flag, number, items, header = found.groups()
        if key is not None:
            if key in table:
                return None
            table[key] = _value(string, flag, number, items)
        elif header is not None:
            names = tuple(name.strip('"') for name in _NAMES.findall(header))
            inner = None if names in headers else _table(top, names)
            if inner is None:
                return None
            headers.add(names)
            table = inner
    return top


def _value(string: str | None, flag: str | None, number: str | None, items: str | None) -> object:
    if string is not None:
        return string[1:-1]
    if items is not None:
        return [item[1:-1] for item in _STRINGS.findall(items)]
    return flag == "true" if flag is not None else int(number or 0)


def _table(top: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any] | None:
    """The table of a header, made where it is missing; None where something else has one of its names."""
    table = top
    for name in names:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return None
    return table
