"""Whether an SPF record names the addresses of a host (RFC 7208), without asking what it includes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

MOST_LOOKUPS = 10  # RFC 7208 §4.6.4
_TERM = re.compile(r"([+?~-]?)([a-z0-9]+)(?::([^/]*))?((?:/\d{1,3})?)(?://\d{1,3})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sender:
    """The new host, that is to send for ``domain``; its MX will be ``host``."""

    domain: str
    host: str
    addresses: tuple[str, ...]


def text_of(record: str) -> str:
    """The text of a TXT record in presentation form: its quoted strings, joined (RFC 7208 §3.3)."""
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', record))


def is_spf(text: str) -> bool:
    """RFC 7208 §4.5."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def names(text: str, sender: Sender, addresses_of: Callable[[str], set[str] | None]) -> bool | None:
    """Whether all addresses pass; None where an include, a redirect, a macro or an unread term may decide it."""
    found = [_one(text.split()[1:], address, sender, addresses_of) for address in sender.addresses]
    if False in found:
        return False
    return None if None in found else True


def _one(terms: list[str], address: str, sender: Sender, addresses_of: Callable[[str], set[str] | None]) -> bool | None:
    unsure = False
    for term in terms:
        parts = _TERM.fullmatch(term)
        kind = parts[2].lower() if parts else ""
        if parts is None or "%" in term or kind in ("include", "exists", "ptr"):
            unsure = unsure or not term.lower().startswith("exp=")
            continue
        matches = _matches(kind, parts[3] or "", parts[4], address, sender, addresses_of)
        if matches:
            return None if unsure else parts[1] in ("", "+")
        unsure = unsure or matches is None
    return None if unsure else False


def _matches(
    kind: str, value: str, prefix: str, address: str, sender: Sender, addresses_of: Callable[[str], set[str] | None]
) -> bool | None:
    """None: not known."""
    if kind == "all":
        return True
    if kind in ("ip4", "ip6"):
        return _within(address, value, prefix)
    if kind == "mx":
        return True if value.lower() in ("", sender.domain) else None  # by then the new host is the domain's MX
    if kind == "a":
        ours = {*sender.addresses} if value.lower() == sender.host else addresses_of(value or sender.domain)
        prefix = "" if ":" in address else prefix  # the one behind // would be that of IPv6
        return None if ours is None else any(_within(address, one, prefix) for one in ours)
    return None


def _within(address: str, network: str, prefix: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network + prefix, strict=False)
    except ValueError:
        return False
