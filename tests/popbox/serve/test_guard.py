"""What a request must pass: Host, Origin, Sec-Fetch-Site, method and token; and what every answer carries."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from popbox.serve.app import application
from popbox.serve.bodies import Bodies
from popbox.serve.errors import ApiError
from popbox.serve.guard import Guard
from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.rules import Caller, Rules, admitted

TOKEN = "0123456789abcdefghij"
KEYS = Keys(TOKEN)
RULES = Rules.at("127.0.0.1", 8025, public=("https://Mail.example.net",), host="local", mta="stand-in")
WRITABLE = Rules.at("127.0.0.1", 8025, host="local", mta="stand-in", keys=KEYS)
HERE = (b"host", b"127.0.0.1:8025")
JSON = (b"content-type", b"application/json")
RIGHT = (b"popbox-token", TOKEN.encode())
SPACE = (b"popbox-space", KEYS.of_space("s1").encode())
Headers = list[tuple[bytes, bytes]]


def refusal(rules: Rules, method: str, headers: Headers) -> ApiError | None:
    try:
        admitted(rules, method, headers)
    except ApiError as problem:
        return problem
    return None


def status_of(rules: Rules, method: str, headers: Headers) -> int:
    found = refusal(rules, method, headers)
    return found.status if found else 0


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
    assert status_of(RULES, "GET", headers) == status
    with_token = status_of(Rules(RULES.hosts, RULES.origins, keys=KEYS), "POST", [*headers, RIGHT, JSON])
    assert with_token == status, "the right token opens nothing to another Host or Origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "get"])
def test_nothing_but_get_is_served_without_keys(method: str) -> None:
    found = refusal(RULES, method, [HERE, RIGHT, JSON])
    assert found is not None
    assert (found.status, "--allow-writes" in found.hint) == (405, True)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "post"])
def test_no_other_method_is_served_with_the_token(method: str) -> None:
    assert status_of(WRITABLE, method, [HERE, RIGHT, JSON]) == 405


@pytest.mark.parametrize(
    ("method", "path", "has"),
    [("DELETE", "/metrics", "GET"), ("POST", "/v1/accounts", "GET"), ("GET", "/v1/spaces/s0123456789", "DELETE")],
)
def test_a_method_that_a_path_lacks_is_told_those_that_it_has(live: Live, method: str, path: str, has: str) -> None:
    async def answered() -> httpx.Response:
        over = httpx.ASGITransport(application(live, WRITABLE))
        async with httpx.AsyncClient(transport=over, base_url="http://127.0.0.1:8025") as client:
            return await client.request(method, path, headers=[RIGHT, *([JSON] if method == "POST" else [])])

    answer = asyncio.run(answered())
    assert (answer.status_code, answer.headers.get("allow")) == (405, has), "RFC 9110 section 15.5.6"
    assert set(answer.json()) == {"error", "hint", "evidence", "host", "mta"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([RIGHT], 0),
        ([(b"Popbox-Token", TOKEN.encode())], 0),
        ([(b"authorization", b"Bearer " + TOKEN.encode())], 0),
        ([(b"authorization", b"bearer  " + TOKEN.encode())], 0),
        ([(b"authorization", b"Basic " + TOKEN.encode())], 401),
        ([(b"authorization", TOKEN.encode())], 401),
        ([(b"authorization", b"")], 401),
        ([(b"popbox-token", b"")], 401),
        ([(b"popbox-token", TOKEN.encode()[:-1])], 401),
        ([(b"popbox-token", TOKEN.encode() + b"x")], 401),
        ([(b"popbox-token", b"\xff\xfe")], 401),
        ([RIGHT, (b"popbox-token", b"other")], 401),
        ([RIGHT, RIGHT], 401),
        ([(b"popbox-token", b"other"), (b"authorization", b"Bearer " + TOKEN.encode())], 401),
        ([(b"cookie", b"popbox-token=" + TOKEN.encode())], 401),
        ([SPACE], 0),
        ([SPACE, RIGHT], 0),
        ([SPACE, (b"popbox-token", b"other")], 401),
        ([SPACE, SPACE], 403),
        ([RIGHT, (b"popbox-space", b"s1")], 403),
        ([RIGHT, (b"popbox-space", b"")], 403),
        ([RIGHT, (b"popbox-space", b"s2" + SPACE[1][2:])], 403),
        ([(b"popbox-token", SPACE[1])], 401),
        ([(b"popbox-space", TOKEN.encode())], 403),
    ],
)
def test_a_write_says_the_token_of_the_server_or_of_a_space(headers: Headers, status: int) -> None:
    for method in ("POST", "DELETE"):
        assert status_of(WRITABLE, method, [HERE, JSON, *headers]) == status
    found = refusal(WRITABLE, "POST", [HERE, JSON, *headers])
    assert not found or TOKEN not in f"{found.error}{found.hint}{found.evidence}", "an answer never has the token"


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ([b"application/json"], 0),
        ([b"Application/JSON; charset=utf-8"], 0),
        ([], 415),
        ([b""], 415),
        ([b"text/plain"], 415),
        ([b"text/plain; application/json"], 415),
        ([b"application/x-www-form-urlencoded"], 415),
        ([b"multipart/form-data; boundary=application/json"], 415),
        ([b"application/json", b"text/plain"], 415),
    ],
)
def test_no_form_of_a_page_can_write(kinds: list[bytes], status: int) -> None:
    assert status_of(WRITABLE, "POST", [HERE, RIGHT, *((b"content-type", one) for one in kinds)]) == status


def test_who_asks() -> None:
    assert admitted(WRITABLE, "GET", [HERE]) == Caller()
    assert admitted(WRITABLE, "GET", [HERE, RIGHT]) == Caller(whole=True)
    assert admitted(WRITABLE, "POST", [HERE, SPACE, JSON]) == Caller(space="s1")
    assert admitted(WRITABLE, "DELETE", [HERE, SPACE, RIGHT]) == Caller(whole=True, space="s1")
    assert status_of(RULES, "GET", [HERE, SPACE]) == 403, "a space that cannot be narrows nothing down"


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


def posted(parts: list[bytes], limits: Bodies, *more: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """The status of a POST that comes in parts, an endless wait behind them, and the body that the endpoint got."""
    out: list[dict[str, Any]] = []
    left = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    seen: list[bytes] = []

    async def behind(_: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        if left:
            return left.pop(0) if left[0]["body"] != b"END" else {**left.pop(0), "body": b"", "more_body": False}
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        out.append(message)

    scope = {"type": "http", "method": "POST", "headers": [HERE, RIGHT, JSON, *more]}
    asyncio.run(Guard(behind, WRITABLE, limits)(scope, receive, send))
    return out[0]["status"], b"".join(seen)


def test_a_body_is_limited_in_size_and_time() -> None:
    limits = Bodies(octets=10, at_once=15, within_s=60.0)
    assert posted([b"01234", b"56789", b"END"], limits) == (200, b"0123456789")
    assert posted([b"01234", b"567890", b"END"], limits) == (413, b"")
    assert posted([], limits, (b"content-length", b"11")) == (413, b""), "before any of it is read"
    assert posted([], limits, (b"content-length", b"9" * 5_000)) == (413, b"")
    assert posted([b"01234"], Bodies(octets=10, at_once=15, within_s=0.05)) == (408, b"")
    assert posted([b"0123456789", b"END"], Bodies(octets=10, at_once=9)) == (503, b"")
    assert posted([b"0123456789", b"END"], limits) == (200, b"0123456789"), "what is not held any more does not count"


def test_a_wrong_token_is_refused_before_the_body_is_read() -> None:
    async def never() -> Any:
        raise AssertionError("the body is not read")

    out: list[Any] = []

    async def send(message: Any) -> None:
        out.append(message)

    scope = {"type": "http", "method": "POST", "headers": [HERE, JSON, (b"popbox-token", b"x")]}
    asyncio.run(Guard(never, WRITABLE)(scope, never, send))
    headers = dict(out[0]["headers"])
    assert (out[0]["status"], headers[b"connection"], headers[b"www-authenticate"]) == (401, b"close", b"Bearer")


@pytest.mark.parametrize(
    ("method", "path", "mode", "dest", "status"),
    [
        ("GET", "/", b"navigate", b"document", 0),
        ("GET", "/journeys/1", b"navigate", b"document", 0),
        ("GET", "/", b"navigate", b"iframe", 403),
        ("GET", "/", b"no-cors", b"document", 403),
        ("GET", "/", b"cors", b"empty", 403),
        ("GET", "/v1/accounts", b"navigate", b"document", 403),
        ("POST", "/", b"navigate", b"document", 403),
    ],
)
def test_a_link_on_another_site_opens_a_page_and_nothing_else(
    method: str, path: str, mode: bytes, dest: bytes, status: int
) -> None:
    headers = [HERE, (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", mode), (b"sec-fetch-dest", dest)]
    try:
        admitted(WRITABLE, method, headers, path)
        found = 0
    except ApiError as problem:
        found = problem.status
    assert found == status
