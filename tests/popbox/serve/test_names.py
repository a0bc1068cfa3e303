"""Where the port at which clients come is not known: which Host headers are served, and no name of a stranger is."""

from __future__ import annotations

import pytest

from popbox.serve.errors import ApiError
from popbox.serve.names import usable
from popbox.serve.rules import Rules, admitted

RULES = Rules.at("::", 8025, names=frozenset({"box", "popbox__box", "host.docker.internal"}))
OURS = (
    *("127.0.0.1:8025", "127.0.0.1:49153", "127.0.0.1", "172.17.0.2:8025", "[::1]:8025", "[fd00::2]", "8.8.8.8:80"),
    *("localhost:32768", "LOCALHOST", "box:8025", "Box", "popbox__box:8025", "host.docker.internal:8025"),
)
THEIRS = (
    *(
        "rebound.example",
        "rebound.example:8025",
        "box.rebound.example:8025",
        "localhost.rebound.example",
        "evilbox:8025",
    ),
    *("127.0.0.1.rebound.example:8025", "localhost.", "box.:8025", "box:8025:8025", "box:", "box:x", "box:802500", ""),
    *("2130706433:8025", "0x7f000001", "127.1:8025", "0177.0.0.1", "::1", "[127.0.0.1]:80", "[box]:8025", "[::1"),
    *("user@127.0.0.1", "127.0.0.1/", "127.0.0.1 :80", "b\u043ex:8025", "\xff"),
)


def status(host: str, *more: tuple[bytes, bytes], rules: Rules = RULES) -> int:
    try:
        admitted(rules, "GET", [(b"host", host.encode("utf-8", "surrogateescape")), *more])
    except ApiError as problem:
        return problem.status
    return 0


@pytest.mark.parametrize("host", OURS)
def test_addresses_and_known_names_are_served_at_any_port(host: str) -> None:
    assert status(host) == 0
    assert status(host, (b"origin", f"http://{host}".encode())) == 0, "its own page"


@pytest.mark.parametrize("host", THEIRS)
def test_no_other_name_is(host: str) -> None:
    assert status(host) == 421


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "http://rebound.example", "https://127.0.0.1:8025", "null"])
def test_a_page_of_elsewhere_is_not_served(origin: str) -> None:
    assert status("127.0.0.1:8025", (b"origin", origin.encode())) == 403
    assert status("box:8025", (b"sec-fetch-site", b"cross-site")) == 403


def test_without_names_nothing_is_loosened() -> None:
    exact = Rules.at("127.0.0.1", 8025)
    assert [status(one, rules=exact) for one in ("127.0.0.1:8025", "127.0.0.1:8026", "box:8025", "[::1]:8025")] == [
        0,
        421,
        421,
        421,
    ]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("box", True), ("a_b", True), ("box:80", False), ("", False), ("*", False), ("a b", False), (".x", False)],
)
def test_what_can_be_given_as_a_name(name: str, is_one: bool) -> None:
    assert usable(name) == is_one
