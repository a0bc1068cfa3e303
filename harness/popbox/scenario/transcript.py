r"""Conversations as the RFC writes them: ``C:`` and ``S:`` lines, parsed and matched. Pure: no sockets here.

``C: text``   the client sends the line; ``${name}`` is replaced by a variable.
``S: text``   the server must answer exactly this line; ``...`` inside stands for any run of octets.
``S: ...``    any number of lines, up to the line that the next ``S`` line matches.
``S~ regex``  the line must match the regular expression; its named groups become variables.
Empty lines and lines that start with ``#`` are for the reader. A line's trailing spaces count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_-]*)\}")


class Kind(Enum):
    """What a transcript line is."""

    CLIENT = "C:"
    EXACT = "S:"
    PATTERN = "S~"
    ANY_LINES = "S: ..."


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript; ``number`` counts from 1 within the text it came from."""

    kind: Kind
    text: str
    number: int


class TranscriptError(ValueError):
    """A transcript cannot be read; the text names the line and the rule."""


def not_regex(pattern: str) -> str:
    """Why a pattern is no regular expression; empty where it is one."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    return ""


def parse(text: str) -> tuple[Line, ...]:
    """Read a transcript.

    Raises:
        TranscriptError: a line is none of those above.
    """
    lines = tuple(
        _parse_line(raw, number)
        for number, raw in enumerate(text.split("\n"), 1)
        if raw.strip() and not raw.startswith("#")
    )
    if not any(line.kind is not Kind.CLIENT for line in lines):
        raise TranscriptError("a transcript needs at least one S: line, or it could not fail")
    for line, after in zip(lines, (*lines[1:], None), strict=True):
        if line.kind is Kind.ANY_LINES and (after is None or after.kind in (Kind.CLIENT, Kind.ANY_LINES)):
            raise TranscriptError(f"line {line.number}: after 'S: ...' must stand the S line that ends it")
    return lines


def _parse_line(raw: str, number: int) -> Line:
    mark, rest = raw[:2], raw[2:]
    if rest and not rest.startswith(" "):
        mark = ""
    text = rest[1:]
    if mark == "C:":
        return Line(Kind.CLIENT, text, number)
    if mark == "S:":
        return Line(Kind.ANY_LINES if text == "..." else Kind.EXACT, text, number)
    if mark == "S~":
        if why := not_regex(VARIABLE.sub("x", text)):
            raise TranscriptError(f"line {number}: {why}")
        return Line(Kind.PATTERN, text, number)
    raise TranscriptError(f"line {number}: {raw!r} starts with none of 'C: ', 'S: ', 'S~ ', '#'")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``${name}`` by its value.

    Raises:
        TranscriptError: a variable has no value.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise TranscriptError(f"no variable ${{{name}}}; there are: {', '.join(sorted(variables)) or 'none'}")
        return variables[name]

    return VARIABLE.sub(value, text)


def logins_in(text: str) -> list[tuple[str, str]]:
    """Login and password of each USER and PASS in a POP3 transcript that expects the password to be taken."""
    found, login = [], ""
    lines = parse(text)
    for line, after in pairwise(lines):
        verb, _, argument = line.text.partition(" ")
        if line.kind is Kind.CLIENT and verb.upper() == "USER":
            login = argument
        elif line.kind is Kind.CLIENT and verb.upper() == "PASS" and login and after.text.startswith("+OK"):
            found.append((login, argument))
    return found


def refused_in(text: str) -> int:
    """How many PASS of a POP3 transcript expect to be refused."""
    return sum(
        line.kind is Kind.CLIENT and line.text.upper().startswith("PASS ") and after.text.startswith("-ERR")
        for line, after in pairwise(parse(text))
    )


def match(line: Line, answer: str, variables: Mapping[str, str]) -> dict[str, str] | None:
    """Named groups of ``answer`` matched against an S line (empty for a plain match); None when it does not match."""
    if line.kind is Kind.PATTERN:
        escaped = {name: re.escape(value) for name, value in variables.items()}
        found = re.fullmatch(expand(line.text, escaped), answer)
        return {k: v for k, v in found.groupdict().items() if v is not None} if found else None
    pieces = expand(line.text, variables).split("...")
    pattern = ".*".join(re.escape(piece) for piece in pieces)
    return {} if re.fullmatch(pattern, answer, re.DOTALL) else None
