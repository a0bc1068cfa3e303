"""Which Host headers are served where the port is not known at which clients reach the listener, as in a container.

In DNS rebinding a page is loaded by a name of the attacker's, which then resolves to us: the Host header has that name.
No attacker owns an IP address written as such, ``localhost``, or a name that the operator has given. So these are
served, at any port, and no other name is: not one with the same ending, and not one that resolves to us.
"""

from __future__ import annotations

import ipaddress
import re

AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]@/\s]+))(?::[0-9]{1,5})?")
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")  # of DNS, and of compose services with underscores
ALWAYS = "localhost"


def known(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header in lower case names an IP address, ``localhost`` or one of ``names``, at any port."""
    found = AUTHORITY.fullmatch(host)
    if not found:
        return False
    name = found["v6"] or found["name"]
    return (not found["v6"] and name in (ALWAYS, *names)) or _literal(name, 6 if found["v6"] else 4)


def usable(name: str) -> bool:
    """Whether a name can stand in that list: lower case, no port."""
    return NAME.fullmatch(name) is not None


def _literal(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
