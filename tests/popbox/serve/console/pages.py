"""Pages made in this process, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, FastAPI

from popbox.serve.console.render import Pages

PAGES = Pages({"host": "local", "mta": "stand-in"}, writes=False)


def page(routers: APIRouter | tuple[APIRouter, ...], path: str) -> str:
    """The text of the page at ``path``; its status is 200."""
    app = FastAPI()
    for one in routers if isinstance(routers, tuple) else (routers,):
        app.include_router(one)
    name, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": name, "raw_path": name.encode(), "query_string": query.encode(), "root_path": "", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8025),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body: bytes = b"".join(one.get("body", b"") for one in sent[1:])
    assert sent[0]["status"] == 200, body
    return body.decode()
