"""Lint of control/: is each declared domain accepted, virtual, and of no other owner?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from mailhost.accounts.change import journal
from mailhost.accounts.change.edit import LOCALS, RCPTHOSTS, VIRTUALDOMAINS
from mailhost.accounts.change.prefixes import dash_cuts
from mailhost.accounts.lint.facts import Facts, Finding
from mailhost.accounts.operations import domains
from mailhost.qmail.control import accepts
from mailhost.qmail.controlfile import ControlError, list_lines, read

RELAYCLIENTS = "control/relayclients"


def unreadable(facts: Facts) -> Iterator[Finding]:
    """A control file that cannot be read: qmail-smtpd answers 421 to everybody (Q-SMTP-4)."""
    if facts.unreadable is not None:
        file, why = facts.unreadable
        yield Finding("error", "control-unreadable", file, 0, why)


def open_relay(facts: Facts) -> Iterator[Finding]:
    """No rcpthosts at all (Q-RCPT-1)."""
    if facts.controls is not None and facts.controls.rcpthosts is None:
        text = "missing, so mail for every domain of the world is accepted; `mailhost init` makes an empty one"
        yield Finding("error", "open-relay", RCPTHOSTS, 0, text)


def local_domain(facts: Facts) -> Iterator[Finding]:
    """A virtual domain that is local too, so never virtual (H-10, Q-SEND-4)."""
    if facts.controls is None or facts.controls.locals is None:
        return
    for domain, _, _ in facts.virtual():
        line = facts.controls.locals.find(domain.encode("latin-1"))
        if line is not None:
            unlocal = domain if domain.isascii() and _has_locals(facts) else ""
            text = f"{domain} is virtual too, but qmail delivers local domains to system accounts"
            yield Finding("error", "domain-local", LOCALS, line.number, text, "take that line out", unlocal=unlocal)


def _has_locals(facts: Facts) -> bool:
    return (facts.layout.home / LOCALS).exists()


def not_accepted(facts: Facts) -> Iterator[Finding]:
    """A virtual domain for which mail is refused (H-7)."""
    if facts.controls is None or facts.controls.rcpthosts is None:
        return
    for domain, _, number in facts.virtual():
        if not accepts(facts.controls, b"postmaster@" + domain.encode("latin-1")).accepted:
            accept = domain if domain.isascii() else ""
            text, cure = f"{domain} is not in {RCPTHOSTS}: its mail is refused", f"add it to {RCPTHOSTS}"
            yield Finding("error", "domain-refused", VIRTUALDOMAINS, number, text, cure, accept=accept)


def not_virtual(facts: Facts) -> Iterator[Finding]:
    """A domain whose mail is accepted and then neither virtual nor local: fine for a backup MX only."""
    if facts.controls is None or facts.controls.rcpthosts is None:
        return
    here = {domain for domain, _, _ in facts.virtual()}
    for line in facts.controls.rcpthosts.lines:
        domain = line.key.decode("latin-1").lower()
        local = facts.controls.locals is not None and facts.controls.locals.find(line.key) is not None
        if domain not in here and not local and not domain.startswith("."):
            text = (
                f"mail for {domain} is accepted, but the domain is neither virtual nor local: it is sent on elsewhere"
            )
            yield Finding("warning", "domain-not-virtual", RCPTHOSTS, line.number, text)


def twice(facts: Facts) -> Iterator[Finding]:
    """Two virtualdomains lines of one domain: the last counts (Q-VDOM-6)."""
    seen: dict[str, tuple[str, int]] = {}
    for domain, prefix, number in facts.virtual():
        if domain in seen and seen[domain][0] != prefix:
            text = f"{domain} is in line {seen[domain][1]} with another prefix; this line counts"
            yield Finding("error", "domain-twice", VIRTUALDOMAINS, number, text)
        seen[domain] = (prefix, number)


def overlap(facts: Facts) -> Iterator[Finding]:
    """Prefixes of which one's lines can take the other's mail (H-9); equal ones are fine for names of one domain."""
    owners: dict[str, tuple[str, int]] = {}
    for domain, prefix, number in facts.virtual():
        first = owners.setdefault(prefix, (domain, number))
        if first[0] != domain and domain in facts.parts and first[0] in facts.parts:
            text = f"{domain} has the prefix of {first[0]} (line {first[1]}) and boxes of its own: they share mail"
            yield Finding("error", "prefix-collision", VIRTUALDOMAINS, number, text)
    for prefix, (domain, number) in owners.items():
        for cut in dash_cuts(prefix):
            if cut in owners:
                text = (
                    f"prefix {prefix} of {domain} overlaps {cut} of {owners[cut][0]}: one's lines take the other's mail"
                )
                yield Finding("error", "prefix-overlap", VIRTUALDOMAINS, number, text)


def account(facts: Facts) -> Iterator[Finding]:
    """A prefix that begins like a system account, which then gets what no line takes (Q-GETPW-5)."""
    for domain, prefix, number in facts.virtual():
        for name in [prefix, *dash_cuts(prefix)]:
            if domains.is_mail_account(name):
                text = f"mail for unknown addresses of {domain} goes to the system account {name!r}"
                yield Finding("error", "prefix-is-account", VIRTUALDOMAINS, number, text)


def catch_alias(facts: Facts) -> Iterator[Finding]:
    """~alias/.qmail-default takes every unknown address of every virtual domain (H-6)."""
    path = facts.layout.alias / ".qmail-default"
    if path.exists() and facts.virtual():
        text = "takes the mail of every unknown address of every virtual domain instead of a bounce"
        yield Finding("warning", "alias-default", facts.shown(path), 0, text)


def unfinished(facts: Facts) -> Iterator[Finding]:
    """A change that a crash interrupted."""
    path = facts.layout.work / journal.NAME
    if path.exists():
        text = "a change was interrupted; the next change of any kind finishes it"
        yield Finding("error", "unfinished-change", facts.shown(path), 0, text, "finish it", lambda: None)


def relay_clients(facts: Facts) -> Iterator[Finding]:
    """The stand-in's list of clients that may relay (standin/README.md): well formed, and nothing to real qmail."""
    try:
        text = read(facts.layout.home, RELAYCLIENTS)
    except ControlError as why:
        yield Finding("error", "relayclients-odd", RELAYCLIENTS, 0, f"{why.rule}: the stand-in puts everybody off")
        return
    for number, line in list_lines(text):
        network = (line.split(None, 1) or [b""])[0].decode("latin-1")
        try:
            ipaddress.ip_network(network)
        except ValueError:
            wrong = f"{network!r} is no IP address or network: the stand-in puts everybody off"
            yield Finding("error", "relayclients-odd", RELAYCLIENTS, number, wrong)
    if text is not None:
        only = "is read by the stand-in only; real qmail takes RELAYCLIENT from tcpserver's rules (Q-RCPT-7)"
        yield Finding("warning", "relayclients-standin", RELAYCLIENTS, 0, only)


RULES = (
    unreadable,
    open_relay,
    local_domain,
    not_accepted,
    not_virtual,
    twice,
    overlap,
    account,
    catch_alias,
    unfinished,
    relay_clients,
)
