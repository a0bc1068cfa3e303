"""Every screen as people open it: on a desk and on a phone, in the dark, without script, printed, by axe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.serve.browser.town import Town
from tests.popbox.serve.browser.watched import Watched, launched
from tests.popbox.serve.console.acts.test_move import box
from tests.popbox.serve.mailing import until

pytestmark = [pytest.mark.needs("Playwright", "chromium"), pytest.mark.slow]
Browse = Callable[..., Watched]
SHARES = 6  # so that a test is short on a slow machine too: a page takes it some 6 s
SHOWN = {
    "now", "queue", "accounts", "explain-address", "box-maildir", "journeys-N", "find-q",
    "move", "move-show-different", "move-box-login", "file-path-of",
}  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.mark.parametrize("share", range(SHARES))
def test_every_screen_on_a_desk_and_on_a_phone_in_the_dark_and_by_axe(
    browse: Browse, town: Town, pictures: Path, share: int
) -> None:
    """All of axe's rules at both widths, contrast in both schemes; a browser's time is most of this file's."""
    tab = browse()
    wrong = []
    for name, path in list(town.paths.items())[share::SHARES]:
        page = tab.go(path)
        wrong += tab.axe() + tab.sideways()
        page.screenshot(path=pictures / f"{name}-light.png", full_page=True)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=pictures / f"{name}-dark.png", full_page=True)
        page.set_viewport_size({"width": 320, "height": 900})
        wrong += tab.axe() + tab.sideways() + tab.tables()
        page.screenshot(path=pictures / f"{name}-320.png", full_page=True)
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="light")
        wrong += tab.told()
    assert wrong == []
    assert town.paths.keys() >= SHOWN


def test_every_screen_without_script_is_the_same_page_and_its_forms_are_links(browse: Browse, town: Town) -> None:
    tab = browse(script=False)
    for path in town.paths.values():
        page = tab.go(path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("main").inner_text().strip(), path
    page = tab.go("/")
    page.locator("#q").fill("paul@example.org")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/journeys/*")
    assert page.locator("h1").inner_text() == "the first message"
    assert tab.told() == []


def test_zoomed_to_200_percent_and_in_large_type_nothing_is_cut_off(browse: Browse, town: Town) -> None:
    """Zoom makes the window narrow; type alone that is twice as large is the other way (WCAG 1.4.4, 1.4.10)."""
    tab = browse(640, 450)
    wrong = []
    for path in town.paths.values():
        page = tab.go(path)
        wrong += tab.sideways()
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wrong += tab.sideways()
    assert wrong == []


def test_paper_has_the_page_without_what_only_a_screen_can_use(browse: Browse, town: Town, pictures: Path) -> None:
    tab = browse()
    for name in ("now", "journeys-N"):
        page = tab.go(town.paths[name])
        page.emulate_media(media="print", color_scheme="dark")
        assert not page.locator("nav").is_visible()
        assert not page.locator("#q").is_visible()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"), "ink is not wasted on a dark ground"
        page.set_viewport_size({"width": 700, "height": 1000})  # A4 with margins
        assert tab.sideways() == []
        page.screenshot(path=pictures / f"{name}-print.png", full_page=True)
    assert tab.told() == []


def test_nothing_moves_for_those_who_want_no_motion(browse: Browse, town: Town) -> None:
    moving = """() => [...document.querySelectorAll("*")].map((one) => getComputedStyle(one)).filter((one) =>
      one.animationName !== "none" || parseFloat(one.transitionDuration) || one.scrollBehavior === "smooth").length"""
    add = "document.querySelector('[data-rows] tbody tr').classList.add('new')"
    for reduced, expected in (("reduce", False), ("no-preference", True)):
        page = browse(reduced_motion=reduced).go("/")
        page.evaluate(add)
        assert bool(page.evaluate(moving)) == expected


def test_the_walk_sees_what_is_wrong(browse: Browse) -> None:
    """Each of its eyes, on a page that is broken by hand."""
    tab = browse()
    page = tab.go("/")
    assert tab.axe() + tab.sideways() + tab.told() == []
    page.evaluate("document.querySelector('h1').style.cssText = 'color: #ccc; width: 2000px'")
    assert ["color-contrast" in one for one in tab.axe()] == [True]
    assert "2000px" in tab.sideways()[0]
    for breaks, word in (
        (
            "document.body.insertAdjacentHTML('beforeend', '<img src=https://elsewhere.example/x.png>')",
            "Content Security",
        ),
        ("document.body.insertAdjacentHTML('beforeend', '<b onclick=alert(1)>')", "Content Security"),
        ("setTimeout(() => alert(1))", "dialog"),
        ("setTimeout(() => { throw new Error('one') })", "fault"),
        ("location = 'http://127.0.0.2:9/'", "foreign"),
    ):
        page.evaluate(breaks)
        until(lambda: page.wait_for_timeout(20) or any(word in one for one in tab.wrong))  # noqa: B023
        tab.told()


FOCUSABLE = """() => [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, iframe, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && one.type !== "hidden")
  .map((one, at) => { one.dataset.at = at; return `${at} ${one.outerHTML.slice(0, 100)}`; })"""
FOCUSED = """() => { const one = document.activeElement, style = getComputedStyle(one);
  return [one.dataset.at ?? "", style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2]; }"""


def test_tab_reaches_all_that_can_be_used_and_shows_where_it_is(browse: Browse, town: Town) -> None:
    tab = browse()
    for path in (path for name, path in town.paths.items() if "-view-" not in name):
        page = tab.go(path)
        there, reached = page.evaluate(FOCUSABLE), set()
        for _ in there:
            page.keyboard.press("Tab")
            at, unseen = page.evaluate(FOCUSED)
            assert not unseen or there[int(at)].partition(" ")[2].startswith("<iframe"), (path, there[int(at or 0)])
            reached.add(at)
        missed = [one for one in there if one.partition(" ")[0] not in reached]
        assert missed == [], path


def test_the_keys_search_go_along_rows_open_and_are_listed(browse: Browse, town: Town) -> None:
    tab = browse()
    page = tab.go("/")
    row = "() => document.activeElement.closest('tr')?.dataset.journey ?? document.activeElement.id"
    rows = page.evaluate("() => [...document.querySelectorAll('[data-journey]')].map((one) => one.dataset.journey)")
    for key, focused in (
        ("/", "q"), ("j", "q"), ("Escape", ""), ("j", rows[0]), ("j", rows[1]), ("j", rows[2]), ("k", rows[1]),
        ("?", "keys"), ("k", rows[0]),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(row) == focused, key
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/journeys/{rows[0]}")
    assert tab.told() == []


def test_a_move_goes_on_by_keyboard_without_script(browse: Browse, town: Town) -> None:
    page = browse(script=False).go("/move")
    before = page.locator("[data-ticked]").inner_text()
    assert before == "0"
    page.get_by_role("button", name="Tick").first.press("Enter")
    page.wait_for_url("**/move#sheet")
    assert page.locator("[data-ticked]").inner_text() == "1"
    assert town.move.sheet.read_text().count("- [x]") == 1
    page.get_by_role("button", name="Take the tick away").press("Enter")
    until(lambda: "- [x]" not in town.move.sheet.read_text())
    page.goto("/explain?address=sales%40domain.com")
    assert page.locator("[data-verdict]").get_attribute("data-verdict") == "changed"
    page.locator("[data-both] a").first.press("Enter")
    page.wait_for_url("**/file?**of=old**")
    assert "old host" in page.locator("main").inner_text()


def test_a_box_is_there_once_it_is_judged_and_what_has_the_focus_keeps_it(browse: Browse, town: Town) -> None:
    tab = browse()
    page = tab.go("/move")
    equal = page.locator("[data-count=equal] b")
    before = int(equal.inner_text())
    page.locator("[data-boxes] a", has_text="ann").focus()
    town.move.state.note(box("newly-judged"))
    page.locator("[data-boxes] [data-login=newly-judged]").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "ann"
    assert int(equal.inner_text()) == before + 1
    assert tab.axe() + tab.told() == []
