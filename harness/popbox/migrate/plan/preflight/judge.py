"""What stands in DNS for the domains and both hosts, judged by the rules: pure but for the questions it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from popbox.migrate.plan.preflight import spf
from popbox.migrate.plan.preflight.dns_reader import Answer, State
from popbox.migrate.plan.preflight.rules import NOT_KNOWN, RULES, Level
from popbox.migrate.plan.preflight.smtp_look import Seen
from popbox.migrate.plan.preflight.spf import Sender
from popbox.printable import plain

LOW_TTL_S = 300  # our choice: what the sheet lowers a TTL to


class Reader(Protocol):
    """Who answers: `dns_reader.DnsReader`."""

    def ask(self, name: str, kind: str) -> Answer:
        """Records of a name."""


class Remark(NamedTuple):
    """Something to mend, or that is not known. ``rule`` is of `rules.RULES`; ``name`` is whose record it is."""

    level: Level
    rule: str
    name: str
    text: str
    consequence: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.level}: {self.name}: {self.text} [{self.rule}]: {self.consequence}"


class Ttl(NamedTuple):
    """How long resolvers hold a record that the switch changes. ``real``: by the zone's own server."""

    name: str
    kind: str
    ttl_s: int
    real: bool


@dataclass(slots=True)
class Preflight:
    """What was found: a line for each fact, remarks, TTLs, and the time for which a missing name stays missing."""

    facts: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    ttls: list[Ttl] = field(default_factory=list)
    negative: list[str] = field(default_factory=list)
    new: str = ""
    takers: dict[str, set[str]] = field(default_factory=dict)
    """The new host and each MX with its addresses, in the order in which they were found."""
    leaving: set[str] = field(default_factory=set)
    """Addresses of the old host that are not the new one's: what stands there is only described."""
    servers: list[Seen] = field(default_factory=list)

    def remark(self, rule: str, name: str, text: str) -> None:
        """Add one, unless it is there already; ``rule`` is of `rules.RULES`."""
        level, consequence = RULES[rule]
        remark = Remark(level, rule, plain(name), plain(text), consequence)
        if remark not in self.remarks:
            self.remarks.append(remark)

    @property
    def errors(self) -> int:
        """How many remarks are errors."""
        return sum(one.level == "error" for one in self.remarks)

    @property
    def unanswered(self) -> bool:
        """Whether a question had no answer."""
        return any(one.rule in NOT_KNOWN for one in self.remarks)

    @property
    def longest(self) -> Ttl | None:
        """What must be waited for after lowering; None where no TTL is known."""
        return max(self.ttls, key=lambda one: one.ttl_s, default=None)

    @property
    def complete(self) -> bool:
        """Whether each TTL is known, and is the zone's own."""
        return not any(one.rule == "not-known" for one in self.remarks) and all(one.real for one in self.ttls)


def look(reader: Reader, old: str, new: str, domains: Iterable[str]) -> Preflight:
    """Ask for everything that the switch depends on, and judge it. What is not answered is a remark."""
    return _Look(reader, old, new).all(list(dict.fromkeys(domains)))


class _Look:
    def __init__(self, reader: Reader, old: str, new: str) -> None:
        self.reader, self.old, self.new = reader, old.rstrip(".").lower(), new.rstrip(".").lower()
        self.found = Preflight(new=self.new)
        self.seen: set[tuple[str, str]] = set()
        self.at: dict[str, set[str] | None] = {}  # host -> addresses; None: not all of them are known

    def all(self, domains: list[str]) -> Preflight:
        for name in (self.old, self.new):
            self._host(name, changes=name == self.old)
        if (self.at[self.old] or set()) & (self.at[self.new] or set()):
            self._remark("same-address", self.new, f"{self.old} has the same address")
        for address in sorted(self.at[self.new] or ()):
            self._reverse(address)
        self.found.takers[self.new] = self.at[self.new] or set()
        self.found.leaving = (self.at[self.old] or set()) - (self.at[self.new] or set())
        for domain in domains:
            self._mx(domain)
            self._spf(domain)
            self._negative(domain)
        return self.found

    def _remark(self, rule: str, name: str, text: str) -> None:
        self.found.remark(rule, name, text)

    def _ask(self, name: str, kind: str, *, changes: bool = False) -> Answer:
        """One question; ``changes``: the switch changes the record, so its TTL counts."""
        answer = self.reader.ask(name, kind)
        if (name, kind) in self.seen:
            return answer
        self.seen.add((name, kind))
        if answer.state is State.NOT_KNOWN:
            self._remark("not-known", name, f"{kind} not known: {answer.why}")
            self.found.facts.append(plain(f"{name} {kind}: not known"))
            return answer
        alias = f" (alias of {answer.alias})" if answer.alias else ""
        ttl = f", TTL {answer.ttl_s} s" + ("" if answer.real_ttl else " left in a cache") if answer.records else ""
        self.found.facts.append(plain(f"{name} {kind}{alias}: {', '.join(answer.records) or 'none'}{ttl}"))
        if changes and answer.ttl_s is not None:
            self.found.ttls.append(Ttl(name, kind, answer.ttl_s, answer.real_ttl))
            if not answer.real_ttl:
                self._remark("ttl-of-a-cache", name, f"TTL of {kind} is {answer.ttl_s} s or more")
            if answer.ttl_s > LOW_TTL_S:
                self._remark("ttl-long", name, f"TTL of {kind} is {answer.ttl_s} s")
        return answer

    def _host(self, name: str, *, changes: bool = False, rule: str = "host-no-address") -> set[str]:
        """Its addresses; says so where it has none."""
        answers = [self._ask(name, kind, changes=changes) for kind in ("A", "AAAA")]
        found = {record for answer in answers for record in answer.records}
        known = all(answer.state is not State.NOT_KNOWN for answer in answers)
        self.at[name] = found if known or found else None
        if known and not found:
            self._remark(rule, name, "has neither A nor AAAA")
        return found

    def _reverse(self, address: str) -> None:
        """The name of an address, and whether it leads back."""
        answer = self._ask(address, "PTR")
        if answer.state is State.NONE:
            self._remark("ptr-none", address, f"address of {self.new}, has no PTR")
        if answer.state is not State.FOUND:
            return
        kind = "AAAA" if ":" in address else "A"
        back = [self._ask(name.rstrip("."), kind) for name in answer.records]
        if any(address in one.records for one in back) or any(one.state is State.NOT_KNOWN for one in back):
            return
        self._remark("ptr-not-back", address, f"PTR {', '.join(answer.records)}, which has not this address")

    def _mx(self, domain: str) -> None:
        answer = self._ask(domain, "MX", changes=True)
        if answer.state is State.NONE:
            self._remark("mx-none", domain, "has no MX")
            self.found.takers.setdefault(domain, self._host(domain, changes=True))
        targets = [record.partition(" ")[2] for record in sorted(answer.records, key=_preference)]
        if "." in targets:
            self._remark("mx-null" if len(targets) == 1 else "mx-null-among-others", domain, "has the MX `.`")
        for target in targets:
            if target != ".":
                self._exchanger(domain, target.rstrip(".").lower())

    def _exchanger(self, domain: str, target: str) -> None:
        if _is_address(target):
            self._remark("mx-literal", domain, f"MX {target} is an address")
            return
        there = self._host(target, changes=target == self.old, rule="mx-no-address")
        self.found.takers.setdefault(target, there)
        if alias := self.reader.ask(target, "A").alias or self.reader.ask(target, "AAAA").alias:
            self._remark("mx-alias", domain, f"MX {target} is an alias of {alias}")
        old, new = self.at[self.old] or set(), self.at[self.new] or set()
        if target == self.new or (there & new and not there & old):
            self._remark("mx-new-already", domain, f"MX {target} is the new host")
        elif target != self.old and there and old and not there & old:
            self._remark("mx-elsewhere", domain, f"MX {target} is neither {self.old} nor {self.new}")

    def _spf(self, domain: str) -> None:
        answer = self._ask(domain, "TXT")
        records = [text for text in map(spf.text_of, answer.records) if spf.is_spf(text)]
        if len(records) > 1:
            self._remark("spf-twice", domain, f"has {len(records)} SPF records")
        addresses = self.at[self.new]
        if len(records) != 1 or not addresses:
            return
        sender = Sender(domain, self.new, tuple(sorted(addresses)))
        named = spf.names(records[0], sender, self._asker())
        if named is None:
            self._remark("spf-not-followed", domain, records[0])
        elif not named:
            self._remark("spf-without-new", domain, f"{records[0]} names not all of {', '.join(sender.addresses)}")

    def _asker(self) -> Callable[[str], set[str] | None]:
        """Gives a host's addresses to an SPF record, for so many hosts as receivers ask for (RFC 7208 §4.6.4)."""
        asked: set[str] = set()

        def addresses(name: str) -> set[str] | None:
            asked.add(name)
            if len(asked) > spf.MOST_LOOKUPS:
                return None
            answers = [self._ask(name, kind) for kind in ("A", "AAAA")]
            if any(answer.state is State.NOT_KNOWN for answer in answers):
                return None
            return {record for answer in answers for record in answer.records}

        return addresses

    def _negative(self, domain: str) -> None:
        """How long a resolver believes that a name does not exist (RFC 2308 §5)."""
        answer = self._ask(domain, "SOA")
        if answer.state is State.FOUND and answer.ttl_s is not None:
            seconds = min(int(answer.records[0].split()[-1]), answer.ttl_s)
            self.found.negative.append(plain(f"{domain}: a missing name stays missing for {seconds} s in resolvers"))


def _preference(record: str) -> tuple[int, str]:
    number, _, name = record.partition(" ")
    return int(number), name


def _is_address(name: str) -> bool:
    return name.replace(".", "").isdigit() or ":" in name or name.startswith("[")
