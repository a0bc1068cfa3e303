"""What lint looks at, gathered once: the texts of all files, and the entries and rows in them that can be read."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailhost.accounts.errors import BusyError
from mailhost.accounts.layout import Layout
from mailhost.poppasswd import file as poppasswd
from mailhost.poppasswd.file import Row
from mailhost.qmail.assign import AssignmentLine, NewuError, parse_line
from mailhost.qmail.control import Controls, load
from mailhost.qmail.controlfile import ControlError
from mailhost.qmail.dotqmail import Found, find, parse
from mailhost.qmail.failure import Failure
from mailhost.system.reading import TooLarge, read_file

instructions = functools.lru_cache(maxsize=8)(parse)  # the .qmail of nearly all boxes has the same text


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (``error``: mail or a login is lost or unsafe) or doubtful (``warning``).

    How `--fix` mends it: ``mend`` does it in place; ``rebuild`` joins the tables again, ``newu`` makes users/cdb;
    ``unlocal`` is a domain to take out of control/locals, ``accept`` one to add to control/rcpthosts.
    """

    level: str
    rule: str
    file: str
    line: int
    text: str
    cure: str = ""
    mend: Callable[[], object] | None = field(default=None, compare=False)
    rebuild: bool = False
    newu: bool = False
    unlocal: str = ""
    accept: str = ""

    @property
    def fixable(self) -> bool:
        """True where `--fix` mends it."""
        return self.mend is not None or self.rebuild or self.newu or bool(self.unlocal or self.accept)

    def __str__(self) -> str:
        where = f"{self.file}: line {self.line}" if self.line else self.file
        cure = f" [--fix: {self.cure}]" if self.fixable else ""
        return f"{where}: {self.level}: {self.text} ({self.rule}){cure}"


@dataclass(frozen=True, slots=True)
class AssignLine:
    """One entry of a part file, as qmail-newu reads it."""

    file: str
    number: int
    entry: AssignmentLine

    @property
    def address(self) -> bytes:
        """What it takes, in lower case, without the type byte."""
        return self.entry.address.lower()


@dataclass(frozen=True, slots=True)
class Home:
    """What stands at a home: whether the path is a link, and mode and uid of what it leads to; or why it is missing."""

    is_link: bool
    mode: int = 0
    uid: int = 0
    missing: str = ""

    @property
    def is_directory(self) -> bool:
        """True where mail can be led there."""
        return stat.S_ISDIR(self.mode)


@dataclass(slots=True)
class Facts:
    """Everything, read once. ``parts``: domain -> text; ``entries``: what can be read in them, ``broken`` the rest.

    ``controls`` is None where a control file cannot be read; ``unreadable`` says which and why.
    """

    layout: Layout
    controls: Controls | None
    unreadable: tuple[str, str] | None
    parts: dict[str, bytes]
    entries: list[AssignLine]
    broken: list[tuple[str, int, str]]
    rows: list[Row]
    bad_rows: list[tuple[int, str]]
    _homes: dict[bytes, Home] = field(default_factory=dict)
    _dots: dict[tuple[bytes, bytes, bytes], Found | Failure] = field(default_factory=dict)
    _alike: dict[Found | Failure, Found | Failure] = field(default_factory=dict)
    _here: bytes = field(init=False)

    def __post_init__(self) -> None:
        """The home as paths in the files have it, encoded once and not for each line."""
        self._here = os.fsencode(self.layout.home)

    def home(self, path: bytes) -> Home:
        """What stands at a home; it is looked at once for all rules."""
        found = self._homes.get(path)
        if found is None:
            found = self._homes[path] = _look_at(path)
        return found

    def dot_qmail(self, home: bytes, dash: bytes, ext: bytes) -> Found | Failure:
        """The .qmail file that counts, no link followed; it is read once for all rules."""
        asked = home, dash, ext
        found = self._dots.get(asked)
        if found is None:
            found = find(home, dash, ext, follow=False)
            found = self._dots[asked] = self._alike.setdefault(found, found)  # those of most boxes are alike
        return found

    def shown(self, path: Path) -> str:
        """A path as findings name it."""
        return self.layout.shown(path)

    def own_box(self, path: Path | bytes) -> bool:
        """True where a path, links followed, is below this home's popboxes/: nothing else there is --fix's to touch."""
        boxes = os.path.realpath(os.fsencode(self.layout.popboxes)) + b"/"
        return os.path.realpath(os.fsencode(path)).startswith(boxes)

    def outside(self, home: bytes) -> bool:
        """True where the directory of a line, links followed, is not below this home."""
        if home.startswith(self._here + b"/") and b"/../" not in home + b"/" and not self.home(home).is_link:
            return False
        return not os.path.realpath(home).startswith(os.path.realpath(self._here) + b"/")

    def virtual(self) -> list[tuple[str, str, int]]:
        """(domain, prefix, line) of each whole domain in virtualdomains, as qmail looks them up."""
        if self.controls is None:
            return []
        table = self.controls.virtualdomains
        return [
            (line.key.decode("latin-1").lower(), line.value.decode("latin-1"), line.number)
            for line in table.lines
            if line.value and line.key and b"@" not in line.key and not line.key.startswith(b".")
        ]


def _look_at(path: bytes) -> Home:
    is_link = False
    try:
        status = os.lstat(path)
        is_link = stat.S_ISLNK(status.st_mode)
        status = os.stat(path) if is_link else status
    except OSError as why:
        return Home(is_link, missing=why.strerror or str(why))
    return Home(is_link, status.st_mode, status.st_uid)


def gather(layout: Layout) -> Facts:
    """Read the host; what is missing or odd becomes a finding of the rule it concerns, not an exception.

    Raises:
        BusyError: this user may not read a file: findings about it would be false.
    """
    controls, unreadable = None, None
    try:
        controls = load(layout.home)
    except ControlError as why:
        unreadable = (why.file, why.rule)
    parts = dict(_parts(layout))
    entries, broken = _entries(layout, parts)
    rows, bad_rows = _rows(_text(layout.poppasswd) or b"")
    return Facts(layout, controls, unreadable, parts, entries, broken, rows, bad_rows)


def _text(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except (PermissionError, TooLarge) as why:
        raise BusyError(f"{path}: cannot be read: {why.strerror}") from why
    except OSError:
        return None


def _parts(layout: Layout) -> Iterator[tuple[str, bytes]]:
    try:
        names = sorted(path for path in layout.parts.iterdir() if not path.name.startswith("."))
    except PermissionError as why:
        raise BusyError(f"{layout.parts}: cannot be read: {why.strerror}") from why
    except OSError:
        return
    for path in names:
        yield path.name, _text(path) or b""


def _entries(layout: Layout, parts: dict[str, bytes]) -> tuple[list[AssignLine], list[tuple[str, int, str]]]:
    entries: list[AssignLine] = []
    broken: list[tuple[str, int, str]] = []
    for name, text in parts.items():
        file = layout.shown(layout.parts / name)
        lines = text.split(b"\n")
        if lines.pop():
            broken.append(
                (file, len(lines) + 1, "does not end in a newline: the next part's first entry is lost (H-18)")
            )
        for number, line in enumerate(lines, start=1):
            wrong = _wrong(line)
            if wrong:
                broken.append((file, number, wrong))
                continue
            try:
                entries.append(AssignLine(file, number, parse_line(line, number)))
            except NewuError as why:
                broken.append((file, number, why.rule))
    return entries, broken


def _wrong(line: bytes) -> str:
    """What qmail-newu accepts without complaint, though no one can mean it."""
    if line.startswith(b"."):
        return "ends users/assign: all that follows is lost (Q-ASSIGN-3)"
    if line[:1] not in (b"=", b"+"):
        return "starts with neither '=' nor '+': its first character is thrown away (Q-ASSIGN-2)"
    if line.count(b":") >= 7 and line.split(b":", 7)[7].strip(b"\r"):
        return "has text after the seventh colon, which is ignored (Q-ASSIGN-7)"
    return ""


def _rows(text: bytes) -> tuple[list[Row], list[tuple[int, str]]]:
    rows: list[Row] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not poppasswd.is_row(line):
            continue
        try:
            rows.append(poppasswd.row(line, number, "users/poppasswd"))
        except poppasswd.PoppasswdError as why:
            bad.append((number, f"{why.field} {why.rule}"))
    return rows, bad
