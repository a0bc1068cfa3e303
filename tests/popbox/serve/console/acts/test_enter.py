"""Entering the console: the token becomes a cookie that is of no use elsewhere, and what does not become one."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from tests.popbox.serve.api import TOKEN
from tests.popbox.serve.visitor import Browser, Page

from popbox.serve import sessions as sessions_
from popbox.serve.app import application
from popbox.serve.guard import Guard
from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.rules import Rules

PUBLIC = "https://mail.example.net"


def app_of(live: Live, *public: str, writes: bool = True) -> Guard:
    keys = Keys(TOKEN) if writes else None
    return application(live, Rules.at("127.0.0.1", 8025, public=public, host="local", mta="stand-in", keys=keys))


@pytest.fixture
def app(live: Live) -> Guard:
    return app_of(live)


@pytest.fixture
def browser(app: Guard) -> Browser:
    return Browser(app)


def test_the_token_becomes_a_cookie_that_is_another_word(browser: Browser) -> None:
    answer = browser.enter(TOKEN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    [line] = browser.set_cookies
    assert re.fullmatch(r"popbox-8025=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", line)
    assert TOKEN not in f"{answer.headers}{answer.text}{line}"
    assert "data-entered" in browser.get("/enter").text
    assert TOKEN not in browser.get("/enter").text


@pytest.mark.parametrize(
    ("base", "public", "root", "cookie"),
    [
        ("http://localhost:8025", (), "", r"popbox-8025=[\w-]+; Path=/; HttpOnly; SameSite=Strict"),
        (PUBLIC, (PUBLIC,), "", r"__Host-popbox=[\w-]+; Path=/; HttpOnly; SameSite=Strict; Secure"),
        (PUBLIC, (f"{PUBLIC}/a/b",), "/a/b", r"__Secure-popbox=[\w-]+; Path=/a/b; HttpOnly; SameSite=Strict; Secure"),
        ("http://127.0.0.1:8025", (f"{PUBLIC}/a",), "/a", r"popbox-8025=[\w-]+; Path=/a; HttpOnly; SameSite=Strict"),
    ],
)
def test_the_cookie_goes_to_no_other_path_and_by_tls_where_there_is_tls(
    live: Live, base: str, public: tuple[str, ...], root: str, cookie: str
) -> None:
    browser = Browser(app_of(live, *public), base, root)
    assert browser.enter(TOKEN).headers["location"] == f"{root}/"
    assert re.fullmatch(cookie, browser.set_cookies[0])
    assert "data-entered" in browser.get(f"{root}/enter").text
    browser.submit(f"{root}/enter", "/leave")
    assert browser.cookies == {}
    assert browser.set_cookies[1].startswith(browser.set_cookies[0].partition("=")[0] + "=; ")
    assert browser.set_cookies[1].endswith("; Max-Age=0")


def test_a_link_lets_one_browser_in_once_and_opening_it_uses_nothing_up(app: Guard) -> None:
    assert app.sessions
    link = f"/enter?once={app.sessions.invite()}"
    first, second, late = Browser(app), Browser(app), Browser(app)
    late_form = late.form(link, "/enter")
    for _ in range(3):
        page = second.get(link)
        assert (page.status_code, page.headers["referrer-policy"]) == (200, "strict-origin")
    assert first.send(first.form(link, "/enter")).headers["location"] == "/"
    assert first.cookies
    refused = late.send(late_form)
    assert (refused.status_code, late.cookies) == (403, {})
    assert "neither the token nor a link that is still good" in refused.text
    assert refused.headers["referrer-policy"] == "strict-origin"


def test_a_link_that_was_not_used_in_time_is_worth_nothing() -> None:
    now = [0.0]
    made = sessions_.Sessions(Keys(TOKEN), lambda: now[0])
    word = made.invite()
    now[0] = sessions_.INVITE_S + 1
    with pytest.raises(sessions_.ApiError, match="neither"):
        made.enter(word)


@pytest.mark.parametrize("said", ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é" * 20, "\0", "x" * 3_000])
def test_what_is_no_token_is_told_so_on_a_page(browser: Browser, said: str) -> None:
    answer = browser.enter(said)
    assert (answer.status_code, browser.set_cookies) == (403, [])
    assert answer.headers["content-type"].startswith("text/html")
    assert "data-problem" in answer.text
    assert said not in answer.text or not said.strip("\0")


def test_guesses_are_slowed_for_all_and_a_link_is_not() -> None:
    now = [0.0]
    made = sessions_.Sessions(Keys(TOKEN), lambda: now[0])
    word = made.invite()

    def status(said: str) -> int:
        try:
            made.enter(said)
        except sessions_.ApiError as problem:
            return problem.status
        return 0

    assert [status("guess") for _ in range(sessions_.BURST + 2)] == [403] * sessions_.BURST + [429] * 2
    assert status(TOKEN) == 429, "else the answer would tell the right one from the others"
    assert status(word) == 0
    now[0] += sessions_.EVERY_S + 0.01
    assert [status(TOKEN), status(TOKEN), status("guess"), status("guess")] == [0, 0, 403, 429]


def test_a_session_value_that_was_there_before_is_never_taken_over(browser: Browser) -> None:
    """Session fixation: a cookie that someone else has set."""
    browser.cookies["popbox-8025"] = "planted"
    browser.enter(TOKEN)
    assert browser.cookies["popbox-8025"] != "planted"
    first = browser.cookies["popbox-8025"]
    browser.send(browser.form(f"/enter?once={browser.app.sessions.invite()}", "/enter"))  # type: ignore[union-attr]
    assert browser.cookies["popbox-8025"] != first
    stale = Browser(browser.app)
    stale.cookies["popbox-8025"] = first
    assert "data-entered" not in stale.get("/enter").text, "the session before has ended"


def test_cookies_that_another_site_of_the_host_has_set_do_no_harm(browser: Browser) -> None:
    browser.enter(TOKEN)
    ours = browser.cookies["popbox-8025"]
    tossed = "popbox-8025=x; " * 1_000
    for cookie in (f"{tossed}popbox-8025={ours}", f"popbox-8025={ours}; popbox-8025=", f"a;b=;   popbox-8025={ours}"):
        assert "data-entered" in browser.get("/enter", cookie=cookie).text
    others = ("popbox-8026=", "Popbox-8025=", "__Host-popbox=", "x=popbox-8025=", "popbox-8025=x", "popbox-8025 =")
    for cookie in (*(f"{one}{ours}" for one in others), f'popbox-8025="{ours}"', "=", ";;", "popbox-8025"):
        assert "data-entered" not in browser.get("/enter", cookie=cookie).text, cookie


def test_by_tls_no_cookie_counts_that_a_page_without_tls_can_set(live: Live) -> None:
    browser = Browser(app_of(live, PUBLIC), PUBLIC)
    browser.enter(TOKEN)
    [value] = browser.cookies.values()
    for name in ("popbox-80", "popbox-443", "popbox-8025", "popbox"):
        assert "data-entered" not in browser.get("/enter", cookie=f"{name}={value}").text


@pytest.mark.parametrize(
    "where",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/%2f/evil.example", "//", "/.",
     "/../..", "javascript:alert(1)", "/a\r\nset-cookie: x=1", "/a?x=//evil.example", " /", "", "/a/b", "/\tevil",
     "/A"],
)  # fmt: skip
def test_entering_leads_to_a_page_of_ours_or_to_the_first(browser: Browser, where: str) -> None:
    form = browser.form(f"/enter?next={quote(where)}", "/enter")
    assert form.fields["next"] == "/"
    answer = browser.send(form, token=TOKEN, next=where)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert len(answer.headers.get_list("set-cookie")) == 1


@pytest.mark.parametrize("where", ["/queue", "/journeys/17", "/"])
def test_entering_leads_back_to_where_one_was(browser: Browser, where: str) -> None:
    assert browser.send(browser.form(f"/enter?next={where}", "/enter"), token=TOKEN).headers["location"] == where
    answer = browser.get(f"/enter?next={where}")
    assert answer.headers.get("location") == (where if where != "/" else None), "who has entered is not asked again"


def test_leaving_ends_the_session_also_for_who_has_kept_the_cookie(browser: Browser) -> None:
    browser.enter(TOKEN)
    kept = dict(browser.cookies)
    form = browser.form("/enter", "/leave")
    assert browser.send(form).headers["location"] == "/enter"
    browser.cookies = kept
    assert "data-entered" not in browser.get("/enter").text
    assert browser.send(form).status_code == 401


def test_a_session_ends_by_itself_and_the_oldest_of_too_many_does() -> None:
    now = [0.0]
    made = sessions_.Sessions(Keys(TOKEN), lambda: now[0])
    values = [made.enter(TOKEN) for _ in range(sessions_.MOST_SESSIONS + 1)]
    assert made.of([values[0]]) is None
    assert made.of(["x", values[1]]) is not None
    now[0] = sessions_.SESSION_S + 1
    assert made.of(values) is None


def test_without_allow_writes_there_is_no_form_and_entering_says_so(live: Live) -> None:
    browser = Browser(app_of(live, writes=False))
    page = browser.get("/enter")
    assert (page.status_code, Page(page.text).forms) == (200, [])
    assert 'data-locked="read-only"' in page.text
    answer = browser.ask("POST", "/enter", f"token={TOKEN}")
    assert (answer.status_code, browser.set_cookies) == (405, [])
    assert "<h1>nothing can be changed here" in answer.text


def test_pages_are_read_without_entering(browser: Browser) -> None:
    for path in ("/", "/find", "/find?q=x"):
        assert browser.get(path).status_code == 200
        assert browser.get(path, cookie="popbox-8025=x").status_code == 200


def test_in_a_container_one_enters_at_whatever_port_it_is_published(live: Live) -> None:
    rules = Rules.at("::", 8025, names=frozenset({"box"}), host="local", mta="stand-in", keys=Keys(TOKEN))
    for base in ("http://localhost:18025", "http://box:8025", "http://192.0.2.7", "http://[2001:db8::1]:9"):
        browser = Browser(application(live, rules), base)
        assert browser.enter(TOKEN).status_code == 303
        assert "data-entered" in browser.get("/enter").text
