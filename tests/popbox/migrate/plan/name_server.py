"""A name server on loopback for the tests: a table of records, some names that it does not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = dict[tuple[str, str], tuple[int, list[str]]]  # (name without the last dot, type) -> TTL, records


@contextmanager
def name_server(
    records: Records, *, authoritative: bool = True, broken: frozenset[str] = frozenset(), host: str = "127.0.0.1"
) -> Iterator[tuple[str, int]]:
    """Its address and port. SERVFAIL for ``broken`` names, NXDOMAIN for those of which it has nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        thread = threading.Thread(target=_serve, args=(server, records, authoritative, broken), daemon=True)
        thread.start()
        yield server.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        thread.join(60)


def _serve(server: socket.socket, records: Records, authoritative: bool, broken: frozenset[str]) -> None:
    while True:
        octets, peer = server.recvfrom(4096)
        if not octets:
            return
        reply = _answer(dns.message.from_wire(octets), records, broken)
        reply.flags |= dns.flags.RA | (dns.flags.AA if authoritative else 0)
        server.sendto(reply.to_wire(), peer)


def _answer(query: dns.message.Message, records: Records, broken: frozenset[str]) -> dns.message.Message:
    reply = dns.message.make_response(query)
    name, kind = query.question[0].name.to_text(omit_final_dot=True), query.question[0].rdtype
    if name in broken:
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply
    while (name, "CNAME") in records and kind != dns.rdatatype.CNAME:
        ttl, there = records[name, "CNAME"]
        reply.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", "CNAME", *there))
        name = there[0].rstrip(".")
    if (name, dns.rdatatype.to_text(kind)) in records:
        ttl, texts = records[name, dns.rdatatype.to_text(kind)]
        reply.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", dns.rdatatype.to_text(kind), *texts))
    elif not any(known == name for known, _ in records):
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply
