"""The outermost ASGI application: what requests must pass before any endpoint sees them, and what answers carry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from popbox.serve.bodies import Bodies, Gone, Message, Receive, replayed
from popbox.serve.errors import ApiError, body_of
from popbox.serve.forms import FORM, FORM_OCTETS, SESSION, TICKET_FIELD, decoded
from popbox.serve.keys import Tries
from popbox.serve.rules import ENTER, WRITES, Caller, Headers, Rules, Said, admitted, for_people, of_api, said_by
from popbox.serve.sessions import Session, Sessions, Turn
from popbox.serve.space import Space

Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
# Of a page: no inline script or style, nothing from elsewhere, in no frame; a form sends only to this server. With
# no-referrer a form would have the Origin `null`.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
OF_PAGES = [(b"content-security-policy", POLICY), (b"referrer-policy", b"same-origin")]
CALLER = "popbox.caller"  # the key of a scope
ENTER_OCTETS = 4_096  # our choice: of the form that has the token
BURST, EVERY_S = 100, 0.05  # our choice: wrong tokens of programs; who has chosen a short one is not guessed in a day
TOKENS = {"popbox-token", "authorization"}
TWICE_S = 20.0  # our choice: a form that is sent twice waits so long for the answer to the first


class Guard:
    """The outermost ASGI application: checks, limits and headers around another one."""

    def __init__(
        self,
        app: App,
        rules: Rules,
        bodies: Bodies | None = None,
        living: Callable[[str], Space | None] = lambda _name: None,
        page: Callable[[ApiError], bytes] | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """``app`` sees only what has passed. ``bodies`` has the limits for what clients send.

        ``living`` gives a space by its name, while it has not ended; ``page`` shows an error to people;
        ``sessions`` are of those who have entered, None where there are no writes.
        """
        self.app, self._rules, self._bodies, self._living, self._page = app, rules, bodies or Bodies(), living, page
        self.sessions, self._tries = sessions, Tries(BURST, EVERY_S)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSockets are served here"})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            scope["path"] = self._rules.inside(scope.get("path", "/v1/"))
            await self._request(scope, receive, self._with_headers(send, of_api(scope["path"])))

    async def _request(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        said, path = said_by(scope["headers"]), scope["path"]
        with self._bodies.holding() as body:
            try:
                caller = scope[CALLER] = self._caller(scope["method"], scope["headers"], said, path)
                session = scope[SESSION] = self._session(said, path, must=caller.console and path != ENTER)
                if caller.space is not None:
                    scope["state"] = {**scope.get("state", {}), "space": self._alive(caller.space)}
                if scope["method"] == "POST":
                    most = ENTER_OCTETS if path == ENTER else FORM_OCTETS if caller.console else None
                    await self._bodies.read(body, receive, _announced(said), most)
                    receive = replayed(bytes(body), receive)
                if caller.console:
                    send = await self._form(scope, bytes(body), session, send)
            except ApiError as problem:
                await self._answer(problem, send, said, path)
            except Gone:
                pass
            else:
                await self.app(scope, receive, send)

    def _caller(self, method: str, headers: Headers, said: Said, path: str) -> Caller:
        """Who asks, see ``admitted``; a wrong token costs a try.

        Raises:
            ApiError: the request is not served.
        """
        if method != "GET" and said.keys() & TOKENS and not self._tries.any():
            raise ApiError(429, "too many wrong tokens", "try again in a second")
        try:
            return admitted(self._rules, method, headers, path)
        except ApiError as problem:
            if problem.status == 401 and said.keys() & TOKENS:
                self._tries.wrong()
            raise

    def _session(self, said: Said, path: str, *, must: bool) -> Session | None:
        """The session that a request for a page belongs to; no cookie is looked at below ``/v1/``.

        Raises:
            ApiError: there must be one, and is none.
        """
        values = [] if of_api(path) else self._rules.jar(said["host"][0]).values(said.get("cookie", []))
        found = self.sessions.of(values) if self.sessions else None
        if must and found is None:
            raise ApiError(401, "you have not entered, or your session has ended", "enter, and try again")
        return found

    async def _form(self, scope: MutableMapping[str, Any], body: bytes, session: Session | None, send: Send) -> Send:
        """Take the ticket of a form; returns what to send its answer by.

        Raises:
            ApiError: it is none, or was used: then it says where the answer to the first is.
        """
        form = scope[FORM] = decoded(body)
        if session is None or scope["path"] == ENTER:
            return send
        turn, first = session.turn(form.one(TICKET_FIELD), scope["path"])
        if first:
            return _settling(session, turn, send)
        try:
            await asyncio.wait_for(turn.over.wait(), TWICE_S)
        except TimeoutError:
            raise ApiError(409, "this form was sent already, and is still being done", "look again later") from None
        more = {"answer": turn.location} if turn.location else {}
        raise ApiError(409, "this form was sent already, and was not done again", "", (), more)

    def _alive(self, name: str) -> Space:
        if (space := self._living(name)) is None:
            raise ApiError(403, "the space of this popbox-space has ended", "POST /v1/spaces makes a new one")
        return space

    async def _answer(self, problem: ApiError, send: Send, said: Said, path: str) -> None:
        shown = self._page if for_people(said, path) else None
        body = shown(problem) if shown else body_of(problem, self._rules.host, self._rules.mta)
        kind = b"text/html; charset=utf-8" if shown else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        headers += OF_PAGES if shown else []
        headers += [(b"allow", b", ".join([b"GET", *self._writes()]))] if problem.status == 405 else []
        headers += [(b"www-authenticate", b"Bearer")] if problem.status == 401 else []
        headers += [(b"connection", b"close")]  # a body that was not read must not be taken for the next request
        await send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _writes(self) -> list[bytes]:
        return [one.encode() for one in WRITES] if self._rules.keys else []

    def _with_headers(self, send: Send, api: bool) -> Send:
        """Every answer names host and MTA, is no page of a browser, and is kept nowhere.

        A Location of the ``api`` is without the path of a proxy, which a page's has.
        """
        root = self._rules.root.encode() if api else b""
        world = f"{self._rules.host}/{self._rules.mta}".encode("ascii", "replace")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower(), value) for name, value in message.get("headers", ()) if name.lower() not in _OURS]
                own = [(name, root + value if name == b"location" else value) for name, value in own]
                said = {name for name, _ in own}
                safe = [one for one in SAFE if one[0] not in said]
                message = {**message, "headers": [*own, *safe, (b"popbox-world", world)]}
            await send(message)

        return sending


def _settling(session: Session, turn: Turn, send: Send) -> Send:
    """What sends the answer to a form, and notes where that is."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            at = next((value.decode() for name, value in message["headers"] if name.lower() == b"location"), "")
            session.settle(turn, message["status"], at)
        await send(message)

    return sending


def _announced(said: Said) -> str:
    return said.get("content-length", [""])[0]


_OWN_ALLOWED = (b"content-security-policy", b"referrer-policy")  # a page of the console has its own
_OURS = frozenset({name for name, _ in SAFE} - set(_OWN_ALLOWED)) | {b"popbox-world", b"access-control-allow-origin"}
