"""What is declared, in pages that stay small: the list that was asked for, and the beginnings of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from popbox.hosts.base import Host
from popbox.serve.console.render import ROWS_OCTETS, Pages
from popbox.serve.console.words import below
from popbox.serve.reads import declared

PAGE = 100  # rows of a list
BESIDE_OCTETS = 7 * 1024  # our choice: of each other list on the page of mailboxes
SECTIONS = ("lint", "domains", "forwards", "mailboxes")  # the last has what the others leave

Show = Literal["", "domains", "forwards", "lint", "mailboxes"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A search (``of``), one list to ``show`` or all, and the name of the last row of the page before."""

    of: str
    show: Show
    after: str


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one list, as markup, and where the next ones are; empty where there are none."""

    rows: list[str]
    next_path: str


def shown(pages: Pages, host: Host, asked: Asked) -> dict[str, Any]:
    """What the page shows of the host's accounts."""
    said = declared(host, lint=True)
    beside, loose = _placed(said)
    fits = _search(asked.of, said["domains"])
    rows: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "lint": [(f"{number:09}", one) for number, one in enumerate(loose)],
        "domains": [(one["domain"], one) for one in said["domains"] if fits(f"@{one['domain']}")],
        "forwards": [(one["address"], one) for one in said["forwards"] if fits(one["address"])],
        "mailboxes": [
            (one["address"], one)
            for one in said["mailboxes"]
            if fits(one["address"], *one["aliases"], one["login"] or "")
        ],
    }

    def of_mailbox(one: dict[str, Any]) -> tuple[Any, ...]:
        return one, below(_maildir(one), host.home()), beside.get(one["login"], ())

    sections, left = dict[str, Section](), ROWS_OCTETS
    for name in SECTIONS if not asked.show else (asked.show,):
        most = left if name in (asked.show, SECTIONS[-1]) else BESIDE_OCTETS
        of_row = of_mailbox if name == "mailboxes" else lambda one: (one,)
        sections[name] = _section(pages, asked, name, rows[name], of_row, most)
        left -= sum(len(row.encode()) for row in sections[name].rows)
    totals = {name: len(said[name]) for name in ("domains", "mailboxes", "forwards", "findings")}
    return {"sections": sections, "totals": totals, "unlinted": said["unlinted"]}


def _section(
    pages: Pages,
    asked: Asked,
    name: str,
    rows: list[tuple[str, dict[str, Any]]],
    of_row: Callable[[dict[str, Any]], tuple[Any, ...]],
    most: int,
) -> Section:
    """One list from where it was asked for, as much as fits; ``of_row``: what the macro of a row takes."""
    after = _key(asked.after) if asked.show and asked.after else ("", "")
    rest = sorted((row for row in rows if _key(row[0]) > after), key=lambda row: _key(row[0]))
    made = pages.fitting("accounts_rows.html.j2", name, (of_row(one) for _, one in rest[:PAGE]), most)
    if len(made) == len(rest):
        return Section(made, "")
    query = {"of": asked.of, "show": name, "after": rest[len(made) - 1][0]}
    return Section(made, f"/accounts?{urlencode(query)}")


def _key(name: str) -> tuple[str, str]:
    """The order of addresses: by domain, then by local part."""
    local, _, domain = name.rpartition("@")
    return domain, local


def _search(of: str, domains: list[dict[str, Any]]) -> Callable[..., bool]:
    """Whether one of some names is looked for: by a part of it, or by its domain where that is one of the host's."""
    wanted = of.strip().lower()
    if any(one["domain"] == wanted for one in domains):
        return lambda address, *more: address.rpartition("@")[2] == wanted
    return lambda *names: any(wanted in name.lower() for name in names)


def _placed(said: Mapping[str, Any]) -> tuple[dict[str, list[Any]], list[Any]]:
    """What lint says of each login, which stands beside its mailbox, and the rest."""
    logins = {one["login"] for one in said["mailboxes"]}
    beside: dict[str, list[Any]] = {}
    loose: list[Any] = []
    for one in said["findings"]:
        login = one["text"].partition(" ")[0].removesuffix(":")
        (beside.setdefault(login, []) if login in logins else loose).append(one)
    return beside, loose


def _maildir(mailbox: Mapping[str, Any]) -> str:
    delivery = mailbox["delivery"] or ""
    return f"{mailbox['directory']}/{delivery[2:].rstrip('/')}" if delivery.startswith("./") else ""
