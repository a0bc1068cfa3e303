"""The servers of a domain (RFC 5321 §5.1), asked of a name server of the test's own on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from mailhost.standin.remote import exchangers
from mailhost.standin.report import Stopped

ZONE = {
    "two.example.": ["20 second.example.", "10 first.example."],
    "none.example.": [],
    "null.example.": ["0 ."],
}


@pytest.fixture(autouse=True)
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A UDP name server that knows ZONE, says SERVFAIL to ``broken.example`` and NXDOMAIN to the rest."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], server.getsockname()[1], 5.0
        monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        thread.join(5)


def serve(server: socket.socket) -> None:
    while True:
        octets, peer = server.recvfrom(4096)
        if not octets:
            return
        query = dns.message.from_wire(octets)
        name = query.question[0].name.to_text()
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if name == "broken.example.":
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in ZONE:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif ZONE[name]:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *ZONE[name]))
        server.sendto(reply.to_wire(), peer)


@pytest.mark.parametrize(
    ("host", "servers"),
    [
        (b"two.example", ["first.example", "second.example"]),
        (b"none.example", ["none.example"]),
        (b"[192.0.2.1]", ["192.0.2.1"]),
    ],
)
def test_servers_by_preference_else_the_host_itself(host: bytes, servers: list[str]) -> None:
    assert asyncio.run(exchangers(host)) == servers


@pytest.mark.parametrize(
    ("host", "words", "permanent"),
    [
        (b"gone.example", "couldn't find any host named gone.example", True),
        (b"null.example", "takes no mail", True),
        (b"broken.example", "temporarily", False),
        (b"x" * 64 + b".example", "couldn't find any host", True),
    ],
)
def test_why_there_is_none(host: bytes, words: str, permanent: bool) -> None:
    with pytest.raises(Stopped, match=words) as caught:
        asyncio.run(exchangers(host))
    assert caught.value.report().outcome.name == ("FAILURE" if permanent else "DEFERRAL")
