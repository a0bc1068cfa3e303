"""STARTTLS of the new host and of each MX, judged by the rules. SMTP is opportunistic: most faults are warnings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from popbox.clients.wire import Address
from popbox.migrate.plan.preflight.judge import Preflight
from popbox.migrate.plan.preflight.smtp_look import Chain, Seen, see
from popbox.printable import plain

SMTP_PORT = 25
ALL_S = 120.0  # our choice: no server is begun with after it
MOST_ADDRESSES = 8  # our choice: of one host
SHOWN_NAMES = 4
FEW_DAYS = 21  # our choice: a renewal that works has been by then, 30 days before the end with Let's Encrypt's clients
OLD_VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1")  # RFC 8996


def add_starttls(found: Preflight, now: datetime, new_port: int = SMTP_PORT) -> None:
    """Look at each server that `judge.look` has found, and add what is to be said of it.

    ``new_port`` is that of the new host, which may not listen on its own yet.
    """
    until = time.monotonic() + ALL_S
    for name, addresses in found.takers.items():
        port = new_port if name == found.new else SMTP_PORT
        for number, host in enumerate(sorted(addresses)):
            address = Address(host, port)
            if number >= MOST_ADDRESSES:
                seen = Seen(name, address, why=f"only {MOST_ADDRESSES} addresses of a host are looked at")
            elif time.monotonic() > until:
                seen = Seen(name, address, why=f"{ALL_S:.0f} s were over")
            else:
                seen = see(name, address)
            seen = replace(seen, days=seen.certificate.days_left(now) if seen.certificate else None)
            found.servers.append(seen)
            found.facts.append(plain(_fact(seen)))
            if seen.offered is None or host not in found.leaving:
                for rule, text in _faults(seen):
                    found.remark(rule, name, f"{address}: {text}")


def _fact(seen: Seen) -> str:
    at = f"{seen.name} SMTP {seen.address}"
    if seen.offered is None:
        return f"{at}: STARTTLS not known: {seen.why}"
    if not seen.offered:
        return f"{at}: no STARTTLS"
    if seen.certificate is None:
        return f"{at}: STARTTLS offered, {seen.broken}"
    why = f" ({seen.chain_why})" if seen.chain_why else ""
    return (
        f"{at}: STARTTLS, {seen.version}, certificate for {_named(seen)} until {seen.certificate.ends:%Y-%m-%d} "
        f"({seen.days} days), chain {seen.chain.value}{why}"
    )


def _faults(seen: Seen) -> Iterator[tuple[str, str]]:
    if seen.offered is None:
        yield "smtp-not-known", f"STARTTLS not known: {seen.why}"
    elif not seen.offered:
        yield "starttls-none", "offers no STARTTLS"
    elif seen.broken:
        yield "starttls-broken", f"offers STARTTLS, but: {seen.broken}"
    if seen.version in OLD_VERSIONS:
        yield "tls-old", f"speaks no more than {seen.version}"
    if seen.certificate is None or (days := seen.days) is None:
        return
    if not seen.certificate.covers(seen.name):
        yield "cert-name", f"certificate for {_named(seen)}, not for {seen.name}"
    if days < 0:
        yield "cert-ended", f"certificate ended on {seen.certificate.ends:%Y-%m-%d}"
    elif days < FEW_DAYS:
        yield "cert-ends-soon", f"certificate ends on {seen.certificate.ends:%Y-%m-%d}, in {days} days"
    if seen.chain is Chain.NOT_KNOWN:
        yield "smtp-not-known", f"chain not known: {seen.chain_why}"
    elif seen.chain is Chain.NOT_VALID and days >= 0:  # of an ended one its end is what the store refuses first
        yield "cert-chain", f"this machine does not trust the chain: {seen.chain_why}"


def _named(seen: Seen) -> str:
    names = seen.certificate.names if seen.certificate else ()
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more if names else "no host"
