"""The page of accounts in pages: what lint says of a mailbox stands beside it, on its page, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from tests.popbox.fakehost import FakeHost

from popbox.hosts.base import Host, Ran
from popbox.serve.console.host import PAGE, _accounts

MANY = 2 * PAGE + 1
BOXES = [
    {
        "address": f"box{n:03}@a.example",
        "login": f"box{n:03}",
        "directory": f"popboxes/a/box{n:03}",
        "delivery": "./Maildir/",
    }
    for n in range(MANY)
]
FINDINGS = [{"text": f"{one['login']} has a des hash", "rule": "hash-weak"} for one in BOXES]
OF_NONE = {"text": "users/assign is older than its parts", "rule": "assign-old"}


@dataclass
class Declared(FakeHost):
    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        said: dict[str, Any] = {"mailbox": BOXES, "lint": {"findings": [*FINDINGS, OF_NONE]}}
        return Ran(argv, 0, json.dumps(said.get(argv[0], [])), "")


def test_what_is_said_of_a_mailbox_on_another_page_stands_there() -> None:
    after, seen = "", list[str]()
    for _ in range(3):
        page = _accounts(cast(Host, Declared()), "", after)
        assert page["loose"] == [OF_NONE]
        for one in page["mailboxes"]:
            assert [found["text"] for found in page["beside"][one["login"]]] == [f"{one['login']} has a des hash"]
            seen.append(one["login"])
        after = page["mailboxes"][-1]["address"]
    assert seen == [one["login"] for one in BOXES]
    assert (page["findings_total"], page["next_path"]) == (MANY + 1, "")
