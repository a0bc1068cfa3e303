"""What an unattended `apply` must not do: take a half-written file at its word.

A TOML file that is cut between two tables is a valid one with fewer accounts. So a text counts when it stood still
(`mailhost follow` looks twice), and what it takes away must stand still for longer, be little, and hold no domain's
mail; anything else waits for a person. Nothing of a text that waits is applied: no one means half of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailhost.accounts.layout import Layout
from mailhost.accounts.model import Accounts, Domain

FEW = 3
"""Addresses that may go at once unattended (our choice: a customer or two, not a page of a file)."""
STILL_S = 60.0
"""How long a text without the end mark must have stood still before it may take anything away (our choice: a copy over
a slow line pauses for seconds, and senders try again for days)."""
END_MARK = "# end of accounts"
"""The last line of a file that says of itself where it ends; `export` writes it. Applied with it once, it needs it."""


@dataclass(frozen=True, slots=True)
class Goes:
    """What a declaration takes away from a host, in the words of an operator; domains before the rest."""

    domains: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    with_mail: tuple[str, ...] = field(default=())  # those of the domains that hold mail

    def __bool__(self) -> bool:
        return bool(self.domains or self.addresses)


def ends_whole(text: bytes, *, marked_before: bool) -> str:
    """Why a text is not a whole file; empty where nothing speaks against it."""
    if not text.strip():
        return "is empty: a failed copy far more often than a wish to have no accounts"
    if not text.endswith(b"\n"):
        return "does not end in a line end: half of a copy, or of an edit"
    if marked_before and not marked(text):
        return f"does not end in the line {END_MARK!r}, as it did when it was applied last: half of a copy"
    return ""


def marked(text: bytes) -> bool:
    """Whether the last line is the end mark."""
    return text.rstrip().rpartition(b"\n")[2].strip() == END_MARK.encode()


def goes(layout: Layout, now: Accounts, wanted: Accounts) -> Goes:
    """What of ``now`` is not in ``wanted`` and not agreed to by its `[removals]`."""
    agreed = set(wanted.removals)
    domains = [name for name in now.domains if name not in wanted.domains and name not in agreed]
    lost: list[str] = []
    for name, domain in now.domains.items():
        if name in wanted.domains:
            lost += _lost(name, domain, wanted.domains[name], agreed)
        elif name in domains:
            lost += [f"{local}@{name}" for local in (*domain.mailboxes, *domain.forwards)]
    lost += [name for name in now.system if name not in wanted.system]
    with_mail = [name for name in domains if _has_mail(layout, now.domains[name])]
    return Goes(tuple(domains), tuple(dict.fromkeys(lost)), tuple(with_mail))


def _lost(name: str, now: Domain, wanted: Domain, agreed: set[str]) -> Iterator[str]:
    """Addresses of a domain that stays that mail would no longer reach; agreeing to a box is to its aliases too."""
    for local, box in now.mailboxes.items():
        there = wanted.mailboxes.get(local)
        if there is None and f"{local}@{name}" in agreed:
            continue
        gone = [local] if there is None else [f"{local}-*"] if box.extensions and not there.extensions else []
        kept = there.aliases if there else ()
        gone += [alias for alias in box.aliases if alias not in kept and alias not in wanted.forwards]
        yield from (f"{one}@{name}" for one in gone if f"{one}@{name}" not in agreed)
    others = [local for local in now.forwards if local not in wanted.forwards and local not in wanted.mailboxes]
    if now.catchall is not None and wanted.catchall is None:
        others.append("*")
    yield from (f"{one}@{name}" for one in others if f"{one}@{name}" not in agreed)


def _has_mail(layout: Layout, domain: Domain) -> bool:
    if domain.alias_of is not None:
        return False
    boxes = (str(layout.box(domain.prefix, local)) for local in domain.mailboxes)
    return any(_box_has_mail(box) for box in boxes)


def _box_has_mail(box: str) -> bool:
    """Whether a message lies in the box; what cannot be looked at may hold one."""
    try:
        if any(_names(f"{folder}/{place}") for folder in _folders(f"{box}/Maildir") for place in ("new", "cur")):
            return True
    except OSError:
        return True
    try:
        return os.stat(f"{box}/Mailbox", follow_symlinks=False).st_size > 0  # noqa: PTH116 - as many as there are boxes
    except OSError:
        return False


def _folders(maildir: str) -> list[str]:
    """A Maildir and its folders (Maildir++)."""
    return [maildir, *(f"{maildir}/{name}" for name in _names(maildir) if name.startswith("."))]


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def needs_a_person(gone: Goes, now: Accounts) -> str:
    """Why a person must agree to what goes; empty where it does not."""
    if gone.with_mail:
        return f"takes away {_some(gone.with_mail)} with the mail in it"
    if gone.domains and len(gone.domains) == len(now.domains):
        return f"takes away every domain: {_some(gone.domains)}"
    if len(gone.addresses) > FEW:
        return f"takes away {len(gone.addresses)} addresses: {_some((*gone.domains, *gone.addresses))}"
    return ""


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
