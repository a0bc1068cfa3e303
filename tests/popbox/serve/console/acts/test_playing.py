"""The HOWTO as a checklist: a scenario is run by a form, its steps are watched, and its mail leads to journeys."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox import ROOT
from tests.popbox.serve.api import RULES, TOKEN, Api
from tests.popbox.serve.console.test_console import judge
from tests.popbox.serve.mailing import until
from tests.popbox.serve.visitor import Browser, Page
from tests.popbox.standin import standin

from popbox.hosts.base import Host
from popbox.serve.app import application


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        yield up


@pytest.fixture
def api(host: Host, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        api.app = application(api.live, RULES, ROOT / "scenarios")
        yield api


@pytest.fixture
def browser(api: Api) -> Browser:
    browser = Browser(api.app)
    browser.enter(TOKEN)
    return browser


def fine(browser: Browser, path: str) -> str:
    """The text of a page that has nothing wrong."""
    answer = browser.get(path)
    assert judge(path, answer.status_code, answer.content, dict(answer.headers)) == []
    return answer.text


def statements(text: str) -> dict[str, str]:
    return dict(re.findall(r'data-statement="([^"]+)" data-verdict="([^"]+)"', text))


def test_the_howtos_own_session_is_run_and_its_mail_has_a_journey(api: Api, browser: Browser) -> None:
    before = fine(browser, "/scenarios")
    assert statements(before) == {f"H-{number}": "not run here yet" for number in range(1, 37)}
    answer = browser.send(browser.form("/scenarios", "/scenarios", name="howto-telnet"))
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]

    def ended() -> str:
        text = fine(browser, path)
        return "" if 'data-verdict="running"' in text else text

    text = until(ended)
    assert 'data-verdict="passed"' in text
    assert "data-every" not in text
    assert re.findall(r'data-step="(\d+)" data-state="(\w+)"', text) == [(str(n), "passed") for n in range(4)]
    assert "C: PASS ********" in html.unescape(text)
    [link] = re.findall(r'href="(/find\?q=[^"]+)"', text)
    found = until(lambda: (answer := browser.get(link)).status_code == 303 and answer)  # once the log has been read
    assert "the first message" in browser.get(found.headers["location"]).text
    after = statements(fine(browser, "/scenarios"))
    assert {one for one, verdict in after.items() if verdict == "passed"} == {
        "H-1", "H-2", "H-7", "H-12", "H-26", "H-27", "H-35",
    }  # fmt: skip
    assert f'<a href="{path}">passed</a>' in fine(browser, "/scenarios")


def test_a_run_is_watched_and_stopped(api: Api, browser: Browser) -> None:
    step = 'within-s = 600\ndeclare = { argv = ["explain", "%s!@own.example"], says = "(a+)+$" }' % ("a" * 40)
    going = api.post("/v1/scenarios?within=0s", {"toml": f'title = "<b>endless"\n[[step]]\n{step}\n'})[1]
    path = f"/scenarios/{going['id']}"
    text = until(lambda: (found := fine(browser, path)) and "(a+)+$" in found and found)
    assert 'data-verdict="running"' in text
    assert "data-every" in text
    assert "&lt;b&gt;endless" in text
    page = fine(browser, "/scenarios")
    assert f'data-running="{going["id"]}"' in page
    refused = browser.send(browser.form("/scenarios", "/scenarios", name="howto-telnet"))
    assert (refused.status_code, "a scenario runs already" in refused.text) == (409, True)
    assert browser.send(browser.form(path, f"{path}/stop")).headers["location"] == path
    text = until(lambda: (found := fine(browser, path)) and "running" not in found and found)
    assert 'data-verdict="failed"' in text
    assert "cut off: stopped by console" in text


def test_who_has_not_entered_sees_the_list_and_runs_nothing(api: Api, browser: Browser) -> None:
    none = Browser(api.app)
    text = fine(none, "/scenarios")
    assert Page(text).forms == []
    assert 'data-locked="enter"' in text
    assert 'id="mta-killed"' in text
    assert "needs.own-host" in text
    assert none.ask("POST", "/scenarios", "name=howto-telnet").status_code == 401
    assert none.get("/scenarios/c0123456789").status_code == 404
    for name in ("../../etc/passwd", "", "no such"):
        answer = browser.send(browser.form("/scenarios", "/scenarios", name="howto-telnet"), name=name)
        assert answer.status_code == 404
