"""The servers of a domain (RFC 5321 §5.1), from the test's own name server on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from mailhost.qmail.control import Reader, load
from mailhost.standin.delivery.mx import BEST_MX, before_us, exchangers
from mailhost.standin.delivery.remote import Relays
from mailhost.standin.delivery.report import Outcome, Stopped
from mailhost.standin.interfaces import v6_addresses
from mailhost.standin.queue.message_reader import Stored

MX = {
    "two.example.": ["20 second.example.", "10 first.example."],
    "none.example.": [],
    "null.example.": ["0 ."],
    "ours.example.": ["10 us.example.", "20 second.example."],
    "backup.example.": ["30 third.example.", "20 us.example.", "10 first.example.", "20 second.example."],
    "equal.example.": ["10 first.example.", "10 us.example."],
    "six.example.": ["10 us6.example."],
    "no-address.example.": ["10 gone.example."],
    "us.example.": [],
}
ADDRESSES = {
    ("us.example.", "A"): ["192.0.2.9", "203.0.113.7"],
    ("us6.example.", "AAAA"): ["2001:db8::7"],
    ("first.example.", "A"): ["192.0.2.1"],
    ("second.example.", "A"): ["192.0.2.2"],
    ("third.example.", "A"): ["192.0.2.3"],
}
NAMES = {*MX, *(name for name, _ in ADDRESSES)}


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses of this host, independent of the machine that runs the tests."""
    monkeypatch.setattr("mailhost.standin.delivery.mx.addresses", lambda: frozenset({"127.0.0.1", "203.0.113.7"}))
    monkeypatch.setattr("mailhost.standin.delivery.mx.v6_addresses", lambda: frozenset({"::1", "2001:db8::7"}))


@pytest.fixture(autouse=True)
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A UDP name server with the names above; SERVFAIL for ``broken.example`` and NXDOMAIN for all others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], server.getsockname()[1], 60.0
        monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        thread.join(60)


def serve(server: socket.socket) -> None:
    while True:
        octets, peer = server.recvfrom(4096)
        if not octets:
            return
        query = dns.message.from_wire(octets)
        name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if name == "broken.example.":
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in NAMES:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif found := MX.get(name) if kind == "MX" else ADDRESSES.get((name, kind)):
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *found))
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
    assert [one.name for one in asyncio.run(exchangers(host))] == servers


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


async def _tried(host: bytes) -> list[str]:
    return await before_us(await exchangers(host))


@pytest.mark.parametrize(
    ("host", "servers"),
    [
        (b"two.example", ["first.example", "second.example"]),
        (b"backup.example", ["first.example"]),
        (b"no-address.example", ["gone.example"]),
        (b"[192.0.2.1]", ["192.0.2.1"]),
    ],
)
def test_only_servers_that_are_nearer_than_we_are_tried(host: bytes, servers: list[str]) -> None:
    assert asyncio.run(_tried(host)) == servers


OURS = [b"ours.example", b"equal.example", b"six.example", b"us.example", b"[127.0.0.1]", b"[0.0.0.0]", b"[127.0.0.2]",
        b"[IPv6:::1]", b"[::ffff:127.0.0.1]"]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_q_remote_1_mail_for_a_domain_that_names_us_bounces(host: bytes, tmp_path: Path) -> None:
    """qmail-remote's own words; without this rule the message looped until its hops were used up."""
    (tmp_path / "control").mkdir()
    (tmp_path / "control/me").write_text("mx.example.net\n")
    way = Relays(load(tmp_path, Reader.SEND | Reader.REMOTE), mx=True)
    with (tmp_path / "control/me").open("rb") as message:
        report = asyncio.run(way.send(b"s@d.com", b"x@" + host, Stored(message.fileno(), 0)))
    assert report.outcome is Outcome.FAILURE
    assert report.text.decode() == BEST_MX + "\n"
    assert report.text.endswith(b"don't treat it as local. (#5.4.6)\n")


def test_the_kernels_table_of_ipv6_addresses(tmp_path: Path) -> None:
    (tmp_path / "if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000007 02 40 00 80     eth0\n"
    )
    assert v6_addresses(tmp_path / "if_inet6") == {"::1", "2001:db8::7"}
    assert v6_addresses(tmp_path / "none") == frozenset()
