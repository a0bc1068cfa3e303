"""DNS as a resolver answers it, and as the zone's own servers do: a cache's TTL is what is left of the real one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver
import dns.reversename
import dns.rrset

ANSWER_S = 5.0  # our choice: for one question, all tries of it
MOST_SILENCE = 3  # our choice: after so many questions without an answer no more is asked
NO_ANSWER = f"no answer within {ANSWER_S:.0f} s"
AUTHORITY_PORT = 53
AUTHORITY_S = 2.0  # our choice: for one server of a zone
MOST_SERVERS = 3


class State(Enum):
    """What came of a question. Without an answer nothing is known, neither good nor bad."""

    FOUND = "found"
    NONE = "none"  # the name has no record of this type, or there is no such name
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Answer:
    """Records as text in presentation form; ``ttl_s`` is the longest one of the records and aliases on the way.

    ``real_ttl``: it is the zone's own TTL. ``alias``: the name that a CNAME led to. ``why``: of NOT_KNOWN.
    """

    state: State
    records: tuple[str, ...] = ()
    ttl_s: int | None = None
    real_ttl: bool = False
    alias: str = ""
    why: str = ""


class DnsReader:
    """One resolver; each question is asked once."""

    def __init__(self, resolver: tuple[str, int] | None) -> None:
        """``resolver``: its address and port; None: those of this machine."""
        self._answers: dict[tuple[str, str], Answer] = {}
        self._silence = 0  # questions without an answer, one after the other
        self._servers: dict[str, tuple[str, ...]] = {}
        self._resolver: dns.resolver.Resolver | None = None
        with contextlib.suppress(dns.resolver.NoResolverConfiguration, OSError):
            self._resolver = dns.resolver.Resolver(configure=resolver is None)
            self._resolver.lifetime = ANSWER_S
            if resolver is not None:
                self._resolver.nameservers, self._resolver.port = [resolver[0]], resolver[1]

    def ask(self, name: str, kind: str) -> Answer:
        """Records of a name: MX, A, AAAA, TXT, SOA or PTR (of an address). Never raises."""
        key = name.rstrip(".").lower(), kind
        if key not in self._answers:
            answer = self._answers[key] = self._asked(name, kind)
            self._silence = self._silence + 1 if answer.why == NO_ANSWER else 0
        return self._answers[key]

    def _asked(self, name: str, kind: str) -> Answer:
        if self._resolver is None:
            return Answer(State.NOT_KNOWN, why="this machine names no resolver; give --resolver")
        if self._silence >= MOST_SILENCE:
            return Answer(State.NOT_KNOWN, why=NO_ANSWER)
        try:
            whole = dns.reversename.from_address(name) if kind == "PTR" else dns.name.from_text(name)
            answer = self._resolver.resolve(whole, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return Answer(State.NONE)
        except (dns.exception.DNSException, UnicodeError, OSError) as error:
            return Answer(State.NOT_KNOWN, why=_plain(error))
        if answer.rrset is None:
            return Answer(State.NONE, alias=_alias(whole, answer.canonical_name))
        own = bool(answer.response.flags & dns.flags.AA)
        ttl_s, real = _longest(answer.response.answer), own
        if not own and kind != "PTR" and (theirs := self._zone_ttl(whole, kind)) is not None:
            ttl_s, real = theirs, True
        return Answer(
            State.FOUND,
            tuple(sorted(record.to_text() for record in answer.rrset)),
            ttl_s,
            real,
            _alias(whole, answer.canonical_name),
        )

    def _zone_ttl(self, name: dns.name.Name, kind: str) -> int | None:
        """The TTL that the zone's own servers give; None where none of them answers."""
        query = dns.message.make_query(name, kind, flags=0)
        for server in self._servers_of(name):
            with contextlib.suppress(dns.exception.DNSException, OSError):
                reply, _ = dns.query.udp_with_fallback(query, server, timeout=AUTHORITY_S, port=AUTHORITY_PORT)
                whole = any(one.rdtype == dns.rdatatype.from_text(kind) for one in reply.answer)
                if reply.flags & dns.flags.AA and whole:
                    return _longest(reply.answer)
        return None

    def _servers_of(self, name: dns.name.Name) -> tuple[str, ...]:
        """Addresses of the servers of the zone that holds a name."""
        key = name.to_text()
        if key not in self._servers:
            self._servers[key] = ()
            with contextlib.suppress(dns.exception.DNSException, OSError):
                self._servers[key] = tuple(self._look_up(name))
        return self._servers[key]

    def _look_up(self, name: dns.name.Name) -> Iterator[str]:
        assert self._resolver is not None
        until = time.monotonic() + ANSWER_S
        zone = dns.resolver.zone_for_name(name, resolver=self._resolver, lifetime=ANSWER_S)
        for record in list(self._resolver.resolve(zone, "NS", search=False))[:MOST_SERVERS]:
            for kind in ("A", "AAAA"):
                if (left_s := until - time.monotonic()) <= 0:
                    return
                with contextlib.suppress(dns.exception.DNSException):
                    found = self._resolver.resolve(record.to_text(), kind, search=False, lifetime=left_s)
                    yield from (one.to_text() for one in found)


def _longest(sets: list[dns.rrset.RRset]) -> int:
    return int(max(one.ttl for one in sets))


def _alias(asked: dns.name.Name, found: dns.name.Name) -> str:
    return "" if asked == found else found.to_text(omit_final_dot=True)


def _plain(error: Exception) -> str:
    """In a few words: the texts of the library are long."""
    if isinstance(error, dns.exception.Timeout):
        return NO_ANSWER
    return " ".join(str(error).split())[:160] or type(error).__name__
