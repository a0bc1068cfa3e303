"""The page of accounts in pages: all rows once, in the order of domains, and each small whatever things are called."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.popbox.fakehost import HOME, FakeHost
from tests.popbox.serve.console.pages import PAGES
from tests.popbox.serve.hostile import INPUTS

from popbox.errors import NotPossibleError
from popbox.hosts.base import Host, Ran
from popbox.serve.console.accounts import PAGE, SECTIONS, Asked, Show, shown

PAGE_OCTETS = 60 * 1024
OF_NONE = {
    "text": "users/assign is older than its parts",
    "rule": "assign-old",
    "level": "error",
    "file": "x",
    "line": 0,
}


def box(address: str, login: str = "", **more: Any) -> dict[str, Any]:
    local, _, domain = address.partition("@")
    place = {"directory": f"{HOME}/popboxes/{domain}/{local}", "delivery": "./Maildir/"}
    login = login or f"{local}.{domain}"
    said = {"address": address, "login": login, "state": "enabled", "aliases": [], "extensions": False}
    return {**said, **place, **more}


def finding(login: str) -> dict[str, Any]:
    text = f"{login} has a des hash"
    return {"text": text, "rule": "hash-weak", "level": "warning", "file": "users/poppasswd", "line": 1}


def domain(name: str) -> dict[str, Any]:
    return {"domain": name, "mailboxes": 0, "forwards": 0, "catchall": None, "alias_of": None}


@dataclass
class Declared(FakeHost):
    """Says what is declared. ``old``: without `accounts`; ``read_only``: refuses to lint; ``unjudged``: fails at it."""

    said: dict[str, list[Any]] = field(default_factory=lambda: {"domains": [], "mailboxes": [], "forwards": []})
    findings: list[Any] = field(default_factory=list)
    old: bool = False
    read_only: bool = False
    unjudged: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        self.asked.append(argv)
        if self.read_only and argv[0] == "lint":
            raise NotPossibleError("read-only here")
        if self.unjudged and argv[0] == "lint":
            return Ran(argv, 111, "", "mailhost: users/domains/a.example: is larger than 1 GiB\n")
        if argv[0] == "accounts" and self.old:
            return Ran(argv, 2, "", "Error: No such command 'accounts'.\n")
        if argv[0] == "accounts":
            return Ran(argv, 0, json.dumps(self.said), "")
        kinds = {"domain": "domains", "mailbox": "mailboxes", "forward": "forwards"}
        of = self.said[kinds[argv[0]]] if argv[0] in kinds else {"findings": self.findings}
        return Ran(argv, 1 if argv[0] == "lint" else 0, json.dumps(of), "")


def page(host: Declared, of: str = "", show: Show = "", after: str = "") -> str:
    values = shown(PAGES, cast(Host, host), Asked(of, show, after))
    return PAGES.text("accounts.html.j2", page="accounts", title="Accounts", of=of, files=(), **values)


def pages(host: Declared, show: Show) -> Iterator[str]:
    """From the one without a name on, as the link to the next one leads."""
    after = ""
    while True:
        text = page(host, show=show, after=after)
        yield text
        found = re.search(r'rel="next" href="([^"]+)"', text)
        if found is None:
            return
        after = parse_qs(urlsplit(html.unescape(found[1])).query)["after"][0]


def addresses(text: str) -> list[str]:
    return re.findall(r'data-address="([^"]+)"', text)


TOWN = [f"box{n:03}@{name}" for name in ("a.example", "b.example") for n in range(PAGE + PAGE // 2)]


def test_each_mailbox_is_on_one_page_whatever_the_order_of_domains_and_its_findings_beside_it() -> None:
    boxes = [box(one) for one in reversed(TOWN)]
    host = Declared(said={"domains": [], "mailboxes": boxes, "forwards": []})
    host.findings = [OF_NONE, *(finding(one["login"]) for one in boxes)]
    seen = list[str]()
    for text in pages(host, "mailboxes"):
        here = addresses(text)
        said = [f"{login} has a des hash" for login in (one.replace("@", ".") for one in here)]
        assert re.findall(r"(\S+ has a des hash)", text) == said
        assert 'data-count="findings" class="bad"><b>301</b>' in text
        seen += here
    assert seen == TOWN
    assert OF_NONE["text"] in page(host)


@pytest.mark.parametrize("word", ["joe", "long-" * 40, *INPUTS[:2]])
@pytest.mark.parametrize("show", ["", *SECTIONS])
def test_no_page_is_large_and_none_leaves_a_row_out(show: Show, word: str) -> None:
    many, targets = range(PAGE * 2 + 1), [f"{n}{word}@elsewhere.example" for n in range(300)]
    said = {
        "domains": [{**domain(f"d{n:03}.example"), "catchall": f"{word}@d{n:03}.example"} for n in many],
        "mailboxes": [box(f"{n:03}{word}@d.example", f"l{n}", aliases=[f"{word}{n}@d.example"] * 20) for n in many],
        "forwards": [{"address": f"{n:03}@d.example", "targets": targets, "keeps_copy": False} for n in many],
    }
    loose = [{**OF_NONE, "text": f"{n} {word * 9}"} for n in many]
    host = Declared(said=said, findings=[*loose, *(finding(f"l{n}") for n in many for _ in range(5))])
    texts = list(pages(host, show)) if show else [page(host)]
    assert max(len(text.encode()) for text in texts) <= PAGE_OCTETS
    if show:
        row = '<p class="finding error"' if show == "lint" else 'scope="row"'
        assert sum(text.count(row) for text in texts) == len(many)


def test_a_search_is_for_a_domain_of_the_host_or_for_a_part_of_a_name() -> None:
    boxes = [box("joe@a.example", "testid"), box("ann@aa.example", "ann", aliases=["joan@aa.example"])]
    forwards = [{"address": "sales@a.example", "targets": ["joe@a.example"], "keeps_copy": False}]
    host = Declared(said={"domains": [domain("a.example")], "mailboxes": boxes, "forwards": forwards})
    found = {of: addresses(page(host, of)) for of in ("", "a.example", "A.EXAMPLE", "example", "TESTID", "joan", "bob")}
    joe, ann = "joe@a.example", "ann@aa.example"
    assert found == {
        "": [joe, ann], "a.example": [joe], "A.EXAMPLE": [joe], "example": [joe, ann], "TESTID": [joe],
        "joan": [ann], "bob": [],
    }  # fmt: skip
    assert "sales@a.example" in page(host, "sales")
    assert "sales@a.example" not in page(host, "testid")


def test_two_commands_make_a_page_and_an_older_host_is_asked_in_its_words() -> None:
    told = {"domains": [domain("a.example")], "mailboxes": [box("joe@a.example")], "forwards": []}
    new, old = (Declared(said=told, findings=[finding("joe.a.example")], old=old) for old in (False, True))
    assert page(new) == page(old)
    assert sorted(new.asked) == [("accounts",), ("lint", "--json")]
    assert sorted(argv[0] for argv in old.asked) == ["accounts", "domain", "forward", "lint", "mailbox"]


@pytest.mark.parametrize("old", [False, True])
def test_a_host_that_cannot_lint_says_why(old: bool) -> None:
    told = {"domains": [], "mailboxes": [box("joe@a.example")], "forwards": []}
    text = page(Declared(said=told, old=old, read_only=True))
    assert addresses(text) == ["joe@a.example"]
    assert "data-unlinted>No lint findings: read-only here" in text
    assert 'data-count="findings"' not in text


@pytest.mark.parametrize("old", [False, True])
def test_a_host_whose_files_lint_cannot_judge_shows_its_lists(old: bool) -> None:
    told = {"domains": [], "mailboxes": [box("joe@a.example")], "forwards": []}
    text = page(Declared(said=told, old=old, unjudged=True))
    assert addresses(text) == ["joe@a.example"]
    assert "mailhost lint ended with 111; mailhost: users/domains/a.example: is larger than 1 GiB" in text
