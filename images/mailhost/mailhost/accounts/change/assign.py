"""users/assign: all parts, one after the other in the order of a shell's ``*``, then a single dot (H-18)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mailhost.accounts import names
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError, HostError, InputError
from mailhost.accounts.files.durable import copy_range, mark
from mailhost.accounts.layout import Layout
from mailhost.system.durable import write_all
from mailhost.system.reading import OWN_OCTETS, read_file

END = b".\n"
STAMP = "assign"
"""users/.mailhost/assign: the mark of the users/assign we wrote. Another one may hold a person's work."""

OLD = "assign.old"
"""users/assign.old: the users/assign from which `rebuild --force` removed the lines that are not ours."""

_ENTRIES = re.compile(rb"(?:[^:\n\0.#][^:\n\0]*(?::[^:\n\0]*){6}:[^\n\0]*\n)*+")
"""As many whole entries as there are (Q-ASSIGN-1..4); a line that starts with # is no assignment (E-11)."""


def stage(transaction: Transaction, changed: dict[str, bytes], removed: set[str], *, force: bool = False) -> list[int]:
    """Stage changed parts, the users/assign that they give with the others, and the making of users/cdb.

    Returns the numbers of the lines that ``force`` takes out; the file that had them is kept as users/assign.old.

    Raises:
        InputError: a part would break or cut short users/assign; nothing is staged for good then.
        HostError: users/assign has lines that no part has, written by others (``force`` removes them).
    """
    layout = transaction.layout
    transaction.read_mark(layout.users / "assign")
    foreign = [] if _ours(layout) else foreign_lines(layout, changed)
    if foreign and not force:
        raise HostError(
            f"users/assign: line {foreign[0]}: is in no file of users/domains, so joining those would lose it. Put it "
            "into the one of its domain, then `mailhost rebuild`; or take users/assign as it stands with "
            "`mailhost newu`, which is qmail-newu; or have it taken out by `mailhost rebuild --force`"
        )
    if foreign:
        transaction.put(layout.users / OLD, (layout.users / "assign").read_bytes())
    for name, text in changed.items():
        transaction.put(layout.parts / name, text)
    parts = sorted(({path.name for path in part_files(layout)} | set(changed)) - removed, key=os.fsencode)

    def fill(target: int) -> None:
        for name in parts:
            if name in changed:
                write_all(target, changed[name])
            else:
                _append(layout, layout.parts / name, target)
        write_all(target, END)

    new = transaction.put(layout.users / "assign", fill)
    transaction.put(layout.work / STAMP, b"%d %d %d\n" % new)
    transaction.newu()
    return foreign


def part_files(layout: Layout) -> list[Path]:
    """The files below users/domains that are parts; dot names are not (nor are they for the HOWTO's ``cat *``).

    Raises:
        BusyError: there is no such directory.
        InputError: a name that is no domain's, such as an editor's ``domain.com~``, which would count twice (H-18).
    """
    if not layout.parts.is_dir():
        raise BusyError(f"{layout.parts}: missing; `mailhost init` makes it")
    found = sorted(path for path in layout.parts.iterdir() if not path.name.startswith("."))
    for path in found:
        try:
            if names.domain(path.name) == path.name and path.is_file():
                continue
        except InputError:
            pass
        raise InputError("is not a file named like a domain; move it elsewhere", file=layout.shown(path))
    return found


def _append(layout: Layout, path: Path, target: int) -> None:
    """Copy one part, having looked at each line: what qmail-newu refuses must not get as far as users/assign."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size > OWN_OCTETS:
            raise InputError(f"is larger than {OWN_OCTETS} octets, and not read", file=layout.shown(path))
        position, lines, rest = 0, 0, b""
        while block := os.pread(descriptor, 1 << 20, position):
            position += len(block)
            end = block.rfind(b"\n") + 1
            whole, rest = (rest + block[:end], block[end:]) if end else (b"", rest + block)
            good = _ENTRIES.match(whole).end()  # type: ignore[union-attr]  # it matches nothing at least
            if good < len(whole):
                line = whole[good : whole.index(b"\n", good)]
                number = lines + whole.count(b"\n", 0, good) + 1
                raise InputError(f"{_fault(line)} breaks users/assign (H-18)", file=layout.shown(path), line=number)
            lines += whole.count(b"\n")
        if rest:
            raise InputError("the last line does not end in a newline (H-18)", file=layout.shown(path))
        copy_range(descriptor, target, 0, size)
    finally:
        os.close(descriptor)


def _fault(line: bytes) -> str:
    """What is wrong with a line that is no entry."""
    if not line:
        return "an empty line"
    if b"\0" in line:
        return "a NUL octet"
    starts = {b".": "a line that starts with a dot", b"#": "a comment", b":": "an entry without an address"}
    colons = f"a line with {line.count(b':')} colons, where an entry has seven"
    return starts.get(line[:1], colons)


def _ours(layout: Layout) -> bool:
    """Whether users/assign is the one we wrote last, or is not there."""
    now, stamp = mark(layout.users / "assign"), layout.work / STAMP
    return now is None or (stamp.exists() and stamp.read_bytes() == b"%d %d %d\n" % now)


def foreign_lines(layout: Layout, changed: dict[str, bytes] | None = None) -> list[int]:
    """The numbers of the lines of users/assign that are in no part: added there by hand, as the HOWTO first does it."""
    known = {END.strip(), b""}
    for part in part_files(layout):
        known.update(read_file(part).splitlines())
    for text in (changed or {}).values():
        known.update(text.splitlines())
    lines = read_file(layout.users / "assign").splitlines()
    return [number for number, line in enumerate(lines, start=1) if line not in known]
