"""Requests to the API in this process, without a socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from popbox.hosts.base import Host
from popbox.journey.model import Event, Kind
from popbox.journey.store import Store
from popbox.serve.app import application
from popbox.serve.guard import App
from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.rules import Rules

TOKEN = "0123456789abcdefghij"
RULES = Rules.at("127.0.0.1", 8025, host="local", mta="stand-in", keys=Keys(TOKEN))


def ask(app: App, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and body of the answer, JSON read; header names have ``_`` for ``-``."""
    given = {"host": "127.0.0.1:8025", **({"content-type": "application/json"} if method == "POST" else {}), **headers}
    parts: list[Any] = [{"type": "http.request", "body": json.dumps(body).encode() if body is not None else b""}]
    out: list[Any] = []

    async def receive() -> Any:
        return parts.pop() if parts else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        out.append(message)

    name, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": name, "raw_path": name.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(key.replace("_", "-").encode(), value.encode()) for key, value in given.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8025),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    octets = b"".join(one.get("body", b"") for one in out[1:])
    return out[0]["status"], json.loads(octets) if octets else None


class Api:
    """The API over a host, asked with the server's token unless told otherwise."""

    def __init__(self, host: Host, folder: Path, rules: Rules = RULES) -> None:
        self.host = host
        self.store = Store.open(folder / "journeys")
        self.live = Live(host, self.store)
        self.app = application(self.live, rules)

    def __enter__(self) -> Api:
        self.live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.__exit__()
        self.store.close()

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return ask(self.app, "GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return ask(self.app, "POST", path, body, **(headers or {"popbox_token": TOKEN}))

    def delete(self, path: str, **headers: str) -> tuple[int, Any]:
        return ask(self.app, "DELETE", path, **(headers or {"popbox_token": TOKEN}))

    def space(self, **wanted: Any) -> Any:
        status, made = self.post("/v1/spaces", wanted)
        assert status == 201, made
        return made

    def notes(self) -> list[Event]:
        return [one for one in self.store.events_since(0) if one.kind is Kind.NOTE]
