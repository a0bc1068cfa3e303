"""What a request must pass: Host, Origin, Sec-Fetch-Site and method; and what every answer carries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from popbox.serve.guard import Guard, Rules, refusal

RULES = Rules.at("127.0.0.1", 8025, public=("https://Mail.example.net",), host="local", mta="stand-in")
HERE = (b"host", b"127.0.0.1:8025")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([HERE], 0),
        ([(b"Host", b"LOCALHOST:8025")], 0),
        ([(b"host", b"mail.example.net")], 0),
        ([], 421),
        ([HERE, HERE], 421),
        ([(b"host", b"127.0.0.1")], 421),
        ([(b"host", b"127.0.0.1:8026")], 421),
        ([(b"host", b"rebound.example:8025")], 421),
        ([(b"host", b"127.0.0.1:8025.example")], 421),
        ([(b"host", b"[::1]:8025")], 421),
        ([(b"host", b"\xff")], 421),
        ([HERE, (b"origin", b"http://127.0.0.1:8025")], 0),
        ([HERE, (b"origin", b"http://localhost:8025")], 0),
        ([HERE, (b"origin", b"https://mail.example.net")], 0),
        ([HERE, (b"origin", b"http://mail.example.net")], 403),
        ([HERE, (b"origin", b"http://localhost:3000")], 403),
        ([HERE, (b"origin", b"https://evil.example")], 403),
        ([HERE, (b"origin", b"null")], 403),
        ([HERE, (b"origin", b"")], 403),
        ([HERE, (b"origin", b"http://127.0.0.1:8025"), (b"Origin", b"https://evil.example")], 403),
        ([HERE, (b"sec-fetch-site", b"same-origin")], 0),
        ([HERE, (b"sec-fetch-site", b"none")], 0),
        ([HERE, (b"sec-fetch-site", b"same-site")], 403),
        ([HERE, (b"sec-fetch-site", b"cross-site")], 403),
    ],
)
def test_host_and_origin(headers: list[tuple[bytes, bytes]], status: int) -> None:
    found = refusal(RULES, "GET", headers)
    assert (found.status if found else 0) == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "get"])
def test_nothing_but_get_is_served(method: str) -> None:
    found = refusal(RULES, method, [HERE])
    assert found is not None
    assert found.status == 405


def test_port_80_needs_no_port_in_host_and_ipv6_has_brackets() -> None:
    assert refusal(Rules.at("192.0.2.1", 80), "GET", [(b"host", b"192.0.2.1")]) is None
    assert refusal(Rules.at("192.0.2.1", 80), "GET", [(b"host", b"localhost")]) is not None
    assert refusal(Rules.at("::1", 8025), "GET", [(b"host", b"[::1]:8025"), (b"origin", b"http://[::1]:8025")]) is None


def served(scope: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """What goes out, and whether the application behind the guard was asked."""
    out: list[dict[str, Any]] = []
    asked: list[str] = []

    async def behind(_: Any, __: Any, send: Any) -> None:
        asked.append("it")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b"x"})

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        out.append(message)

    asyncio.run(Guard(behind, RULES)(scope, nothing, send))
    return out, bool(asked)


def test_every_answer_carries_what_keeps_it_from_pages_and_names_the_world() -> None:
    for host in (b"127.0.0.1:8025", b"evil.example"):
        [start, _], asked = served({"type": "http", "method": "GET", "headers": [(b"host", host)]})
        headers = dict(start["headers"])
        assert asked is (host != b"evil.example")
        assert headers[b"popbox-world"] == b"local/stand-in"
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert headers[b"cache-control"] == b"no-store"
        assert b"sandbox" in headers[b"content-security-policy"]
        assert not any(name.startswith(b"access-control") for name in headers)


def test_a_websocket_is_closed_without_a_look_at_it() -> None:
    out, asked = served({"type": "websocket", "headers": [HERE]})
    assert ([one["type"] for one in out], asked) == (["websocket.close"], False)
