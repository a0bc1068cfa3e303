"""Declared domains and their prefixes, with what it takes to say at once whether another prefix overlaps one (H-9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping


class Prefixes(Mapping[str, str]):
    """Domain -> prefix, in the order of declaration; several names of one domain share its prefix."""

    def __init__(self, declared: Mapping[str, str]) -> None:
        """Begin with what is declared."""
        self._prefixes: dict[str, str] = {}
        self._domains: dict[str, dict[str, None]] = {}  # of each prefix, in their order
        self._cuts: Counter[str] = Counter()
        for domain, prefix in declared.items():
            self.declare(domain, prefix)

    def __getitem__(self, domain: str) -> str:
        return self._prefixes[domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._prefixes)

    def __len__(self) -> int:
        return len(self._prefixes)

    def declare(self, domain: str, prefix: str) -> None:
        """Add a domain that is not declared."""
        self._prefixes[domain] = prefix
        self._domains.setdefault(prefix, {})[domain] = None
        self._cuts.update(dash_cuts(prefix))

    def forget(self, domain: str) -> str:
        """Take a domain away; its prefix."""
        prefix = self._prefixes.pop(domain)
        del self._domains[prefix][domain]
        if not self._domains[prefix]:
            del self._domains[prefix]
        self._cuts.subtract(dash_cuts(prefix))
        return prefix

    def domains_of(self, prefix: str) -> list[str]:
        """The domains that have a prefix, in the order of their declaration."""
        return list(self._domains.get(prefix, ()))

    def overlaps(self, prefix: str) -> bool:
        """Whether a declared prefix is this one, or one of the two is the other and a ``-``."""
        return self._cuts[prefix] > 0 or any(one in self._domains for one in [prefix, *dash_cuts(prefix)])


def dash_cuts(prefix: str) -> list[str]:
    """The beginnings of a prefix that end before a ``-``: ``a-b-com`` -> ``a``, ``a-b``."""
    return [prefix[:at] for at, letter in enumerate(prefix) if letter == "-"]
