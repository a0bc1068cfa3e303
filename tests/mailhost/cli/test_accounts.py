"""`mailhost accounts`: what four verbs say, from one reading; and what lint asks of the system for each box."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts import lint
from mailhost.accounts.layout import layout
from mailhost.accounts.sources import read_back


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "qmail")
    made.ok("init", "--me", "mail.example.net")
    made.ok("domain", "add", "domain.com")
    boxes(made, "joe", "ann")
    made.ok("forward", "add", "sales@domain.com", "joe@domain.com")
    return made


def boxes(host: Host, *names: str) -> None:
    for name in names:
        host.ok("mailbox", "add", f"{name}@domain.com", "--login", name, "--crypt", HOWTO_CRYPT)


def said(host: Host, *words: str) -> Any:
    return json.loads(host.run(*words).stdout)


def test_it_says_what_the_lists_and_lint_say(host: Host) -> None:
    lists = {
        "domains": said(host, "domain", "list", "--json"),
        "mailboxes": said(host, "mailbox", "list", "--json"),
        "forwards": said(host, "forward", "list", "--json"),
    }
    assert [len(one) for one in lists.values()] == [1, 2, 1]
    assert said(host, "accounts") == lists
    findings = said(host, "lint", "--json")["findings"]
    assert [one["rule"] for one in findings] == ["hash-weak", "hash-weak"]


def test_files_that_lint_cannot_judge_do_not_hide_the_lists(host: Host) -> None:
    (host.home / "users/assign").write_bytes(b"")
    os.truncate(host.home / "users/domains/domain.com", (1 << 30) + 1)
    (host.home / "control/virtualdomains").write_text("")
    assert said(host, "accounts")["mailboxes"] == []
    judged = host.run("lint", "--json")
    assert judged.exit_code == 111
    assert "is larger than" in judged.output


@pytest.mark.parametrize(
    ("work", "most"), [(lambda home: lint.lint(layout(home)), 7), (lambda home: read_back.read(layout(home)), 3)]
)
def test_what_is_asked_of_the_system_for_each_box(
    host: Host, work: Callable[[Path], object], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lint: home, .qmail (opened, looked at), tmp, new, cur, Maildir; read back: the box, .qmail, looked at first."""
    asked = [0]

    def counting(name: str) -> None:
        real = getattr(os, name)

        def counted(*args: Any, **more: Any) -> Any:
            asked[0] += 1
            return real(*args, **more)

        monkeypatch.setattr(os, name, counted)

    def count() -> int:
        asked[0] = 0
        work(host.home)
        return asked[0]

    for name in ("stat", "lstat", "open"):
        counting(name)
    few = count()
    boxes(host, *(f"u{n}" for n in range(10)))
    assert count() - few <= 10 * most
