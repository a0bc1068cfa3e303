"""Which client addresses count as one: an IPv4 address, an IPv6 /64, and for a site its /48."""

from __future__ import annotations

from mailhost.system.addresses import block, network


def test_an_ipv6_customer_is_one_address() -> None:
    assert network("2001:db8:1:2::5") == network("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:2::5") != network("2001:db8:1:3::5")
    assert network("2001::1:2:3:4:5") == network("2001:0:0:1::9"), "the same /64, written in two ways"
    assert network("2001::1:2:3:4:5") != network("2001::2:2:3:4:5")
    assert network("fe80::1%eth0") == network("fe80::2")


def test_an_ipv6_site_is_one_block() -> None:
    assert block("2001:db8:1:2::5") == block("2001:db8:1:ffff::1") == "2001:db8:1::/48"
    assert block("2001:db8:1::1") != block("2001:db8:2::1")


def test_an_ipv4_address_is_itself() -> None:
    assert network("192.0.2.1") == block("192.0.2.1") == "192.0.2.1"
