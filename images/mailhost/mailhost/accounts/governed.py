"""Which file governs a host: single verbs must not change there what the next `apply` of that file would take back.

The one who follows the file (`mailhost follow`) keeps the record ``users/.mailhost/governed``: the file, what of it
was applied last, and what of it waits for a person.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import Layout
from mailhost.accounts.sources import accounts_toml

NAME, LOCK = "governed", "governed.lock"
LOCK_WAIT_S = 10.0  # a note takes milliseconds


@dataclass(frozen=True, slots=True)
class Governed:
    """The record. ``applied`` is the SHA-256 of the text applied last, ``at`` when (UTC); both empty before the first.

    ``marked``: that text ended in the end mark. ``waits``: why the newest text is not applied; empty where it is.
    """

    file: str
    applied: str = ""
    at: str = ""
    marked: bool = False
    waits: str = ""


def read(layout: Layout) -> Governed | None:
    """The record, or None for a host that no file governs.

    Raises:
        BusyError: it cannot be read.
    """
    path = layout.work / NAME
    try:
        return _record(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as why:
        raise BusyError(f"{path}: cannot be read: {why.strerror}") from why
    except (ValueError, TypeError) as why:
        raise BusyError(f"{path}: is not the record that `mailhost follow` keeps; remove it ({why})") from why


def _record(said: dict[str, Any]) -> Governed:
    """What we know of it; a newer mailhost may say more.

    Raises:
        TypeError: it is none.
    """
    record = Governed(**{each.name: said[each.name] for each in fields(Governed) if each.name in said})
    if [type(value) for value in asdict(record).values()] != [str, str, str, bool, str]:
        raise TypeError("a field is of another kind")
    return record


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """No other process changes the record now: `apply` notes what it did while `follow` notes why something waits.

    Not the writers' lock, which an `apply` that makes a note may hold.
    """
    durable.make_private(layout.work)
    try:
        lock = durable.take_lock(layout.work / LOCK, LOCK_WAIT_S)
    except OSError as why:
        raise BusyError(f"{layout.work / LOCK}: {why.strerror}") from why
    try:
        yield
    finally:
        os.close(lock)


def release(layout: Layout) -> None:
    """No file governs this host any more: its accounts stay, and single verbs change them again."""
    if (layout.work / NAME).exists():
        with _alone(layout):
            (layout.work / NAME).unlink(missing_ok=True)


def note(layout: Layout, file: Path, **changed: object) -> Governed:
    """Change the record of the host that ``file`` governs; written only where it differs. Returns it.

    Raises:
        BusyError: it cannot be read or kept, or another mailhost has it for `LOCK_WAIT_S`.
    """
    with _alone(layout):
        before = read(layout)
        kept = before if before is not None and before.file == str(file) else Governed(str(file))
        record = replace(kept, **changed)  # type: ignore[arg-type]  # the fields' names are the keywords
        if record != before:
            durable.put_small(layout.work / NAME, json.dumps(asdict(record)).encode(), 0o600)
    return record


def refuse(layout: Layout, table: str) -> None:
    """See that no file governs the host; ``table`` is the one to edit in that file.

    Raises:
        InputError: one does.
    """
    record = read(layout)
    if record is not None:
        raise InputError(
            "this file governs the accounts of this host, and its next apply would take this change back: nothing is "
            "changed. Edit the file; `mailhost follow` applies it by itself, `mailhost apply` at once",
            file=record.file,
            field=table,
        )


def refuse_password(layout: Layout, local: str, domain: str) -> None:
    """The same for the password of one mailbox: it is the file's only where the file says one.

    Raises:
        InputError: the file that governs the host says a password for this mailbox, or cannot be read.
    """
    record = read(layout)
    if record is None:
        return
    declared = accounts_toml.load(Path(record.file)).domains.get(domain)
    box = declared.mailboxes.get(local) if declared else None
    if box is None or box.crypt is not None or box.password_file is not None:
        refuse(layout, accounts_toml.mailbox_table(domain, local))


def refuse_hash(layout: Layout, crypt: bytes) -> None:
    """The same for a hash that stands in users/poppasswd.

    Raises:
        InputError: the file that governs the host has it too, so that the next apply would bring it back.
    """
    record = read(layout)
    if record is None:
        return
    for name, domain in accounts_toml.load(Path(record.file)).domains.items():
        for local, box in domain.mailboxes.items():
            if box.crypt is not None and box.crypt.encode() == crypt:
                refuse(layout, f"{accounts_toml.mailbox_table(name, local)}: crypt")
