"""How many sessions at once: altogether, and from one address or IPv6 /64."""

from __future__ import annotations

import pytest

from mailhost.system.connection_limits import ConnectionLimits


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_who_is_one_address(first: str, second: str, one: bool) -> None:
    limits = ConnectionLimits(10, 1)
    limits.enter(first)
    assert limits.full_for(second) == one
    limits.leave(first)
    assert not limits.full_for(first)
    assert limits.inside == 0


def test_full_is_full_for_every_address() -> None:
    limits = ConnectionLimits(2, 2)
    for ip in ("192.0.2.1", "192.0.2.2"):
        assert not limits.full
        limits.enter(ip)
    assert limits.full
