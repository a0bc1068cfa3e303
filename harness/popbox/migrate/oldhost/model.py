"""What an old host has, in no dialect: domains, routes (an address and where its mail goes), logins."""

from __future__ import annotations

from dataclasses import dataclass, field

from popbox.migrate.oldhost.findings import Finding, Left, Where
from popbox.migrate.oldhost.rules import RULES

CATCHALL = "*"
"""The local part of a route that takes what no other takes; no address has it."""

NO_DOMAIN = "local.invalid"
"""For what has an address and no domain; no one can ask DNS for it (RFC 2606 §2)."""

MAILDIR, MBOX = "maildir", "mbox"


@dataclass(frozen=True, slots=True)
class Store:
    """Where mail lies: the old host's path, without a slash at its end."""

    kind: str
    path: bytes


@dataclass(slots=True)
class Route:
    """One address and where its mail goes; with neither stores nor forwards only a program or no one has it."""

    domain: str
    local: str
    where: Where
    stores: list[Store] = field(default_factory=list)
    forwards: list[str] = field(default_factory=list)
    home: bytes | None = None
    """The real home whose own .qmail decides; None for a .qmail file of extensions."""
    guessed: bool = False
    """Whether a program of which nothing is known has the mail too: it may be what delivers into the mailbox."""


@dataclass(slots=True)
class Login:
    """A POP3 login. ``home`` is None where the file names none. Neither secret is ever shown.

    ``opens``: what it opens where that is certain, whatever address leads there. ``domain``: where it gets an address
    if none leads there; empty: told by its name or its home.
    """

    name: str
    where: Where
    home: bytes | None
    crypt: bytes = field(default=b"", repr=False)
    plain: bytes | None = field(default=None, repr=False)
    opens: Store | None = None
    domain: str = ""

    @property
    def has_hash(self) -> bool:
        """Whether a password can fit its crypt(3) hash: one behind ``!`` or ``*`` is locked."""
        return bool(self.crypt) and not self.crypt.startswith((b"!", b"*"))


@dataclass(frozen=True, slots=True)
class Kept:
    """Mail of an account beside the store that its login is taken to open."""

    store: Store
    account: str
    domain: str
    octets: int


@dataclass(slots=True)
class Domain:
    """A domain under the prefix that virtualdomains gives it; with ``alias_of`` another name for one."""

    prefix: str
    where: Where
    alias_of: str | None = None


@dataclass(slots=True)
class Said:
    """What a .qmail file does; ``found`` False: there is none, and mail goes where the host's default says.

    ``ended``: a program has stopped it there. ``refuses``: the mail is not taken. ``guessed``: a program of which
    nothing is known has the mail too. ``sent``: those of the forwards that a program sends at once. ``bounced``: the
    sender has the mail back, whatever else became of it. ``held``: the mail waits, and each try brings it to these
    stores and forwards; ``stores`` and ``forwards`` are then those without that line.
    """

    where: Where
    stores: list[Store] = field(default_factory=list)
    forwards: list[str] = field(default_factory=list)
    found: bool = True
    ended: bool = False
    refuses: bool = False
    guessed: bool = False
    sent: list[str] = field(default_factory=list)
    bounced: bool = False
    held: tuple[list[Store], list[str]] | None = None


@dataclass(slots=True)
class OldHost:
    """Everything read from the old host, and what was noticed on the way."""

    dialect: str = ""
    domains: dict[str, Domain] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    extensions: list[Route] = field(default_factory=list)
    """``local-anything`` and where that goes, as far as no route or longer ``local`` takes it."""
    logins: list[Login] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    system: list[Route] = field(default_factory=list)
    """The host's own addresses that mailhost has too: postmaster, mailer-daemon, root; they have no domain."""
    findings: list[Finding] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    homes: set[bytes] = field(default_factory=set)
    named_homes: dict[bytes, bytes] = field(default_factory=dict)
    """The real path of each home that could be looked into, by the path that a line names it with."""
    followed: dict[tuple[bytes, bytes, bytes, int | None], Said | None] = field(default_factory=dict)
    """What the .qmail files that were read last do; see `dialects.dotqmail.follow`."""
    guessed: set[bytes] = field(default_factory=set)
    """Homes in which a program of which nothing is known has mail: it can deliver to any place there."""
    box_paths: set[bytes] = field(default_factory=set)
    """Where the mailboxes lie that come over."""
    default_delivery: bytes = b"./Mailbox"
    """What an empty .qmail file and none mean (Q-LINE-1, Q-DOT-6): control/defaultdelivery, as for `routes`."""
    envnoathost: bytes = b""
    """The domain of an address without ``@`` (Q-SEND-20); empty where the host names none."""

    def wrong(self, rule: str, where: Where, text: str) -> None:
        """Note something wrong; the rule's level and consequence come from `RULES`."""
        level, consequence = RULES[rule]
        finding = Finding(level, rule, where, text, consequence)
        if finding not in self.findings[-50:]:  # two lines can lead to one file
            self.findings.append(finding)

    def leave(self, where: Where, what: str, why: str) -> None:
        """Note something that an import cannot carry."""
        self._leave(Left(where, what, why))

    def lose(self, where: Where, what: str, why: str) -> None:
        """Note mail that no login will open, or an address that will take none: an import then ends with 1."""
        self._leave(Left(where, what, why, lost=True))

    def unreadable(self, where: Where, why: str) -> None:
        """Note a file or folder of which nothing is known, and that what it says is lost."""
        self.wrong("unreadable", where, why)
        self.lose(where, "what it holds", why)

    def _leave(self, left: Left) -> None:
        if left not in self.left[-50:]:
            self.left.append(left)
