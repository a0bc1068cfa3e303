"""What of a declaration this host cannot become, all at once: prefixes that overlap, passwords that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mailhost.accounts.change.prefixes import dash_cuts
from mailhost.accounts.errors import InputError
from mailhost.accounts.model import Accounts, Domain, Mailbox
from mailhost.accounts.operations import domains
from mailhost.accounts.sources.accounts_toml import domain_table, mailbox_table
from mailhost.accounts.sources.declaration import Declaration
from mailhost.accounts.sources.tables import Mistakes
from mailhost.system.reading import read_given

PASSWORD_OCTETS = 4_096
"""A larger password file is refused; no POP3 command line holds as much."""
Passwords = dict[str, bytes]
"""The password of each file that the declaration names."""


def check(now: Accounts, wanted: Accounts, source: Declaration, *, generates: bool) -> Passwords:
    """See that ``now`` can become ``wanted``; ``generates``: passwords that are not given are made up.

    Raises:
        InputError: names every table and key in the way, each with its line.
    """
    mistakes, passwords = Mistakes(str(source.file)), Passwords()
    for one, other in _overlaps(wanted):
        if one not in now.domains or other not in now.domains:
            mistakes.note(("domains", other, "prefix"), f"{domain_table(other)}: prefix", _overlap(wanted, one, other))
    for name, domain in wanted.domains.items():
        there = now.domains.get(name)
        if there is not None and (there.prefix != domain.prefix or there.alias_of != domain.alias_of):
            rule = f"is there with prefix {there.prefix!r}, alias of {there.alias_of}; delete it first to change that"
            mistakes.note(("domains", name), domain_table(name), rule)
        for local, box in domain.mailboxes.items():
            path = ("domains", name, "mailboxes", local)
            if box.password_file is not None:
                try:
                    passwords[box.password_file] = _password(source.file.parent / box.password_file)
                except InputError as why:
                    table = mailbox_table(name, local)
                    mistakes.note((*path, "password_file"), f"{table}: password_file: {why.file}", why.rule)
            elif not generates and box.crypt is None and _lacks_password(there, local, box):
                rule = "is new: say crypt or password_file, or run with --generate"
                mistakes.note(path, mailbox_table(name, local), rule)
    source.refuse(mistakes)
    return passwords


def unchanged(there: Mailbox, box: Mailbox) -> bool:
    """Whether a box is as declared but for its password file; what is not said of it stays as it is.

    Aliases are seen to elsewhere.
    """
    return (
        box.login in (None, there.login)
        and box.crypt in (None, there.crypt)
        and (box.extensions, box.delivery) == (there.extensions, there.delivery)
    )


def _lacks_password(there: Domain | None, local: str, box: Mailbox) -> bool:
    """Whether a login is made for a box of which nothing says the password."""
    known = None if there is None else there.mailboxes.get(local)
    return known is None or (known.login is None and not unchanged(known, box))


def _overlaps(wanted: Accounts) -> Iterator[tuple[str, str]]:
    """Each two declared domains of which one could take the other's mail."""
    owners: dict[str, str] = {}
    for name, domain in wanted.domains.items():
        first = owners.setdefault(domain.prefix, name) if domain.alias_of is None else name
        if first != name:
            yield first, name
    for prefix, name in owners.items():
        for cut in dash_cuts(prefix):
            if cut in owners:
                yield owners[cut], name


def _overlap(wanted: Accounts, one: str, other: str) -> str:
    theirs, prefix = wanted.domains[one].prefix, wanted.domains[other].prefix
    return (
        f"{prefix!r} and {theirs!r} of {domain_table(one)} overlap: {domains.OVERLAP}. "
        f'Give one of the two tables another prefix, as in prefix = "{domains.other_prefix(prefix)}"'
    )


def _password(path: Path) -> bytes:
    """The first line of a password file.

    Raises:
        InputError: it cannot be read, or that line is empty.
    """
    try:
        line = read_given(path, PASSWORD_OCTETS).split(b"\n")[0].removesuffix(b"\r")
    except OSError as why:
        raise InputError(f"cannot be read: {why.strerror}", file=str(path)) from why
    if not line:
        raise InputError("its first line is empty", file=str(path))
    return line
