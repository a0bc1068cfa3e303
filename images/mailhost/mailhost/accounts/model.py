"""What the operator declares, as values: the same whether read from accounts.toml or from qmail's files."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Delivery(Enum):
    """Where a box keeps its mail; the value is the line in ``.qmail``. Only a Maildir is seen by POP3 (H-33)."""

    MAILDIR = "./Maildir/"
    MBOX = "./Mailbox"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One box. ``login`` and ``crypt`` None: not said (in a declaration), none there (on a host).

    ``password_file``: the path a declaration names in place of a hash.
    """

    login: str | None = None
    crypt: str | None = None
    extensions: bool = False
    delivery: Delivery = Delivery.MAILDIR
    aliases: tuple[str, ...] = ()
    password_file: str | None = None


@dataclass(slots=True)
class Domain:
    """One domain: its boxes and forwards by local part; or, with ``alias_of``, only another name for one."""

    prefix: str
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    forwards: dict[str, tuple[str, ...]] = field(default_factory=dict)
    catchall: str | None = None
    alias_of: str | None = None


@dataclass(slots=True)
class Accounts:
    """A whole host: domains in the order of control/virtualdomains, the ~alias trio, and the login numbers given.

    ``removals``: domains and addresses that a declaration agrees to have removed unattended.
    """

    domains: dict[str, Domain] = field(default_factory=dict)
    system: dict[str, tuple[str, ...]] = field(default_factory=dict)
    policy: str | None = None
    last: dict[str, int] = field(default_factory=dict)
    removals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something on the host that no declaration holds: kept, and not exported."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        where = f"{self.file}: line {self.line}" if self.line else self.file
        return f"{where}: {self.what}"
