"""How a fault of a server is made: another reply, other octets on the wire or in the box."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.popbox.conformance.fake import Exchange, Faults, err, ok

Say = Callable[[Exchange], bytes]


def does(*switches: str) -> Faults:
    """The server does something wrong."""
    return Faults(frozenset(switches))


def says(pattern: str, say: Say | bytes, when: Callable[[Exchange], bool] = lambda _: True) -> Faults:
    """The reply to lines that match is another one."""
    form = re.compile(pattern.encode(), re.IGNORECASE)

    def reply(exchange: Exchange) -> bytes:
        if not form.fullmatch(exchange.line) or not when(exchange):
            return exchange.reply
        return say if isinstance(say, bytes) else say(exchange)

    return Faults(reply=reply)


def swap_in(old: str, new: str, count: int = 0) -> Say:
    """A regular expression replaced in the reply."""
    form = re.compile(old.encode())
    return lambda exchange: form.sub(new.encode(), exchange.reply, count=count)


def swap(pattern: str, old: str, new: str, count: int = 0) -> Faults:
    """A regular expression replaced in the reply to lines that match."""
    return says(pattern, swap_in(old, new, count))


def accepts(pattern: str) -> Faults:
    """+OK where -ERR is due."""
    return says(pattern, ok())


def refuses(pattern: str) -> Faults:
    """-ERR where +OK is due."""
    return says(pattern, err("no"))


def greets(change: Callable[[bytes], bytes]) -> Faults:
    """Another greeting."""
    return Faults(greeting=change)


def spoils(old: bytes, new: bytes) -> Faults:
    """The file is not what is sent."""
    return Faults(spoil=lambda octets: re.sub(old, new, octets))


def every_other() -> Say:
    """A number that changes."""
    calls = iter(range(1, 10**6))
    return lambda exchange: exchange.reply.replace(b"\r\n", b"%d\r\n" % next(calls), 1)


def drifting() -> Say:
    """A line more at the end, another one each time; it reads as a scan listing too."""
    calls = iter(range(1000, 10**6))
    return lambda exchange: re.sub(rb"(?<=\n)(?=\.\r\n\Z)", b"%d 1\r\n" % next(calls), exchange.reply)


def by_session(exchange: Exchange) -> bytes:
    """Ids that are new in each session."""
    salt = str(id(exchange.session) % 9973).encode()
    return re.sub(rb"([0-9a-f]{16})\r\n", rb"\g<1>" + salt + b"\r\n", exchange.reply)


class _Reads:
    """Notes that a session has retrieved something."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def note(self, exchange: Exchange, verb: str) -> bool:
        if exchange.verb == verb:
            self.seen.add(id(exchange.session))
        return id(exchange.session) in self.seen


def after(verb: str, pattern: str, say: Say) -> Faults:
    """Another reply, once the session has used ``verb``."""
    reads, form = _Reads(), re.compile(pattern.encode(), re.IGNORECASE)

    def reply(exchange: Exchange) -> bytes:
        noted = reads.note(exchange, verb)
        return say(exchange) if noted and form.fullmatch(exchange.line) else exchange.reply

    return Faults(reply=reply)


def twice(exchange: Exchange) -> bytes:
    """Two replies."""
    return exchange.reply * 2


def big_shout(exchange: Exchange) -> bytes:
    """Refuse by sending a line far too long."""
    return exchange.reply.rstrip(b"\r\n") + b" " + b"x" * 600 + b"\r\n"
