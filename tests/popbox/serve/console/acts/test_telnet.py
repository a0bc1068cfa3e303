"""The HOWTO's session typed in forms: on two ports of one host, bounded, and no password of it is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.console.test_console import TAGS, judge
from tests.popbox.serve.mailing import until
from tests.popbox.serve.visitor import Browser, Page
from tests.popbox.standin import standin

from popbox.clients.wire import Logged
from popbox.hosts.base import Host
from popbox.journey.model import Kind
from popbox.serve.errors import ApiError
from popbox.serve.rules import Caller
from popbox.serve.writes import telnet as module
from popbox.serve.writes.telnet import SAMPLES, Talks

CONSOLE = Caller(whole=True, console=True)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        assert up.run("domain", "add", "domain.com").code == 0
        argv = ("mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", "DmIMm9e5Hc8ic")
        assert up.run(*argv).code == 0
        yield up


@pytest.fixture
def api(host: Host, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        yield api


@pytest.fixture
def browser(api: Api) -> Browser:
    browser = Browser(api.app)
    browser.enter(TOKEN)
    return browser


def begun(browser: Browser, on: str) -> str:
    """The path of a conversation that was begun."""
    answer = browser.send(browser.form("/telnet", "/telnet", on=on))
    assert answer.status_code == 303, answer.text
    path, _, anchor = answer.headers["location"].partition("#")
    assert anchor == "line"
    return path


def typed(browser: Browser, path: str, *lines: str | None) -> str:
    """Type lines, None for what is filled in; the page then."""
    for line in lines:
        form = browser.form(path, path)
        answer = browser.send(form) if line is None else browser.send(form, line=line)
        assert answer.status_code == 303, answer.text
    return browser.get(path).text


def said(text: str) -> str:
    found = re.search(r"<pre[^>]*data-talk[^>]*>(.*?)</pre>", text, re.DOTALL)
    assert found, text
    return found[1]


def test_the_samples_are_typed_and_the_mail_is_sent_and_fetched(api: Api, browser: Browser) -> None:
    path = begun(browser, "smtp")
    text = typed(browser, path, *[None] * len(SAMPLES["smtp"]))
    assert "S: 250 ok" in said(text)
    assert "data-ended" in text
    assert "/telnet/" not in "".join(one.action for one in Page(text).forms)
    until(lambda: api.host.search(("typed in a browser",)))
    path = begun(browser, "pop3")
    text = typed(browser, path, None, None, None, None)
    assert "C: PASS ********" in said(text)
    assert "Hello Joe, this was typed in a browser." in said(text)
    assert 'value="QUIT"' in text, "the sample's next line is filled in"
    assert "data-ended" in typed(browser, path, None)
    assert judge(path, 200, browser.get(path).content, dict(browser.get(path).headers)) == []


def test_a_password_that_is_typed_is_kept_nowhere(api: Api, browser: Browser, tmp_path: Path) -> None:
    path = begun(browser, "pop3")
    text = typed(browser, path, "USER testid", "PASS hunter2-secret")
    assert "-ERR" in said(text)
    text += typed(
        browser, path, "pass  hunter2-secret", "PASS\thunter2-secret", "AUTH PLAIN aHVudGVyMi1zZWNyZXQ=", "QUIT"
    )
    assert "hunter2" not in text
    assert "aHVudGVyMi1zZWNyZXQ" not in text
    assert [one for one in api.store.events_since(0) if "hunter2" in str(one)] == []
    notes = [one.fields for one in api.store.events_since(0) if one.kind is Kind.NOTE]
    assert [(one["what"], one["on"], one["who"]) for one in notes] == [("telnet", "pop3", "console")]
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert files
    assert [one for one in files if b"hunter2" in one.read_bytes()] == []


def test_no_other_address_can_be_asked_for(browser: Browser) -> None:
    form = browser.form("/telnet", "/telnet", on="smtp")
    answers: list[httpx.Response] = []
    for on in ("192.0.2.1:80", "http", "", "pop3 ", "localhost"):
        answers.append(browser.send(browser.form("/telnet", "/telnet", on="smtp"), on=on))
    assert [one.status_code for one in answers] == [422] * 5
    assert browser.send(form, host="192.0.2.1", port="80").status_code == 303


def test_only_who_began_a_conversation_sees_it_and_says_something(api: Api, browser: Browser) -> None:
    path = begun(browser, "pop3")
    other, none = Browser(api.app), Browser(api.app)
    other.enter(TOKEN)
    assert [one.get(path).status_code for one in (browser, other, none)] == [200, 404, 404]
    assert none.ask("POST", path, "line=QUIT").status_code == 401
    page = none.get("/telnet").text
    assert ('data-locked="enter"' in page, Page(page).forms) == (True, [])
    browser.send(browser.form(path, f"{path}/end"))
    assert "you hung up" in browser.get(path).text


def test_what_is_no_line_is_not_sent(browser: Browser) -> None:
    path = begun(browser, "pop3")
    for line in ("USER a\r\nPASS b", "x\ny", "x" * 999):
        answer = browser.send(browser.form(path, path), line=line)
        assert (answer.status_code, "not one line" in answer.text) == (422, True)
    assert "C:" not in said(browser.get(path).text)


def test_what_a_server_or_a_visitor_says_is_no_markup(browser: Browser) -> None:
    path = begun(browser, "pop3")
    text = typed(browser, path, *(re.sub("[\r\n]", " ", one) for one in TAGS[::5]), "\x1b[31m\u202e")
    assert judge(path, 200, text.encode(), dict(browser.get(path).headers)) == []
    assert "\\x1b[31m\\u202e" in said(text)


def test_conversations_are_few_and_end_by_themselves(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TALKS", 2)
    now, owner = [0.0], object()
    talks = Talks(api.live, lambda: now[0])
    first, second = (talks.begin("pop3", owner, CONSOLE) for _ in range(2))
    with pytest.raises(ApiError, match="2 conversations are open"):
        talks.begin("smtp", owner, CONSOLE)
    now[0] = module.IDLE_S
    talks.say(second, "CAPA")
    now[0] += 1
    assert talks.of(first.id, owner) is first
    assert first.ended == "nothing was said for 120 s"
    with pytest.raises(ApiError, match="has ended"):
        talks.say(first, "CAPA")
    assert talks.of(second.id, object()) is None
    third = talks.begin("smtp", owner, CONSOLE)
    talks.end(third)
    assert not second.ended
    for _ in range(4):
        talks.end(talks.begin("pop3", owner, CONSOLE))
    assert talks.of(first.id, owner) is None, "the oldest are forgotten"


def test_a_conversation_that_says_too_much_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 10)
    talks, owner = Talks(api.live), object()
    talk = talks.begin("pop3", owner, CONSOLE)
    for _ in range(10):
        if not talk.ended:
            talks.say(talk, "NOOP")
    assert talk.ended.startswith("more than 10 lines")
    assert len(talk.lines) <= 12


def test_what_was_said_is_counted_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    talks, owner = Talks(api.live), object()
    talk = talks.begin("pop3", owner, CONSOLE)
    talks.say(talk, "NOOP")
    said = sum(len(one.text) for one in talk.wire.log)
    assert talk.counted == (len(talk.wire.log), said)
    monkeypatch.setattr(module, "MOST_OCTETS", said + 5)
    talk.wire.log[0] = Logged("S", "x" * 1_000, 0.0)  # counted before
    talks.say(talk, "A")
    assert (talk.ended, talk.counted[1] - said) == (
        f"more than {module.MOST_LINES} lines or {said + 5} octets were said",
        sum(len(one.text) for one in talk.wire.log[-2:]),
    )
