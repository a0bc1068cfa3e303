"""A browser without script, over the application in this process: cookies, Origin, forms with their hidden fields."""

from __future__ import annotations

import asyncio
import html.parser
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin

import httpx

from popbox.serve.guard import Guard


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, and what its fields hold."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(html.parser.HTMLParser):
    """The forms and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self._choosing = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.ids += [said["id"]] if "id" in said else []
        if tag == "a":
            self.links.append(said.get("href", ""))
        if tag == "form" and said.get("method") == "post":
            self.forms.append(Form(said["action"]))
        if tag in ("input", "textarea") and self.forms and said.get("type") not in ("radio", "checkbox"):
            self.forms[-1].fields[said.get("name", "")] = said.get("value", "")


class Browser:
    """One browser at one address of the application."""

    def __init__(self, app: Guard, base: str = "http://127.0.0.1:8025", root: str = "") -> None:
        self.app, self.base, self.root = app, base, root
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    def ask(self, method: str, path: str, body: str | bytes = b"", **headers: str | None) -> httpx.Response:
        """One request as a browser makes it; a header is replaced by keyword, ``None`` takes it away."""
        return asyncio.run(self.asking(method, path, body, **headers))

    async def asking(self, method: str, path: str, body: str | bytes = b"", **headers: str | None) -> httpx.Response:
        said: dict[str, str | None] = {"accept": "text/html,*/*;q=0.8", "sec_fetch_site": "same-origin"}
        if self.cookies:
            said["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method == "POST":
            said |= {"origin": self.base, "content_type": "application/x-www-form-urlencoded"}
        given = {name.replace("_", "-"): value for name, value in (said | headers).items() if value is not None}
        over = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=over, base_url=self.base, trust_env=False) as client:
            answer = await client.request(method, path, content=body, headers=given)
        for line in answer.headers.get_list("set-cookie"):
            self.set_cookies.append(line)
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        return answer

    def get(self, path: str, **headers: str | None) -> httpx.Response:
        return self.ask("GET", path, **headers)

    def form(self, path: str, action: str, **holds: str) -> Form:
        """The one form of a page that goes to ``action`` and has such fields."""
        forms = [one for one in Page(self.get(path).text).forms if one.action == self.root + action]
        found = [one for one in forms if holds.items() <= one.fields.items()]
        assert len(found) == 1, f"{len(found)} forms go to {action}"
        return found[0]

    def send(self, form: Form, _headers: dict[str, str | None] | None = None, **fields: Any) -> httpx.Response:
        """Fill a form in and send it."""
        return self.ask("POST", form.action, urlencode({**form.fields, **fields}), **(_headers or {}))

    def submit(self, path: str, action: str, **fields: Any) -> httpx.Response:
        """Open a page, fill its form in, send it and follow the answer."""
        return self.follow(self.send(self.form(path, action), **fields))

    def follow(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 303:
            return self.get(urljoin(self.base, answer.headers["location"]).removeprefix(self.base))
        return answer

    def enter(self, said: str) -> httpx.Response:
        return self.send(self.form(f"{self.root}/enter", "/enter"), token=said)
