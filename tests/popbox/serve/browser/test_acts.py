"""A real browser enters, sends and breaks; and what pages of other sites can do in that browser: nothing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.serve.browser.watched import Watched, context, launched
from tests.popbox.serve.mailing import until
from tests.popbox.serve.served import ask, serving
from tests.popbox.standin import standin

pytestmark = [pytest.mark.needs("Playwright", "chromium"), pytest.mark.slow]
TOKEN = "0123456789abcdefghij"
BOX = "joe@domain.com"


@dataclass(frozen=True, slots=True)
class Place:
    """``popbox serve`` beside a host, and the link that it printed."""

    port: int
    link: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    state = tmp_path_factory.mktemp("acts")
    with standin(state / "popbox") as host:
        assert host.run("domain", "add", "domain.com").code == 0
        assert host.run("mailbox", "add", BOX, "--login", "joe", "--crypt", "DmIMm9e5Hc8ic").code == 0
        host.keep()
        said = {"said": "writes with the token of POPBOX_TOKEN", "POPBOX_TOKEN": TOKEN}
        with serving(state, "--allow-writes", **said) as (port, program):
            assert program.stdout
            yield Place(port, program.stdout.readline().split()[1])


@pytest.fixture(scope="module")
def inside(chromium: Any, place: Place) -> Iterator[Any]:
    """A browser without script that has entered by the link."""
    entered = context(chromium, java_script_enabled=False, base_url=place.url)
    page = entered.new_page()
    referred: list[str] = []
    page.on("request", lambda one: referred.append(f"{one.url} from {one.all_headers().get('referer', '')}"))
    page.goto(place.link)
    page.get_by_role("button", name="Enter").click()
    page.wait_for_url(f"{place.url}/")
    word = place.link.rpartition("=")[2]
    assert [one for one in referred if word in one] == [f"{place.link} from "], "the word goes into no Referer"
    page.close()
    yield entered
    entered.close()


def test_the_cookie_is_kept_from_scripts_and_other_sites(inside: Any, place: Place) -> None:
    [cookie] = inside.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (f"popbox-{place.port}", True, "Strict")
    assert (cookie["expires"], TOKEN in cookie["value"]) == (-1, False)


def test_a_message_is_sent_without_script_and_a_reload_sends_no_second(inside: Any, place: Place) -> None:
    page = inside.new_page()
    page.goto(f"/send?to={BOX}")
    form = page.locator('form[data-act="/send"]').first
    form.locator('[name="subject"]').fill("from a browser")
    form.get_by_role("button", name="Send").dblclick()
    page.locator("[data-sent], [data-answer]").first.wait_for()
    if page.locator("a[data-answer]").count():  # the second click came before the first one's answer was shown
        page.locator("a[data-answer]").click()
    assert page.locator("[data-sent]").get_attribute("data-accepted") == "true"
    page.reload()
    page.locator("[data-journey-link]").click()
    page.wait_for_url("**/journeys/*")
    assert page.locator("h1").inner_text() == "from a browser"
    found = ask(place.port, "/v1/journeys?subject=from%20a%20browser")[1]["journeys"]
    assert len(found) == 1
    page.close()


def test_the_pages_with_forms_by_axe_and_on_a_phone(chromium: Any, place: Place, inside: Any, pictures: Path) -> None:
    entered = context(chromium, base_url=place.url, storage_state=inside.storage_state())
    tab = Watched(entered.new_page(), place.url)
    wrong = []
    for path in ("/enter", f"/enter?once={'x' * 32}", f"/send?to={BOX}", "/faults"):
        page = tab.go(path)
        name = path.strip("/").partition("?")[0]
        for width in (1280, 320):
            page.set_viewport_size({"width": width, "height": 900})
            wrong += tab.sideways()
            page.screenshot(path=pictures / f"{name}-{width}.png", full_page=True)
        wrong += tab.axe() + tab.told()
    assert wrong == []
    entered.close()


ATTACK = """<!doctype html><title>other</title><a id=link href="{url}/faults">look</a>
<form id=form method=post action="{url}/faults"><input name=what value="pause smtp"><input name=ticket value=x></form>
<form id=plain method=post enctype=text/plain action="{url}/v1/faults">
<input name='{{"fault":"pause","on":"smtp","x":"' value='"}}'></form>
<form id=login method=post action="{url}/enter"><input name=token value="{token}"></form>
<iframe src="{url}/faults"></iframe><img src="{url}/v1/accounts">"""


@contextmanager
def other_site(url: str) -> Iterator[tuple[int, list[str]]]:
    """A server at another port that is not popbox, and the Cookie headers that it gets."""
    cookies: list[str] = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cookies.append(self.headers.get("cookie", ""))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.format(url=url, token=TOKEN).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], cookies
        server.shutdown()
        thread.join()


def test_no_form_of_another_site_does_anything_though_the_cookie_goes_with_it(inside: Any, place: Place) -> None:
    """Another port of the host is the same site to a browser: SameSite alone would let it through."""
    with other_site(place.url) as (port, cookies):
        page = inside.new_page()
        for form in ("form", "plain", "login"):
            page.goto(f"http://127.0.0.1:{port}/")
            with page.expect_navigation() as gone:
                page.evaluate(f"document.getElementById('{form}').submit()")
            assert gone.value.status == 403, form
        assert page.context.cookies()[0]["value"] in cookies[-1], "what README says remains: other ports see the cookie"
        assert TOKEN not in "".join(cookies)
        page.goto(f"http://127.0.0.1:{port}/")
        assert page.locator("iframe").content_frame.locator("h1").count() == 0, "it is in no frame"
        page.close()
    assert ask(place.port, "/v1/faults")[1]["faults"] == []


def test_a_link_on_another_site_shows_the_page_and_its_forms_come_with_a_click(inside: Any, place: Place) -> None:
    page = inside.new_page()
    elsewhere, link = "http://elsewhere.example/", f'<a href="{place.url}/faults">look</a>'
    page.route(elsewhere, lambda route: route.fulfill(body=link, content_type="text/html"))
    page.goto(elsewhere)
    page.get_by_text("look").click()
    page.locator("h1", has_text="Faults").wait_for()
    assert page.locator("form[data-act]").count() == 0
    page.get_by_text("enter with the token").click()
    page.wait_for_url(f"{place.url}/faults")
    assert page.locator("form[data-act]").count() == 1
    page.close()


def test_a_fault_is_made_and_healed_by_keyboard(inside: Any, place: Place) -> None:
    page = inside.new_page()
    page.goto("/faults")
    page.locator('[name="what"]').select_option("pause pop3")
    page.locator('[name="for"]').fill("")
    page.keyboard.press("Enter")
    page.locator("[data-fault]").wait_for()
    page.get_by_role("button", name="Heal pause pop3").press("Enter")
    page.locator("[data-empty]").wait_for()
    assert until(lambda: ask(place.port, "/readyz")[0] == 200)
    page.close()
