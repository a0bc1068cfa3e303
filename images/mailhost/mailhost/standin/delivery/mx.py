"""The servers of a domain, and which of them may be tried from here. Source: RFC 5321 §5.1, Q-REMOTE-1.

The resolver is dnspython, loaded when the first remote recipient comes.
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass

from mailhost.standin.delivery.report import Stopped
from mailhost.standin.interfaces import addresses, v6_addresses

NO_HOST = "Sorry, I couldn't find any host named {}. (#5.1.2)"
LOOPBACK = "127.0.0.1"
BEST_MX = (
    "Sorry. Although I'm listed as a best-preference MX or A for that host,\n"
    "it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)"
)


@dataclass(frozen=True, slots=True)
class Exchanger:
    """A server of a domain: the smaller ``preference``, the nearer to the mailbox."""

    preference: int
    name: str


async def exchangers(host: bytes) -> list[Exchanger]:
    """The servers of a domain by preference: MX, else the host itself (RFC 5321 §5.1). Raises Stopped."""
    import dns.asyncresolver
    import dns.exception
    import dns.rdtypes.ANY.MX
    import dns.resolver

    name = host.decode("ascii", "replace")
    if not name:  # asked for an empty host, a client would get this one
        raise Stopped(NO_HOST.format(name), permanent=True)
    if name.startswith("[") and name.endswith("]"):
        return [Exchanger(0, name[1:-1])]
    try:
        answer = await dns.asyncresolver.resolve(name, "MX")
    except dns.resolver.NoAnswer:
        return [Exchanger(0, name)]
    except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.EmptyLabel) as error:
        raise Stopped(NO_HOST.format(name), permanent=True) from error
    except dns.exception.DNSException as error:
        raise Stopped("CNAME lookup failed temporarily. (#4.4.3)") from error
    records = sorted((one for one in answer if isinstance(one, dns.rdtypes.ANY.MX.MX)), key=lambda one: one.preference)
    found = [Exchanger(one.preference, str(one.exchange).rstrip(".")) for one in records]
    if [one.name for one in found] == [""]:
        raise Stopped(f"{name} takes no mail, its MX record says. (#5.1.10)", permanent=True)
    return found


async def before_us(found: list[Exchanger]) -> list[str]:
    """The servers that are nearer to the mailbox than this host: sent to another, the mail would come back.

    Raises:
        Stopped: we are the nearest, and do not know the domain: it bounces, as with qmail.
    """
    ours = {LOOPBACK} | addresses() | v6_addresses()
    limits = [one.preference for one in found if not ours.isdisjoint(await _addresses(one.name))]
    nearer = [one.name for one in found if not limits or one.preference < limits[0]]
    if not nearer:
        raise Stopped(BEST_MX, permanent=True)
    return nearer


async def _addresses(name: str) -> set[str]:
    """What the client may connect to; none where that cannot be said now, which it finds out itself."""
    import dns.asyncresolver
    import dns.exception

    try:
        return {_plain(name.removeprefix("IPv6:"))}
    except ValueError:
        pass
    found: set[str] = set()
    for kind in ("A", "AAAA"):
        with contextlib.suppress(dns.exception.DNSException):
            found.update(_plain(record.to_text()) for record in await dns.asyncresolver.resolve(name, kind))
    return found


def _plain(address: str) -> str:
    """An IPv4 address in IPv6's clothes as itself; any of loopback, and "any of them", as one. Raises ValueError."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return LOOPBACK if parsed.is_loopback or parsed.is_unspecified else str(parsed)
