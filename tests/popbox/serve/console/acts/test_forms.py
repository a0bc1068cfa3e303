"""What the form of a page must have: whatever is lacking or wrong, nothing is done, and a page says why."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse
from tests.popbox.serve.api import TOKEN
from tests.popbox.serve.visitor import Browser

from popbox.serve import guard as guard_
from popbox.serve.errors import ApiError
from popbox.serve.forms import MOST_FIELDS, Entered, Filled, Form, decoded
from popbox.serve.guard import Guard
from popbox.serve.keys import Keys, Tries
from popbox.serve.rules import Rules
from popbox.serve.sessions import MOST_KEPT, MOST_TICKETS, SESSION_S, TICKET_S, Session, Sessions

BASE = "http://127.0.0.1:8025"
KEYS = Keys(TOKEN)


@dataclass(slots=True)
class Acts:
    """An application with one form, which does something only when it is asked to rightly."""

    done: list[Form] = field(default_factory=list)
    status: int = 303
    slow: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        api = FastAPI()

        @api.post("/act")
        async def act(form: Filled) -> Response:
            self.begun.set()
            if self.slow:
                await self.slow.wait()
            self.done.append(form)
            return RedirectResponse("/shown?n=1", 303) if self.status == 303 else Response("", self.status)

        @api.get("/v1/begun")
        @api.get("/begun")
        async def begun() -> Response:
            return Response("", 202, {"Location": "/v1/begun/1"})

        @api.get("/act")
        @api.get("/other")
        async def page(session: Entered) -> Response:
            fields = f'<input name="ticket" value="{session.ticket("/act")}">' if session else ""
            return Response(f'<form method="post" action="/act">{fields}<textarea name="text"></textarea></form>')

        rules = Rules.at("127.0.0.1", 8025, host="local", mta="stand-in", keys=KEYS)
        self.guard = Guard(
            api, rules, sessions=Sessions(KEYS), page=lambda problem: f"<h1>{problem.error}</h1>{problem.more}".encode()
        )

    def entered(self) -> Browser:
        assert self.guard.sessions
        browser = Browser(self.guard)
        browser.cookies["popbox-8025"] = self.guard.sessions.enter(TOKEN)
        return browser


@pytest.fixture
def acts() -> Acts:
    return Acts()


def test_a_form_of_our_own_page_is_done(acts: Acts) -> None:
    browser = acts.entered()
    answer = browser.send(browser.form("/act", "/act"), text="ä\r\nb")
    assert (answer.status_code, answer.headers["location"]) == (303, "/shown?n=1")
    [form] = acts.done
    assert (form.one("text"), form.lines("text"), form.one("none")) == ("ä\r\nb", "ä\nb", "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"sec_fetch_site": None}, 303),
        ({"content_type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}, 303),
        ({"origin": None}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "https://127.0.0.1:8025"}, 403),
        ({"origin": "http://localhost:8025"}, 403),  # ours too, and not the one that this form is of
        ({"origin": f"{BASE}/"}, 403),
        ({"host": "localhost:8025"}, 403),
        ({"host": "rebound.example:8025"}, 421),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
        ({"sec_fetch_site": ""}, 403),
        ({"content_type": None}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": "text/plain; application/x-www-form-urlencoded"}, 415),
        ({"cookie": None}, 401),
        ({"cookie": "popbox-8025=x"}, 401),
        ({"cookie": f"popbox-8025={TOKEN}"}, 401),
        ({"cookie": None, "popbox_token": TOKEN}, 401),
        ({"cookie": None, "authorization": f"Bearer {TOKEN}"}, 401),
    ],
)  # fmt: skip
def test_each_thing_that_a_form_needs(acts: Acts, headers: dict[str, str | None], status: int) -> None:
    browser = acts.entered()
    answer = browser.send(browser.form("/act", "/act"), headers)
    assert (answer.status_code, len(acts.done)) == (status, int(status == 303))
    assert status == 303 or answer.headers["content-type"].startswith("text/html")
    assert status == 303 or "default-src 'none'" in answer.headers["content-security-policy"]


JSON = {"content_type": "application/json"}


@pytest.mark.parametrize("headers", [{}, JSON, {"popbox_token": "x"}, {**JSON, "origin": None}])
@pytest.mark.parametrize(
    "what", ["POST /v1/messages", "POST /metrics", "DELETE /v1/faults/f", "DELETE /act", "POST /v1//act"]
)
def test_a_cookie_opens_nothing_for_programs(acts: Acts, what: str, headers: dict[str, str | None]) -> None:
    method, path = what.split()
    browser = acts.entered()
    ticket = browser.form("/act", "/act").fields["ticket"]
    answer = browser.ask(method, path, f"ticket={ticket}", **headers)
    assert answer.status_code == 401


def test_a_ticket_is_good_for_one_session_and_one_path(acts: Acts) -> None:
    ours, theirs = acts.entered(), acts.entered()
    form = ours.form("/act", "/act")
    good = form.fields["ticket"]
    assert theirs.send(form).status_code == 403
    session = acts.guard.sessions.of(list(ours.cookies.values()))  # type: ignore[union-attr]
    assert session
    nonce, until, made = good.split(".")
    wrong = [session.ticket(path) for path in ("/other", "/act/", "/", "/Act", "")]
    wrong += ["", "x", "\0", f"{good}x", f" {good}", good.upper(), f"{nonce[::-1]}.{until}.{made}"]
    wrong += [f"{nonce}.{one}.{made}" for one in (int(until) + 1, "9" * 10, "٣")] + [f"{nonce}.{until}.{made[:-1]}"]
    for ticket in wrong:
        assert ours.send(form, ticket=ticket).status_code == 403, ticket
    assert ours.ask("POST", "/act", f"ticket={good}&ticket={good}").status_code == 422
    assert ours.ask("POST", "/act?x=1", f"ticket={good}").status_code == 303, "a query is no path"
    assert len(acts.done) == 1


def test_a_form_that_is_sent_twice_is_done_once_and_leads_to_its_answer(acts: Acts) -> None:
    browser = acts.entered()
    form = browser.form("/act", "/act")
    assert browser.send(form).status_code == 303
    again = browser.send(form)
    assert (again.status_code, len(acts.done)) == (409, 1)
    assert "sent already, and was not done again" in again.text
    assert "/shown?n=1" in again.text


def test_a_form_that_is_sent_twice_at_once_is_done_once(acts: Acts) -> None:
    browser = acts.entered()
    form = browser.form("/act", "/act")
    body = f"ticket={form.fields['ticket']}"

    async def both() -> list[int]:
        acts.slow = asyncio.Event()
        first = asyncio.create_task(browser.asking("POST", "/act", body))
        second = asyncio.create_task(browser.asking("POST", "/act", body))
        await asyncio.sleep(0.05)
        acts.slow.set()
        return [(await one).status_code for one in (first, second)]

    assert sorted(asyncio.run(both())) == [303, 409]
    assert len(acts.done) == 1


def test_the_second_does_not_wait_for_ever(acts: Acts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_, "TWICE_S", 0.05)
    browser = acts.entered()
    body = f"ticket={browser.form('/act', '/act').fields['ticket']}"

    async def both() -> str:
        acts.slow = asyncio.Event()
        first = asyncio.create_task(browser.asking("POST", "/act", body))
        await acts.begun.wait()
        second = await browser.asking("POST", "/act", body)
        acts.slow.set()
        await first
        return second.text

    assert "still being done" in asyncio.run(both())


@pytest.mark.parametrize(("status", "again"), [(422, 422), (409, 409), (500, 409), (200, 409)])
def test_what_was_refused_may_be_sent_again_and_what_may_have_been_done_not(
    acts: Acts, status: int, again: int
) -> None:
    browser, acts.status = acts.entered(), status
    form = browser.form("/act", "/act")
    assert browser.send(form).status_code == status
    assert browser.send(form).status_code == again
    assert len(acts.done) == (2 if 400 <= status < 500 else 1)


def test_tickets_end_and_are_counted() -> None:
    now = [0.0]
    session = Session(lambda: now[0])
    old = session.ticket("/act")
    now[0] = TICKET_S + 1
    with pytest.raises(ApiError, match="too old"):
        session.turn(old, "/act")
    turns = [session.turn(session.ticket("/act"), "/act")[1] for _ in range(MOST_TICKETS)]
    assert all(turns)
    with pytest.raises(ApiError, match="too many"):
        session.turn(session.ticket("/act"), "/act")
    now[0] += TICKET_S + 1
    assert session.turn(session.ticket("/act"), "/act")[1]
    assert session.left_s < SESSION_S


def test_a_session_keeps_few_answers_and_shows_no_other_ones() -> None:
    ours, theirs = Session(lambda: 0.0), Session(lambda: 0.0)
    names = [ours.keep(number) for number in range(MOST_KEPT + 1)]
    assert [ours.kept(names[0]), ours.kept(names[1]), ours.kept("x"), theirs.kept(names[1])] == [None, 1, None, None]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 403),
        (b"ticket", 422),
        (b"%ff=%fe&ticket=x", 422),
        ("ü=1".encode(), 422),
        (b"&".join(b"a=1" for _ in range(MOST_FIELDS + 1)), 422),
        (b"a=" + b"x" * (4 << 20), 413),
    ],
)  # fmt: skip
def test_a_body_that_is_no_form_of_ours(acts: Acts, body: bytes, status: int) -> None:
    assert acts.entered().ask("POST", "/act", body).status_code == status
    assert acts.done == []


def test_fields_are_read_as_browsers_send_them() -> None:
    form = decoded(b"a=1&b=%E2%9C%93+%2B&a=2&empty=&nul=%00&c=1%3B2;3")
    assert (form.all("a"), form.one("b"), form.one("empty", "x"), form.one("nul")) == (["1", "2"], "✓ +", "", "\0")
    assert form.one("c") == "1;2;3"
    with pytest.raises(ApiError):
        form.one("a")


def test_who_does_not_enter_is_refused_before_the_body_is_read(acts: Acts) -> None:
    async def never() -> None:
        raise AssertionError("the body is not read")

    out: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        out.append(message)

    headers = {"host": "127.0.0.1:8025", "origin": BASE, "content-type": "application/x-www-form-urlencoded"}
    scope = {"type": "http", "method": "POST", "path": "/act",
             "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}  # fmt: skip
    asyncio.run(acts.guard(scope, never, send))  # type: ignore[arg-type]
    assert out[0]["status"] == 401


def test_a_token_is_not_guessed_by_trying(acts: Acts) -> None:
    """Whatever the method and the path: an answer that tells the right one from the others comes seldom."""
    now = [0.0]
    acts.guard._tries = Tries(3, 1.0, lambda: now[0])
    program = Browser(acts.guard)

    def told(method: str, path: str, said: str) -> int:
        return program.ask(method, path, "{}", content_type="application/json", popbox_token=said).status_code

    assert [told(*one, "x" * 20) for one in (("POST", "/v1/a"), ("DELETE", "/v1/a"), ("DELETE", "/act"))] == [401] * 3
    for method, path in (("POST", "/v1/a"), ("DELETE", "/v1/a"), ("DELETE", "/act"), ("PUT", "/act")):
        assert [told(method, path, one) for one in ("x" * 20, TOKEN)] == [429, 429]
    assert [told("GET", "/act", one) for one in ("x" * 20, TOKEN)] == [200, 200]
    browser = acts.entered()
    assert browser.send(browser.form("/act", "/act")).status_code == 303, "who has entered goes on"
    now[0] += 1.0
    assert [told("POST", "/v1/a", one) for one in (TOKEN, TOKEN, "x" * 20, TOKEN)] == [404, 404, 401, 429]


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/popbox", "/"), ("/popbox/", "/"), ("/popbox/a", "/a"), ("/a", "/a"), ("/popboxes", "/popboxes"), ("/", "/"),
     ("/popbox/popbox/v1/a", "/popbox/v1/a"), ("/popbox//v1/a", "//v1/a"), ("//popbox/a", "//popbox/a"), ("", "")],
)  # fmt: skip
def test_the_path_of_a_proxy_is_taken_away_once(path: str, inside: str) -> None:
    rules = Rules.at("127.0.0.1", 8025, public=("https://mail.example.net/popbox",))
    assert rules.inside(path) == inside


def test_below_the_path_of_a_proxy_programs_have_their_own_rules(acts: Acts) -> None:
    public = ("http://127.0.0.1:8025/popbox",)
    acts.guard._rules = Rules.at("127.0.0.1", 8025, public=public, keys=KEYS)
    browser = acts.entered()
    ticket = browser.form("/popbox/act", "/act").fields["ticket"]
    for path in ("/popbox/v1/act", "/popbox/metrics", "/v1/act"):
        assert browser.ask("POST", path, f"ticket={ticket}").status_code == 401, path
    assert browser.ask("POST", "/popbox/act", f"ticket={ticket}").status_code == 303
    where = [browser.get(path).headers["location"] for path in ("/popbox/v1/begun", "/v1/begun", "/popbox/begun")]
    assert where == ["/popbox/v1/begun/1", "/popbox/v1/begun/1", "/v1/begun/1"]
