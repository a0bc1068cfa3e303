"""The servers of a domain, and which of them may be tried from here. Source: RFC 5321 §5.1, Q-REMOTE-1.

The resolver is dnspython, which is loaded for the first remote recipient.
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
    """A server of a domain: a smaller ``preference`` is nearer to the mailbox."""

    preference: int
    name: str


async def exchangers(host: bytes) -> list[Exchanger]:
    """The servers of a domain by preference: its MX hosts, or the host itself without MX (RFC 5321 §5.1).

    Raises:
        Stopped: no such host, a null MX (RFC 7505), or (temporary) DNS does not answer.
    """
    import dns.asyncresolver
    import dns.exception
    import dns.rdtypes.ANY.MX
    import dns.resolver

    name = host.decode("ascii", "replace")
    if not name:  # a resolver would take an empty name for this host
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
        raise Stopped(f"{name} takes no mail: it has a null MX record. (#5.1.10)", permanent=True)
    return found


async def before_us(found: list[Exchanger]) -> list[str]:
    """The servers that are nearer to the mailbox than this host; from others the mail would come back.

    Raises:
        Stopped: this host is the nearest and does not know the domain: the mail bounces, as with qmail.
    """
    ours = {LOOPBACK} | addresses() | v6_addresses()
    limits = [one.preference for one in found if not ours.isdisjoint(await _addresses(one.name))]
    nearer = [one.name for one in found if not limits or one.preference < limits[0]]
    if not nearer:
        raise Stopped(BEST_MX, permanent=True)
    return nearer


async def _addresses(name: str) -> set[str]:
    """The addresses that the client may connect to; none when DNS does not answer: the client will meet that error."""
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
    """An IPv4-mapped IPv6 address as IPv4; every loopback and unspecified address as one. ValueError: no address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return LOOPBACK if parsed.is_loopback or parsed.is_unspecified else str(parsed)
