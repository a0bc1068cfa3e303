"""The accounts that a scenario adds to a host that others use too, and their removal when it has ended.

What was there before it is not changed. Each thing is noted, in the store, before it is made, and made by a command
that refuses what is there already: so what is removed is what the scenario made, also after a kill -9.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from popbox.errors import HostError
from popbox.hosts.base import Host, Ran
from popbox.serve.writes.scenario.allowed import Command, command

Domains = dict[str, dict[str, Any]]  # name in lower case -> its table, as `mailhost export` prints it
TABLE = ("apply", "--no-delete", "/dev/stdin")  # how the runner declares the accounts of a scenario
KINDS = {"mailboxes": "mailbox", "forwards": "forward"}
COMPARED = ("login", "crypt", "extensions")  # of a mailbox: what a scenario can say of one


@dataclass(frozen=True, slots=True)
class Things:
    """What a run has made, in lower case: domains, and addresses. ``addresses`` are all, those in its domains too."""

    domains: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.domains or self.addresses)

    def holds(self, address: str) -> bool:
        """Whether an address is the run's: made by it, or in a domain that was."""
        return address in self.addresses or domain_of(address) in self.domains

    def without(self, gone: str) -> Things:
        """The same without a domain and all in it, or without an address."""
        addresses = (one for one in self.addresses if gone not in (one, domain_of(one)))
        return Things(tuple(one for one in self.domains if one != gone), tuple(addresses))


class Own:
    """Runs ``mailhost`` for a scenario. Used by one thread."""

    def __init__(self, host: Host, keep: Callable[[Things], None]) -> None:
        """``keep`` stores what is about to be made, before it is."""
        self._host, self._keep, self.things = host, keep, Things()

    def run(self, argv: tuple[str, ...], stdin: bytes) -> Ran:
        """``mailhost ARGV``, where a scenario may run that.

        Raises:
            UnusableError: it is a command that none may.
            HostError: it would change what was there before, or the host does not answer.
        """
        if argv == TABLE:
            return self._apply(stdin)
        asked = command(argv)
        if asked.changes and "--dry-run" not in asked.flags:
            return self._change(asked, argv, stdin)
        return self._host.run(*argv, stdin=stdin)

    def _change(self, asked: Command, argv: tuple[str, ...], stdin: bytes) -> Ran:
        target = asked.words[0].lower() if asked.words else ""
        there, new = accounts(self._host), Things()
        domain = domain_of(target) or target
        if asked.verb == "forward add":
            self._inside(there, asked.words[1:])
        if asked.verb == "domain add" and domain not in there:
            new = Things((domain,))
        elif asked.verb in ("mailbox add", "forward add") and domain in there and not _has(there, target):
            new = Things((), (target,))
        elif asked.verb == "mailbox rename" and len(asked.words) == 2 and self.things.holds(target):
            new = Things((), (f"{asked.words[1].lower()}@{domain}",))
            if _has(there, *new.addresses):
                raise HostError(f"{new.addresses[0]} was there before: a scenario changes only what it has made")
        elif domain in there and not self.things.holds(target) and domain not in self.things.domains:
            raise HostError(f"{target} was there before: a scenario changes only what it has made")
        ran = self._made(new, argv, stdin)
        if asked.verb.endswith(" del") and not ran.code:
            self._note(self.things.without(target))
        return ran

    def _made(self, new: Things, argv: tuple[str, ...], stdin: bytes) -> Ran:
        before = self.things
        self._note(Things((*before.domains, *new.domains), (*before.addresses, *new.addresses)))
        ran = self._host.run(*argv, stdin=stdin)
        if ran.code:  # a command that refuses has changed nothing
            self._note(before)
        return ran

    def _note(self, things: Things) -> None:
        if things != self.things:
            self._keep(things)
            self.things = things

    def _apply(self, stdin: bytes) -> Ran:
        """Declare a table: what is not there is made, what is there must be the same already."""
        wanted: Domains = {name.lower(): one for name, one in tomllib.loads(stdin.decode())["domains"].items()}
        there = accounts(self._host)
        if theirs := [
            line for name, one in wanted.items() if name in there for line in _differ(name, one, there[name])
        ]:
            raise HostError(f"{', '.join(theirs)}: there before, and not the same: a scenario changes only its own")
        for table in wanted.values():
            for targets in table.get("forwards", {}).values():
                self._inside({**there, **wanted}, targets)
        for name in wanted.keys() - there.keys():
            ran = self._made(Things((name,)), ("domain", "add", "--", name), b"")
            if ran.code:
                return ran
        new = tuple(one for name, table in wanted.items() for one in _addresses(name, table) if not _has(there, one))
        return self._made(Things((), new), TABLE, stdin)

    def _inside(self, there: Domains, targets: tuple[str, ...] | list[str]) -> None:
        """Forwards lead to domains of this host.

        Raises:
            HostError: one leads elsewhere.
        """
        if out := [one for one in targets if domain_of(one.lower()) not in there]:
            raise HostError(f"a forward to {', '.join(out)} leads away from this host: no scenario sends mail out")


def accounts(host: Host) -> Domains:
    """All that is declared on a host.

    Raises:
        HostError: it cannot be asked.
    """
    ran = host.run("export")
    try:
        if ran.code == 0:
            return {name.lower(): one for name, one in tomllib.loads(ran.stdout).get("domains", {}).items()}
    except tomllib.TOMLDecodeError:
        pass
    raise HostError(f"mailhost export ended with {ran.code}: {ran.stderr.strip()[:500]}")


def remove(host: Host, things: Things) -> Iterator[str]:
    """Take away what a run has made, with its mail; yields a line for each thing that is left, with the reason.

    A domain in which others have made something stays, without what the run has made in it.

    Raises:
        HostError: the host does not answer.
    """
    there = accounts(host)
    for domain in things.domains:
        if domain in there:
            others = [one for one in _addresses(domain, there[domain]) if one not in things.addresses]
            if others:
                yield f"domain {domain}: others have made {', '.join(others)} in it"
            else:
                yield from _gone(host, f"domain {domain}", "domain", "del", "--purge", "--", domain)
    there = accounts(host)
    for address in things.addresses:
        local, _, domain = address.rpartition("@")
        for kind, noun in KINDS.items():
            if local in _folded(there.get(domain, {}).get(kind, {})):
                purge = ("--purge",) if noun == "mailbox" else ()
                yield from _gone(host, f"{noun} {address}", noun, "del", *purge, "--", address)


def _gone(host: Host, what: str, *argv: str) -> Iterator[str]:
    ran = host.run(*argv)
    if ran.code:
        yield f"{what}: mailhost {' '.join(argv[:2])} ended with {ran.code}: {(ran.stderr or ran.stdout).strip()[:500]}"


def domain_of(address: str) -> str:
    """The domain of an address; empty where it has none."""
    return address.rpartition("@")[2] if "@" in address else ""


def _folded(table: dict[str, Any]) -> dict[str, Any]:
    return {local.lower(): one for local, one in table.items()}


def _addresses(domain: str, table: dict[str, Any]) -> list[str]:
    return [f"{local}@{domain}" for kind in KINDS for local in _folded(table.get(kind, {}))]


def _has(there: Domains, *addresses: str) -> bool:
    return any(one in _addresses(domain_of(one), there.get(domain_of(one), {})) for one in addresses)


def _differ(domain: str, wanted: dict[str, Any], there: dict[str, Any]) -> Iterator[str]:
    """What a table says otherwise than it is."""
    if wanted.get("catchall") is not None and wanted["catchall"] != there.get("catchall"):
        yield f"the catch-all of {domain}"
    boxes, forwards = _folded(there.get("mailboxes", {})), _folded(there.get("forwards", {}))
    for local, one in _folded(wanted.get("mailboxes", {})).items():
        same = local in boxes and all(one[key] == boxes[local].get(key) for key in COMPARED if key in one)
        if local in forwards or (local in boxes and not same):
            yield f"{local}@{domain}"
    for local, targets in _folded(wanted.get("forwards", {})).items():
        if local in boxes or (local in forwards and targets != forwards[local]):
            yield f"{local}@{domain}"
