"""What each request must pass before any endpoint sees it, and what each answer carries. Works on ASGI messages.

Any page in a browser on this machine can send requests to a loopback port, by a form or an image (cross-site), and by a
name of its own that resolves to 127.0.0.1 it can read the answers (DNS rebinding). So Host and Origin are compared with
a list on every request. What is no GET is refused: no endpoint writes. WebSockets, which know no same-origin
rule, are refused too (CVE-2026-22689).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from popbox.serve.errors import ApiError, body_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is served to whom. ``hosts`` are Host headers in lower case, as ``127.0.0.1:8025``; ``origins`` likewise."""

    hosts: frozenset[str]
    origins: frozenset[str]
    host: str = ""  # the mail host's name and MTA, for the answers
    mta: str = ""

    @classmethod
    def at(cls, address: str, port: int, *, public: tuple[str, ...] = (), **more: Any) -> Rules:
        """The rules of a listener: its own address, the names of this machine where it is loopback, and ``public``.

        ``public`` are origins at which a proxy shows it, such as ``https://mail.example.net``.
        """
        literal = f"[{address}]" if ":" in address else address
        names = {literal, *(("localhost",) if address in ("127.0.0.1", "::1") else ())}
        hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())
        origins = {f"http://{name}" for name in hosts} | {one.lower() for one in public}
        hosts |= {one.lower().partition("://")[2] for one in public}
        return cls(frozenset(hosts), frozenset(origins), **more)


def refusal(rules: Rules, method: str, headers: Headers) -> ApiError | None:
    """Why a request is not served; None where it is."""
    said: dict[str, list[str]] = {}
    for name, value in headers:
        said.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    hosts = [one.lower() for one in said.get("host", [])]
    if len(hosts) != 1 or hosts[0] not in rules.hosts:
        hint = f"ask for one of: {', '.join(sorted(rules.hosts))}; --public-url adds the address of a proxy"
        return ApiError(421, "this Host is not served here", hint, tuple(f"Host: {one[:200]}" for one in hosts))
    if foreign := [one for one in said.get("origin", []) if one.lower() not in rules.origins]:
        hint = "pages of other origins are not served"
        return ApiError(403, "this Origin is not served here", hint, tuple(f"Origin: {one[:200]}" for one in foreign))
    if not {one.lower() for one in said.get("sec-fetch-site", [])} <= {"same-origin", "none"}:
        return ApiError(403, "a page of another site sent this request", "pages of other origins are not served")
    if method != "GET":
        return ApiError(405, "nothing can be changed here", "only GET is served")
    return None


class Guard:
    """The outermost ASGI application: checks, limits and headers around another one."""

    def __init__(self, app: App, rules: Rules) -> None:
        """``app`` sees only what has passed."""
        self.app, self._rules = app, rules

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSockets are served here"})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await self._request(scope, receive, self._with_headers(send))

    async def _request(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        problem = refusal(self._rules, scope["method"], scope["headers"])
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await self._answer(problem, send)

    async def _answer(self, problem: ApiError, send: Send) -> None:
        body = body_of(problem, self._rules.host, self._rules.mta)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"allow", b"GET")] if problem.status == 405 else []
        headers += [(b"connection", b"close")]  # a body that was not read must not be taken for the next request
        await send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _with_headers(self, send: Send) -> Send:
        """Every answer names host and MTA, is no page of a browser, and is kept nowhere."""
        world = f"{self._rules.host}/{self._rules.mta}".encode("ascii", "replace")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _OURS]
                message = {**message, "headers": [*own, *SAFE, (b"popbox-world", world)]}
            await send(message)

        return sending


_OURS = frozenset(name for name, _ in SAFE) | {b"popbox-world", b"access-control-allow-origin"}
