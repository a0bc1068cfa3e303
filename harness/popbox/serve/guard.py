"""What each request must pass before any endpoint sees it, and what each answer carries. Works on ASGI messages.

Any page in a browser on this machine can send requests to a loopback port, by a form or an image (cross-site), and by a
name of its own that resolves to 127.0.0.1 it can read the answers (DNS rebinding). So Host and Origin are compared with
a list on every request. What is no GET is refused unless writes are allowed, and then needs a token in a header of its
own, and JSON, neither of which a form can send. WebSockets, which know no same-origin rule, are refused too
(CVE-2026-22689).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from popbox.serve.bodies import Bodies, Gone, Message, Receive, replayed
from popbox.serve.errors import ApiError, body_of
from popbox.serve.keys import Keys
from popbox.serve.names import known
from popbox.serve.space import Space

Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
Said = dict[str, list[str]]

SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
WRITES = ("POST", "DELETE")
CALLER = "popbox.caller"  # the key of a scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``whole`` where the server's token was said, ``space`` the name of the space whose token was said."""

    whole: bool = False
    space: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What is served to whom. ``hosts`` are Host headers in lower case, as ``127.0.0.1:8025``; ``origins`` likewise.

    ``names``: where there are any, these, IP addresses and localhost are served at any port, see ``serve.names``.
    ``keys``: of what a write must say; None where there are no writes.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    host: str = ""  # the mail host's name and MTA, for the answers
    mta: str = ""
    keys: Keys | None = None
    names: frozenset[str] = frozenset()

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

    def serves(self, host: str) -> bool:
        """Whether a Host header in lower case is one of ours."""
        return host in self.hosts or (bool(self.names) and known(host, self.names))

    def asked_for(self) -> str:
        """What to ask for, in words."""
        listed = ", ".join(sorted(self.hosts | self.names))
        return f"an IP address, localhost, or one of: {listed}" if self.names else f"one of: {listed}"


def admitted(rules: Rules, method: str, headers: Headers, path: str = "/v1/") -> Caller:
    """Who asks, where the request is served.

    Raises:
        ApiError: it is not; says why.
    """
    said: Said = {}
    for name, value in headers:
        said.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    _same_site(rules, said, opened=_opened(method, said, path))
    caller = Caller(_whole(rules, said), _space(rules, said))
    if method != "GET":
        _may_write(rules, method, said, caller)
    return caller


def _opened(method: str, said: Said, path: str) -> bool:
    """Whether a browser opens a page of the console as a page of its own: a link from elsewhere leads there.

    What it shows stays out of that site's reach: it is in no frame, and answers no script of another origin.
    """
    modes = [said.get(f"sec-fetch-{one}", []) for one in ("mode", "dest")]
    return method == "GET" and modes == [["navigate"], ["document"]] and not path.startswith("/v1/")


def _same_site(rules: Rules, said: Said, *, opened: bool) -> None:
    hosts = [one.lower() for one in said.get("host", [])]
    if len(hosts) != 1 or not rules.serves(hosts[0]):
        hint = f"ask for {rules.asked_for()}; --public-url adds the address of a proxy, --known-as a name"
        raise ApiError(421, "this Host is not served here", hint, tuple(f"Host: {one[:200]}" for one in hosts))
    origins = rules.origins | ({f"http://{hosts[0]}"} - {f"http://{one}" for one in rules.hosts})
    if foreign := [one for one in said.get("origin", []) if one.lower() not in origins]:
        hint = "pages of other origins are not served"
        raise ApiError(403, "this Origin is not served here", hint, tuple(f"Origin: {one[:200]}" for one in foreign))
    sites = {one.lower() for one in said.get("sec-fetch-site", [])}
    if not sites <= {"same-origin", "none"} and not opened:
        raise ApiError(403, "a page of another site sent this request", "pages of other origins are not served")


def _whole(rules: Rules, said: Said) -> bool:
    """Whether the server's token was said, in ``popbox-token`` or as ``Authorization: Bearer``."""
    tokens = said.get("popbox-token", []) + [_bearer(one) for one in said.get("authorization", [])]
    return len(tokens) == 1 and rules.keys is not None and rules.keys.fits(tokens[0])


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _space(rules: Rules, said: Said) -> str | None:
    """The space whose token was said; a token that is none narrows nothing, so it is refused."""
    tokens = said.get("popbox-space", [])
    if not tokens:
        return None
    name = rules.keys.space(tokens[0]) if rules.keys and len(tokens) == 1 else None
    if name is None:
        raise ApiError(403, "popbox-space is no token of a space of this server", "POST /v1/spaces makes one")
    return name


def _may_write(rules: Rules, method: str, said: Said, caller: Caller) -> None:
    if rules.keys is None:
        raise ApiError(405, "nothing can be changed here", "`popbox serve --allow-writes` allows it")
    if method not in WRITES:
        raise ApiError(405, f"{method[:20]} is not served", f"GET, {', '.join(WRITES)} are")
    tried = "popbox-token" in said or "authorization" in said
    if not caller.whole and (tried or caller.space is None):
        hint = "send the header `popbox-token: TOKEN`; `popbox serve` has printed the name of the file that holds it"
        raise ApiError(401, "the token is wrong" if tried else "this needs the token", hint)
    kinds = [one.partition(";")[0].strip().lower() for one in said.get("content-type", [])]
    if method == "POST" and kinds != ["application/json"]:
        raise ApiError(415, "JSON is wanted", "send the header `content-type: application/json`")


class Guard:
    """The outermost ASGI application: checks, limits and headers around another one."""

    def __init__(
        self,
        app: App,
        rules: Rules,
        bodies: Bodies | None = None,
        living: Callable[[str], Space | None] = lambda _name: None,
    ) -> None:
        """``app`` sees only what has passed. ``bodies`` has the limits for what clients send.

        ``living`` gives a space by its name, while it has not ended.
        """
        self.app, self._rules, self._bodies, self._living = app, rules, bodies or Bodies(), living

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSockets are served here"})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await self._request(scope, receive, self._with_headers(send))

    async def _request(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        with self._bodies.holding() as body:
            try:
                path = scope.get("path", "/v1/")
                caller = scope[CALLER] = admitted(self._rules, scope["method"], scope["headers"], path)
                if caller.space is not None:
                    scope["state"] = {**scope.get("state", {}), "space": self._alive(caller.space)}
                if scope["method"] == "POST":
                    await self._bodies.read(body, receive, _announced(scope["headers"]))
                    receive = replayed(bytes(body), receive)
            except ApiError as problem:
                await self._answer(problem, send)
            except Gone:
                pass
            else:
                await self.app(scope, receive, send)

    def _alive(self, name: str) -> Space:
        if (space := self._living(name)) is None:
            raise ApiError(403, "the space of this popbox-space has ended", "POST /v1/spaces makes a new one")
        return space

    async def _answer(self, problem: ApiError, send: Send) -> None:
        body = body_of(problem, self._rules.host, self._rules.mta)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"allow", b", ".join([b"GET", *self._writes()]))] if problem.status == 405 else []
        headers += [(b"www-authenticate", b"Bearer")] if problem.status == 401 else []
        headers += [(b"connection", b"close")]  # a body that was not read must not be taken for the next request
        await send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _writes(self) -> list[bytes]:
        return [one.encode() for one in WRITES] if self._rules.keys else []

    def _with_headers(self, send: Send) -> Send:
        """Every answer names host and MTA, is no page of a browser, and is kept nowhere."""
        world = f"{self._rules.host}/{self._rules.mta}".encode("ascii", "replace")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _OURS]
                said = {name.lower() for name, _ in own}
                safe = [one for one in SAFE if one[0] not in said]
                message = {**message, "headers": [*own, *safe, (b"popbox-world", world)]}
            await send(message)

        return sending


def _announced(headers: Headers) -> str:
    return next((value.decode("latin-1") for name, value in headers if name.lower() == b"content-length"), "")


_OWN_ALLOWED = b"content-security-policy"  # a page of the console has one of its own
_OURS = frozenset(name for name, _ in SAFE if name != _OWN_ALLOWED) | {b"popbox-world", b"access-control-allow-origin"}
