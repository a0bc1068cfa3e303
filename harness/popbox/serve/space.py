"""Which part of the store a request may see: a space, that is one domain, or all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request


@dataclass(frozen=True, slots=True)
class Space:
    """A domain of its own, for one test, worker or shard. ``domain`` is in lower case."""

    name: str
    domain: str

    def holds(self, address: str) -> bool:
        """Whether an address is of this space."""
        _, at, domain = address.rpartition("@")
        return bool(at) and domain.lower() == self.domain


def within(request: Request) -> Space | None:
    """The space that the request is in, by ``request.state.space``; None where it may see everything."""
    return getattr(request.state, "space", None)


Within = Annotated[Space | None, Depends(within)]
