"""The Send page on host local: what is written, pasted and hard arrives, what cannot be sent is told, and once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.console.test_console import TAGS, judge
from tests.popbox.serve.mailing import until
from tests.popbox.serve.visitor import Browser, Page
from tests.popbox.standin import standin

from popbox.hosts.base import Ability
from popbox.message.hard import BODIES
from popbox.message.letters import HARD, LETTERS
from popbox.message.parse import parse

BOX = "joe@domain.com"
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with standin(tmp_path_factory.mktemp("state")) as up, Api(up, tmp_path_factory.mktemp("s")) as api:
        assert up.run("domain", "add", "domain.com").code == 0
        assert up.run("mailbox", "add", BOX, "--login", "joe", "--crypt", "DmIMm9e5Hc8ic").code == 0
        yield api


@pytest.fixture
def browser(api: Api) -> Browser:
    browser = Browser(api.app)
    browser.enter(TOKEN)
    return browser


def arrived(api: Api, journey: int) -> bytes:
    """The file of a journey's message, once it has ended."""
    whole: Any = until(lambda: (found := api.store.journey(journey)) and found.ended and found)
    [recipient] = whole.message.recipients
    [file] = recipient.files
    return api.host.read(file.path)


def journey_of(page: str) -> int:
    found = re.search(r'href="/journeys/(\d+)" data-journey-link', page)
    assert found, page
    return int(found[1])


def test_a_message_that_is_written_arrives_with_its_file(api: Api, browser: Browser) -> None:
    form = browser.form(f"/send?to={BOX}", "/send", kind="fields")
    assert form.fields["to"] == BOX
    said = {"subject": "Grüße ✓", "text": "line\r\n.dot\r\n", "html": "<p>x", "name": "ä.txt", "content": "in\r\nit"}
    page = browser.follow(browser.send(form, **said))
    assert 'data-accepted="true"' in page.text
    assert "C: ." in page.text
    mail = parse(arrived(api, journey_of(page.text)))
    assert (mail.subject, mail.text.splitlines()[:2], mail.html.strip()) == ("Grüße ✓", ["line", ".dot"], "<p>x")
    assert [(one.name, one.content) for one in mail.attachments] == [("ä.txt", b"in\nit")]
    assert api.notes()[-1].fields["who"] == "console"


def test_a_message_is_sent_as_it_is_pasted(api: Api, browser: Browser) -> None:
    form = browser.form("/send", "/send", kind="raw")
    page = browser.follow(browser.send(form, to=BOX, raw="Subject: as it is\r\n\r\n.one\r\n..two"))
    assert arrived(api, journey_of(page.text)).endswith(b"Subject: as it is\n\n.one\n..two\n")


REFUSED = {"hops": "554", "bare-lf": "451", "lf-dot-lf": "451", "lf-dot-crlf": "451"}


def test_hard_messages_arrive_octet_for_octet_or_are_refused(api: Api, browser: Browser) -> None:
    assert len(HARD) == len(LETTERS) + len(BODIES), "two have one name"
    names = [*(mail.name for mail in LETTERS), "nul", "lone-cr", "long-line", "empty", "dot-lines"]
    sent = {}
    for name in names:
        page = browser.follow(browser.send(browser.form("/send", "/send", kind="hard"), to=BOX, hard=name)).text
        reply = re.search(r"data-reply>(\d+)", page)
        assert (name, reply and reply[1]) == (name, REFUSED.get(name, "250"))
        assert not UNSEEN.search(page), name
        assert len(page.encode()) <= 60 * 1024, name
        sent[name] = journey_of(page)
    for name in [one for one in names if one not in REFUSED]:
        octets = HARD[name].octets.replace(b"\r\n", b"\n")
        ended = octets if octets.endswith(b"\n") or not octets else octets + b"\n"
        assert arrived(api, sent[name]).endswith(ended), name
        for view in ("text", "parts", "source"):
            shown = browser.get(f"/journeys/{sent[name]}?view={view}")
            assert (name, shown.status_code, bool(UNSEEN.search(shown.text))) == (name, 200, False)


def sends(api: Api) -> int:
    return sum(one.fields["what"] == "send" for one in api.notes())


def test_recipients_that_are_refused_are_told_and_the_others_get_it(api: Api, browser: Browser) -> None:
    form = browser.form("/send", "/send", kind="fields")
    page = browser.follow(browser.send(form, to=f"{BOX},  x@elsewhere.example\r\n")).text
    assert "data-refused" in page
    assert "x@elsewhere.example" in page
    assert arrived(api, journey_of(page))
    page = browser.follow(browser.send(browser.form("/send", "/send", kind="fields"), to="x@elsewhere.example")).text
    assert 'data-accepted="false"' in page


HOSTILE = ("a\r\nRCPT TO:<x@y>", "a b", "<script>", "a>b", "\0", "x" * 901, "a\x1b[31m@b")


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["from", "to"])
def test_no_command_is_smuggled_into_the_envelope(api: Api, browser: Browser, name: str, value: str) -> None:
    before = sends(api)
    form = browser.form("/send", "/send", kind="fields")
    answer = browser.send(form, **{"to": BOX, "text": "kept text", name: value})
    if name == "to" and value == "a b":
        return  # two recipients
    assert (answer.status_code, sends(api)) == (422, before)
    assert 'data-problem="422"' in answer.text
    assert "kept text" in answer.text, "what was written is not lost"
    assert "<script>" not in answer.text
    assert not UNSEEN.search(answer.text)


@pytest.mark.parametrize(
    "fields",
    [{"kind": "nonesuch"}, {"kind": "hard"}, {"kind": "hard", "hard": "nonesuch"}, {"to": ""}, {"to": ","},
     {"subject": "a\r\nX: y"}, {"kind": ""}, {"to": " ".join(f"a{n}@b" for n in range(101))}, {"name": "a\r\nb"},
     {"subject": "\0"}],
)  # fmt: skip
def test_what_cannot_be_sent_is_told(api: Api, browser: Browser, fields: dict[str, str]) -> None:
    before = sends(api)
    answer = browser.send(browser.form("/send", "/send", kind="fields"), **{"to": BOX, **fields})
    assert (answer.status_code, sends(api)) == (422, before)


def test_it_is_sent_once_however_often_the_form_is(api: Api, browser: Browser) -> None:
    form = browser.form("/send", "/send", kind="raw")
    form.fields |= {"to": BOX, "raw": "Subject: once\r\n\r\nx\r\n"}
    first = browser.send(form)
    before = sends(api)
    again = browser.send(form)
    assert (again.status_code, sends(api)) == (409, before)
    [answer] = [one for one in Page(again.text).links if one.startswith("/send?answer=")]
    assert answer == first.headers["location"]
    assert "data-sent" in browser.get(answer).text


def test_the_answer_is_shown_to_its_own_session_only(api: Api, browser: Browser) -> None:
    form = browser.form("/send", "/send", kind="raw")
    where = browser.send(form, to=BOX, raw="Subject: mine\r\n\r\nx\r\n").headers["location"]
    other = Browser(api.app)
    assert "data-sent" not in other.get(where).text
    other.enter(TOKEN)
    assert "data-sent" not in other.get(where).text
    assert "data-sent" in browser.get(where).text


def test_who_has_not_entered_is_led_to_it_and_a_host_that_cannot_says_why(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Browser(api.app)
    page = Page(stranger.get("/send").text)
    assert (page.forms, "/enter?next=/send" in page.links) == ([], True)
    browser = Browser(api.app)
    browser.enter(TOKEN)
    form = browser.form("/send", "/send", kind="raw")
    monkeypatch.setattr(type(api.host), "cannot", lambda _, ability: "no way" if ability is Ability.SEND else "")
    shown = browser.get("/send").text
    assert (Page(shown).forms, "no way" in shown) == ([], True)
    answer = browser.send(form, to=BOX, raw="x")
    assert (answer.status_code, "no way" in answer.text) == (409, True)


def test_no_text_of_a_stranger_is_markup_in_a_form(api: Api, browser: Browser) -> None:
    form, breaks = browser.form("/send", "/send", kind="fields"), browser.form("/faults", "/faults")
    enters, wrong = browser.form(f"/enter?once={'x' * 32}", "/enter"), []
    for text in TAGS:
        asked = ("send?to", "send?answer", "enter?next", "enter?once", "enter?next=%2F&once")
        answers = {path: browser.get(path) for path in (f"/{one}={quote(text)}" for one in asked)}
        fields = dict.fromkeys(("from", "subject", "text", "html", "name", "content", "raw", "hard"), text)
        answers[f"fields={text}"] = browser.send(form, **fields, to=f"a>b {text}")
        answers[f"what={text}"] = browser.send(breaks, what=text, **{"for": text})
        answers[f"token={text}"] = browser.send(enters, once=text)
        assert form.fields["ticket"] not in answers[f"fields={text}"].text
        for path, answer in answers.items():
            found = judge(path, answer.status_code, answer.content, dict(answer.headers))
            wrong += [one for one in found if not one.endswith((": 422", ": 403", ": 429"))]
    assert wrong == []
