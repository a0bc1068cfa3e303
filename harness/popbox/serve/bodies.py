"""Reading a request's body whole, with limits on its size, on its time, and on what all bodies hold at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from popbox.serve.errors import ApiError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

BODY_OCTETS = 16 << 20  # our choice: a message of 10 MiB in base64, with room
ALL_OCTETS = 64 << 20  # our choice: of all bodies that are held at once, so that memory stays bounded
BODY_S = 30.0  # our choice: a body that is not there by then does not come


class Gone(Exception):
    """The client has left before its body was whole."""


class Bodies:
    """The bodies that are held now."""

    def __init__(self, octets: int = BODY_OCTETS, at_once: int = ALL_OCTETS, within_s: float = BODY_S) -> None:
        """Limits in octets and seconds."""
        self._most, self._at_once, self._within_s, self._held = octets, at_once, within_s, 0

    @contextmanager
    def holding(self) -> Iterator[bytearray]:
        """An empty body that counts while it is held."""
        body = bytearray()
        try:
            yield body
        finally:
            self._held -= len(body)

    async def read(self, body: bytearray, receive: Receive, announced: str, most: int | None = None) -> None:
        """Fill a body that is held; ``announced`` is Content-Length, or empty; ``most`` a smaller limit than usual.

        Raises:
            ApiError: it is too big, too slow, or too much is held already.
            Gone: the client has left.
        """
        most = min(most or self._most, self._most)
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > most:
            raise _too_big(most)
        try:
            async with asyncio.timeout(self._within_s):
                while await self._part(body, receive, most):
                    pass
        except TimeoutError:
            raise ApiError(408, f"the body did not come within {self._within_s:g} s", "send it at once") from None

    async def _part(self, body: bytearray, receive: Receive, most: int) -> bool:
        """Take the next part; whether there may be more."""
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        part: bytes = message.get("body", b"")
        if len(body) + len(part) > most:
            raise _too_big(most)
        if self._held + len(part) > self._at_once:
            raise ApiError(503, "too many requests with large bodies at once", "try again in a moment")
        body += part
        self._held += len(part)
        return bool(message.get("more_body", False))


def _too_big(most: int) -> ApiError:
    return ApiError(413, f"a body has at most {most} octets", "attachments count in base64, a third more")


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, as if it came now; what the client does after that comes from ``receive``."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return left.pop() if left else await receive()

    return receiving
