"""An audit as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from popbox.migrate.audit.audit import Audit, Held
from popbox.migrate.oldhost.accounts import DomainAccounts
from popbox.migrate.oldhost.findings import Finding, Left, shown
from popbox.migrate.oldhost.mboxes.text import described, reading_as_json
from popbox.migrate.units import size
from popbox.printable import counted

COLUMNS = ("domain", "boxes", "logins", "forwards", "catchall", "messages", "octets")
SHOWN = 50  # findings and things left; --all shows the rest


def table(audit: Audit, *, everything: bool) -> list[str]:
    """What is there, what is wrong, what cannot be carried."""
    rows = [_row(name, entry, audit.held) for name, entry in audit.accounts.domains.items()]
    cells = [COLUMNS, *(tuple(str(value) for value in _cells(row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = [f"dialect {audit.host.dialect}", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if mboxes := _mboxes(audit):
        lines += ["", *_some(mboxes, everything)]
    lines += ["", *_some(audit.findings, everything)]
    if audit.left:
        lines += ["", "cannot be carried over:", *(f"  {line}" for line in _some(audit.left, everything))]
    return [*lines, "", summary(audit)]


def _some(things: Iterable[Finding] | Iterable[Left] | Iterable[str], everything: bool) -> list[str]:
    all_of_them = [str(thing) for thing in things]
    if everything or len(all_of_them) <= SHOWN:
        return all_of_them
    return [*all_of_them[:SHOWN], f"... and {len(all_of_them) - SHOWN} more; --all shows them"]


def _mboxes(audit: Audit) -> list[str]:
    """How each mbox is read."""
    return [
        f"mbox {shown(one.box.store.path)}: {described(one.reading)}" for one in audit.held if one.reading is not None
    ]


def summary(audit: Audit) -> str:
    """The last line."""
    errors = sum(finding.level == "error" for finding in audit.findings)
    octets = sum(held.octets for held in audit.held)
    messages = sum(held.messages or 0 for held in audit.held)
    there = f"{counted(len(audit.held), 'box', 'boxes')}, {counted(messages, 'message')}, {size(octets)}"
    warnings = len(audit.findings) - errors
    wrong = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}" if audit.findings else "nothing wrong"
    return f"{there}; {wrong}; {counted(len(audit.left), 'thing')} cannot be carried over"


def _row(name: str, entry: DomainAccounts, held: list[Held]) -> dict[str, Any]:
    mine = [one for one in held if one.box.domain == name]
    counted = [one.messages for one in mine if one.messages is not None]
    return {
        "domain": name,
        "alias_of": entry.alias_of,
        "boxes": len(entry.boxes),
        "logins": sum(box.login is not None for box in entry.boxes.values()),
        "forwards": len(entry.forwards),
        "catchall": entry.catchall,
        "messages": sum(counted) if len(counted) == len(mine) else None,
        "octets": sum(one.octets for one in mine),
    }


def _cells(row: dict[str, Any]) -> list[Any]:
    if row["alias_of"]:
        return [row["domain"], f"as {row['alias_of']}", "", "", "", "", ""]
    shown = {**row, "catchall": row["catchall"] or "-", "messages": "?" if row["messages"] is None else row["messages"]}
    return [shown[column] for column in COLUMNS]


def as_json(audit: Audit) -> dict[str, Any]:
    """README.md says what each key means. No hash and no password is in it."""
    return {
        "dialect": audit.host.dialect,
        "domains": [_row(name, entry, audit.held) for name, entry in audit.accounts.domains.items()],
        "boxes": [
            {
                "address": one.box.address,
                "login": one.box.login.name if one.box.login else None,
                "aliases": one.box.aliases,
                "extensions": one.box.extensions,
                "store": one.box.store.path.decode("utf-8", "backslashreplace"),
                "kind": one.box.store.kind,
                "messages": one.messages,
                "octets": one.octets,
                "mbox": reading_as_json(one.reading) if one.reading else None,
            }
            for one in audit.held
        ],
        "findings": [
            {
                "level": f.level,
                "rule": f.rule,
                "file": f.where.file,
                "line": f.where.line or None,
                "text": f.text,
                "consequence": f.consequence,
            }
            for f in audit.findings
        ],
        "left": [
            {"file": one.where.file, "line": one.where.line or None, "what": one.what, "why": one.why}
            for one in audit.left
        ],
    }
