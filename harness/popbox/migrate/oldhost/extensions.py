"""``local-anything`` of the old host on the new one: a mailbox with extensions, the catchall, or lost."""

from __future__ import annotations

from collections.abc import Callable

from popbox.migrate.oldhost.accounts import Box, DomainAccounts, OldAccounts
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import CATCHALL, OldHost, Route


def settle_extensions(host: OldHost, accounts: OldAccounts, targets: Callable[[Route], set[str]]) -> None:
    """Give mailboxes their extensions, and name the addresses whose mail would go elsewhere.

    ``targets``: the new host's addresses that a route leads to. mailhost's extensions go where the mailbox's own mail
    goes; an alias and a forward have none.
    """
    done: set[tuple[str, str]] = set()
    left: list[Route] = []
    for route in host.extensions:
        key = route.domain, route.local
        entry = accounts.domains[route.domain]
        box = entry.boxes.get(route.local)
        wanted = targets(route)
        if key in done:
            continue
        done.add(key)
        if box is not None and box.address in wanted and wanted <= _way(entry, box):
            box.extensions = True
        else:
            left.append(route)
    catchalls = {route.domain: targets(route) for route in host.routes if route.local == CATCHALL}
    for route in left:
        entry, wanted = accounts.domains[route.domain], targets(route)
        parts = route.local.split("-")
        above = (entry.boxes.get("-".join(parts[:end])) for end in range(len(parts), 0, -1))
        box = next((one for one in above if one is not None and one.extensions), None)
        way = _way(entry, box) if box is not None else catchalls.get(route.domain, set())
        whole = len(wanted) >= len({*route.stores, *route.forwards})
        if not (wanted and whole and wanted <= way):
            _lost(host, route.where, f"{route.local}-...@{route.domain}")


def _way(entry: DomainAccounts, box: Box) -> set[str]:
    return {box.address, *entry.forwards.get(box.local, [])}


def _lost(host: OldHost, where: Where, what: str) -> None:
    why = "mailhost's extensions go where the mailbox's own mail goes, and forwards have none; other mail will bounce"
    host.lose(where, f"addresses {what}", why)
