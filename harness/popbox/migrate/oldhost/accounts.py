"""What the new host is to have, as values: domains with mailboxes, forwards and a catchall."""

from __future__ import annotations

from dataclasses import dataclass, field

from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import Login, Store


@dataclass(slots=True)
class Box:
    """A mailbox of the new host: whose it is, and where its mail lies on the old one."""

    domain: str
    local: str
    store: Store
    where: Where
    login: Login | None = None
    aliases: list[str] = field(default_factory=list)
    extensions: bool = False

    @property
    def address(self) -> str:
        """``local@domain``."""
        return f"{self.local}@{self.domain}"


@dataclass(slots=True)
class DomainAccounts:
    """One domain; ``alias_of``: another name for one, with nothing of its own."""

    prefix: str
    alias_of: str | None = None
    boxes: dict[str, Box] = field(default_factory=dict)
    forwards: dict[str, list[str]] = field(default_factory=dict)
    catchall: str | None = None


@dataclass(slots=True)
class OldAccounts:
    """The whole host."""

    domains: dict[str, DomainAccounts]
    system: dict[str, list[str]]

    def boxes(self) -> list[Box]:
        """Every mailbox, in the order of domains."""
        return [box for entry in self.domains.values() for box in entry.boxes.values()]
