"""Who may open another session: one limit for all, one for each address. Pure."""

from __future__ import annotations

from collections import Counter

from mailhost.system.addresses import network


class ConnectionLimits:
    """The sessions that were let in; those that were turned away do not count, however long they linger."""

    def __init__(self, most: int, most_each: int) -> None:
        """``most`` at once, of which ``most_each`` from one address, or one IPv6 network of 64 bits."""
        self.most, self.most_each = most, most_each
        self.inside = 0
        self._by_address: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """True where no further session may begin."""
        return self.inside >= self.most

    def full_for(self, ip: str) -> bool:
        """True where this address has all that one may have."""
        return self._by_address[network(ip)] >= self.most_each

    def enter(self, ip: str) -> None:
        """One more."""
        self.inside += 1
        self._by_address[network(ip)] += 1

    def leave(self, ip: str) -> None:
        """One fewer; an address without sessions is forgotten."""
        self.inside -= 1
        customer = network(ip)
        self._by_address[customer] -= 1
        if not self._by_address[customer]:
            del self._by_address[customer]
