"""Samples of pages: what a page shows as typed and printed, and whether it is so.

In a page of ``harness/docs`` a fenced block is one of these:

- ``console``: lines that begin with ``$ `` are typed, in one shell for the whole page, in an empty folder; the lines
  below are printed. ``...`` stands for any text of a line, a line ``...`` for any lines; numbers and generated
  passwords may differ. A command ends with 0, unless the next one is ``echo $?``.
- a file: ``<!-- file: NAME -->`` stands above it, and the file is in the folder from there on.
- not run: ``<!-- not run: WHY -->`` stands above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BEGINS, ENDS = "\x01", "\x02"
_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>file|not run): (?P<told>[^\n]+?) -->\n+)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_VARIES = re.compile(r"\b[A-Za-z0-9]{20}\b|\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Sample:
    """A block of a page: ``kind`` is ``file``, ``not run`` or empty; ``told`` the name of the file or the reason."""

    kind: str
    told: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A command and the lines that it is said to print."""

    command: str
    printed: tuple[str, ...]


def samples(page: str) -> list[Sample]:
    """The fenced blocks of a page, in order."""
    found = (one.groupdict(default="") for one in _BLOCK.finditer(page))
    return [Sample(one["kind"], one["told"], one["language"], one["text"]) for one in found]


def typed(block: str) -> Iterator[Typed]:
    """The commands of a console block; one that ends in a backslash goes on in the next line."""
    command, printed = "", list[str]()
    for line in block.splitlines():
        if command.endswith("\\"):
            command += "\n" + line
        elif line.startswith("$ "):
            if command:
                yield Typed(command, tuple(printed))
            command, printed = line[2:], []
        else:
            printed.append(line)
    if command:
        yield Typed(command, tuple(printed))


def script(page: list[Sample]) -> str:
    """What a shell runs for a page: the files and the commands in order, each command between two marks."""
    lines = ["code=0"]
    for one in page:
        if one.kind == "file":
            lines.append(
                f"mkdir -p \"$(dirname '{one.told}')\"; cat >'{one.told}' <<'end of a file'\n{one.text}end of a file"
            )
        elif one.kind == "" and one.language == "console":
            for each in typed(one.text):
                lines += [f"echo '{BEGINS}'", '(exit "$code")', each.command, "code=$?", f'echo; echo "{ENDS}$code"']
    return "\n".join(lines) + "\n"


def differs(printed: tuple[str, ...], really: list[str]) -> str:
    """Why what was printed is not what the page says; empty where it is."""
    wanted = "\n".join(_pattern(line) for line in printed)
    pattern = wanted.replace(_ANY_LINES + "\n", "(?:.*\n)*?").replace("\n" + _ANY_LINES, "(?:\n.*)*?")
    text = "\n".join(_VARIES.sub("0", line.rstrip()) for line in really)
    if re.fullmatch(pattern.replace(_ANY_LINES, "(?:.|\n)*"), text):
        return ""
    return "the page says\n" + "\n".join(printed) + "\nand it printed\n" + "\n".join(really)


_ANY_LINES = "\x00"


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return _ANY_LINES
    return ".*".join(re.escape(_VARIES.sub("0", part)) for part in line.rstrip().split("..."))
