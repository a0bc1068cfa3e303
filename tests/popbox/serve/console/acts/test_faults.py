"""The Faults page on host local: broken and healed by forms, with who and until when, and what cannot be said why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.mailing import until
from tests.popbox.serve.visitor import Browser, Page
from tests.popbox.standin import standin

from popbox.errors import HostError
from popbox.hosts.base import SERVICES, Host
from popbox.hosts.readiness import greets


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        yield up


@pytest.fixture
def api(host: Host, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        yield api
    assert [greets(host, service) for service in SERVICES] == ["", ""], "the end heals"


@pytest.fixture
def browser(api: Api) -> Browser:
    browser = Browser(api.app)
    browser.enter(TOKEN)
    return browser


def listed(page: str) -> list[tuple[str, str]]:
    return re.findall(r'data-kind="(.*?)" data-on="(.*?)"', page)


def test_a_service_is_broken_and_healed_by_forms(api: Api, browser: Browser) -> None:
    page = browser.submit("/faults", "/faults", what="pause pop3", **{"for": ""}).text
    assert listed(page) == [("pause", "pop3")]
    assert "not by itself" in page
    assert '<td data-of="by">console</td>' in page
    assert greets(api.host, "pop3")
    [fault] = api.get("/v1/faults")[1]["faults"]
    assert (fault["by"], fault["heals_at"]) == ("console", None)
    page = browser.submit("/faults", f"/faults/{fault['id']}/heal").text
    assert (listed(page), f"{fault['id']} is undone" in page, greets(api.host, "pop3")) == ([], True, "")
    said = [(one.fields["what"], one.fields["who"]) for one in api.notes()]
    assert said == [("break", "console"), ("break", "console"), ("heal", "console")]


def test_what_heals_by_itself_says_when(api: Api, browser: Browser) -> None:
    page = browser.submit("/faults", "/faults", what="stop smtp", **{"for": "1500ms"}).text
    assert re.search(r'<td data-of="heals">at <time datetime="[^"]+Z">[0-9:.]+</time>, in [0-9.]+ m?s', page), page
    assert re.search(r"data-ill><li>smtp: ", page)
    assert until(lambda: not listed(browser.get("/faults").text))
    assert greets(api.host, "smtp") == ""


def test_a_second_fault_of_a_target_and_a_form_that_is_sent_twice(api: Api, browser: Browser) -> None:
    form = browser.form("/faults", "/faults")
    other = browser.form("/faults", "/faults")
    assert browser.send(form, what="pause smtp").status_code == 303
    assert browser.send(form, what="pause smtp").status_code == 409, "the same form"
    refused = browser.send(other, what="stop smtp")
    assert (refused.status_code, 'data-problem="409"' in refused.text) == (409, True)
    assert "smtp is broken already" in refused.text
    assert listed(refused.text) == [("pause", "smtp")]
    [fault] = api.get("/v1/faults")[1]["faults"]
    heal, late = (browser.form("/faults", f"/faults/{fault['id']}/heal") for _ in range(2))
    assert browser.send(heal).status_code == 303
    assert browser.send(late).status_code == 404


def test_what_this_host_cannot_do_is_said_beside(api: Api, browser: Browser) -> None:
    page = browser.get("/faults").text
    assert "host local cannot be cut off" in page
    options = re.findall(r"<option[^>]*>(\S+ \S+)</option>", page)
    assert options[:4] == ["stop smtp", "stop pop3", "kill smtp", "kill pop3"]
    assert not [one for one in options if one.startswith("partition")]
    refused = browser.send(browser.form("/faults", "/faults"), what="partition smtp")
    assert (refused.status_code, "host local cannot be cut off" in refused.text) == (409, True)


UNUSABLE = [
    {"what": one} for one in ("", "stop", "stop queue", "fill smtp", "stop smtp x", "<b> smtp", "STOP smtp", "\0")
]
UNUSABLE += [{"for": one} for one in ("-1s", "0", "2h", "x", "9" * 25, "1e9", "<b>", "1\r\n2", "nan")]


@pytest.mark.parametrize("fields", UNUSABLE)
def test_what_is_no_fault_is_told(api: Api, browser: Browser, fields: dict[str, str]) -> None:
    answer = browser.send(browser.form("/faults", "/faults"), **{"what": "pause smtp", **fields})
    assert (answer.status_code, api.notes(), "<b> " in answer.text) == (422, [], False)
    assert 'data-problem="422"' in answer.text


@pytest.mark.parametrize("path", ["/faults/f0000000000/heal", "/faults/x/heal", "/faults/../heal"])
def test_a_ticket_of_one_fault_heals_no_other(api: Api, browser: Browser, path: str) -> None:
    browser.submit("/faults", "/faults", what="pause smtp")
    [fault] = api.get("/v1/faults")[1]["faults"]
    form = browser.form("/faults", f"/faults/{fault['id']}/heal")
    form.action = path
    assert browser.send(form).status_code == 403
    assert api.get("/v1/faults")[1]["faults"] == [fault]


def test_what_could_not_be_done_is_told(api: Api, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_host: Host, _service: str, _on: bool) -> None:
        raise HostError("no engine")

    monkeypatch.setattr(type(api.host), "pause", fails)
    answer = browser.send(browser.form("/faults", "/faults"), what="pause smtp")
    assert (answer.status_code, "no engine" in answer.text) == (503, True)
    monkeypatch.setattr(type(api.host), "ailments", lambda _: fails(api.host, "", False))
    assert "the host does not say: no engine" in browser.get("/faults").text


def test_who_has_not_entered_sees_what_is_broken_and_breaks_nothing(api: Api, browser: Browser) -> None:
    browser.submit("/faults", "/faults", what="pause smtp")
    page = Browser(api.app).get("/faults").text
    assert (Page(page).forms, listed(page)) == ([], [("pause", "smtp")])
    assert "/enter?next=/faults" in Page(page).links
