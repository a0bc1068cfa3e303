"""Lint of users/domains, users/assign and users/cdb: does each line do what it seems to, is the cdb of them?"""

from __future__ import annotations

import bisect
import functools
import io
from collections.abc import Iterator
from pathlib import Path

from mailhost.accounts import names
from mailhost.accounts.change.assign import END
from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import durable
from mailhost.accounts.lint.facts import Facts, Finding
from mailhost.qmail.assign import NewuError
from mailhost.qmail.newu import make, open_bounded
from mailhost.system.reading import TooLarge, read_file

CDB_OCTETS = 1 << 32  # cdb(5): its positions are 32 bits
DASH = ord("-")
ASSIGN, CDB = "users/assign", "users/cdb"


def broken(facts: Facts) -> Iterator[Finding]:
    """Lines that qmail-newu refuses, cuts short or misreads (Q-ASSIGN-1..4, -7)."""
    for file, line, rule in facts.broken:
        mend = None
        if "newline" in rule:
            mend = functools.partial(_end_line, facts.layout.home / file)
        yield Finding("error", "part-broken", file, line, rule, "end the line" if mend else "", mend)


def _end_line(path: Path) -> None:
    """End the last line with a newline.

    Raises:
        BusyError: another program writes it at this moment.
    """
    was = durable.mark_to_read(path.stat)
    staged = durable.stage(path, path.read_bytes() + b"\n", 0o644)
    if durable.mark(path) != was:
        staged.unlink()
        raise BusyError(f"{path}: it was changed by someone else in between; try again")
    durable.publish(staged, path)


def twice(facts: Facts) -> Iterator[Finding]:
    """The same address in two lines: qmail takes the first (Q-ASSIGN-11)."""
    seen: dict[bytes, str] = {}
    for line in facts.entries:
        first = seen.setdefault(line.entry.key, f"{line.file} line {line.number}")
        if first != f"{line.file} line {line.number}":
            text = f"{_shown(line.entry.address)} is in {first} already; that one counts"
            yield Finding("error", "address-twice", line.file, line.number, text)


def loose_plus(facts: Facts) -> Iterator[Finding]:
    """The HOWTO's own + line (H-13, H-17): it takes more than meant, and its .qmail does not count."""
    for line in facts.entries:
        if not line.entry.wild:
            continue
        address = _shown(line.entry.address)
        if not line.entry.address.endswith(b"-"):
            text = f"+{address} takes {address}y and {address}.x too, not only {address} and {address}-anything (H-13)"
            yield Finding("error", "plus-too-wide", line.file, line.number, text)
        if not line.entry.dash:
            text = f"+{address} has an empty dash: its mail goes to ./Mailbox, past .qmail and .qmail-default (H-17)"
            yield Finding("error", "plus-without-dash", line.file, line.number, text)


def shadows(facts: Facts) -> Iterator[Finding]:
    """A + line of one part that takes the addresses of another part's domain (H-9)."""
    prefixes = {domain: prefix for domain, prefix, _ in facts.virtual()}
    taken = sorted(((prefix.lower() + "-").encode(), domain) for domain, prefix in prefixes.items())
    for line in facts.entries:
        if not line.entry.wild:
            continue
        own = prefixes.get(Path(line.file).name)
        for at in range(bisect.bisect_left(taken, (line.address, "")), len(taken)):
            address, domain = taken[at]
            if not address.startswith(line.address):
                break
            if prefixes[domain] != own:
                text = f"+{_shown(line.entry.address)} takes every address of {domain} that has no line of its own"
                yield Finding("error", "plus-shadows-domain", line.file, line.number, text)


def unreachable(facts: Facts) -> Iterator[Finding]:
    """Lines of a domain that start with no prefix of virtualdomains: no mail of a virtual domain comes there."""
    if facts.controls is None:
        return
    prefixes = {line.value.lower() + b"-" for line in facts.controls.virtualdomains.lines}
    own = {domain: prefix for domain, prefix, _ in facts.virtual()}
    told: set[str] = set()
    for line in facts.entries:
        domain = line.file.rpartition("/")[2]
        if (
            domain not in own
            or line.file in told
            or line.address.startswith(own[domain].lower().encode("latin-1") + b"-")
        ):
            continue
        if not any(line.address[:end] in prefixes for end, octet in enumerate(line.address, start=1) if octet == DASH):
            told.add(line.file)
            text = f"{_shown(line.entry.address)} does not start with {own[domain]}-: no mail for {domain} comes here"
            yield Finding("warning", "address-unreachable", line.file, line.number, text)


def identity(facts: Facts) -> Iterator[Finding]:
    """uid 0, which qmail refuses to deliver as (Q-LSP-9, H-14); relative homes, which bounce (E-33)."""
    for line in facts.entries:
        uid = line.entry.uid
        digits = uid[: len(uid) - len(uid.lstrip(b"0123456789"))]
        if int(digits or b"0") == 0:
            text = f"uid {_shown(uid)!r} is 0 for qmail, which puts such mail off for ever"
            yield Finding("error", "uid-zero", line.file, line.number, text)
        elif digits != uid or not line.entry.gid.isdigit():
            text = f"uid {_shown(uid)!r} or gid {_shown(line.entry.gid)!r} is not a plain number"
            yield Finding("error", "uid-odd", line.file, line.number, text)
        if not line.entry.home.startswith(b"/"):
            yield Finding(
                "error", "home-relative", line.file, line.number, "the home is not absolute: its mail bounces"
            )


def lost_parts(facts: Facts) -> Iterator[Finding]:
    """Parts without a domain, domains without a part, editors' copies (H-18)."""
    virtual = facts.virtual()
    owned = {prefix for domain, prefix, _ in virtual if domain in facts.parts}
    known = {domain for domain, _, _ in virtual}
    for name, content in facts.parts.items():
        shown = f"users/domains/{name}"
        if not _is_domain(name):
            yield Finding(
                "error", "part-misnamed", shown, 0, "is not named like a domain: an editor's copy? It counts too"
            )
        elif name not in known and content:
            yield Finding("error", "part-without-domain", shown, 0, f"control/virtualdomains does not have {name}")
    for domain, prefix, number in virtual:
        if prefix not in owned:
            text = f"{domain} has no part users/domains/{domain}: its mail bounces, or goes to ~alias"
            yield Finding("error", "domain-without-part", "control/virtualdomains", number, text)


def _is_domain(name: str) -> bool:
    try:
        return names.domain(name) == name
    except InputError:
        return False


def stale_assign(facts: Facts) -> Iterator[Finding]:
    """users/assign is not what the parts give, or does not end in its dot (H-19, H-20)."""
    joined = b"".join(facts.parts[name] for name in sorted(facts.parts, key=str.encode)) + END
    missing = False
    try:
        there = read_file(facts.layout.home / ASSIGN)
    except OSError as why:
        there, missing = b"", isinstance(why, FileNotFoundError)
    if there == joined:
        return
    line = next(iter(_foreign(facts, there)), 0)
    rebuild = not facts.broken and not line
    if missing:
        text = "is missing, so users/cdb cannot be made again; run `mailhost rebuild`"
    elif not there.endswith(END):
        text = "does not end in a line with a single dot: qmail-newu refuses it"
    elif line:
        text = "is in no file of users/domains: put it into the one of its domain, then run `mailhost rebuild`"
    else:
        text = "is not what users/domains/* gives; run `mailhost rebuild`"
    yield Finding("error", "assign-stale", ASSIGN, line, text, "rebuild", rebuild=rebuild)


def _foreign(facts: Facts, assign: bytes) -> Iterator[int]:
    """Lines of users/assign that are in no part; `--fix` joins no parts then, for that would lose them."""
    known = {END.strip(), b""}.union(*(text.splitlines() for text in facts.parts.values()))
    return (number for number, line in enumerate(assign.splitlines(), start=1) if line not in known)


def stale_cdb(facts: Facts) -> Iterator[Finding]:
    """users/cdb, which alone counts for delivery, is missing, older than users/assign, or made of something else."""
    assign, cdb = facts.layout.home / ASSIGN, facts.layout.home / CDB
    try:
        there = read_file(cdb, CDB_OCTETS)
    except TooLarge as why:
        yield Finding("error", "cdb-stale", CDB, 0, str(why.strerror), "newu", newu=True)
        return
    except OSError as why:
        yield Finding("error", "cdb-missing", CDB, 0, f"{why.strerror}: no box gets mail", "newu", newu=True)
        return
    wanted = io.BytesIO()
    try:
        with open_bounded(assign) as source:
            make(source, wanted)
    except FileNotFoundError:
        return  # `stale_assign` says so
    except (OSError, NewuError) as why:
        yield Finding(
            "error", "assign-refused", ASSIGN, getattr(why, "line", 0), f"cannot be made into users/cdb: {why}"
        )
        return
    if there != wanted.getbuffer():
        text = "is not what users/assign gives; run `mailhost newu` (H-20)"
        yield Finding("error", "cdb-stale", CDB, 0, text, "newu", newu=True)


def _shown(octets: bytes) -> str:
    return octets.decode("latin-1")


RULES = (broken, twice, loose_plus, shadows, unreachable, identity, lost_parts, stale_assign, stale_cdb)
