"""No page of journeys is larger than 60 KiB, whatever they are called, and none of them is left out."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi.testclient import TestClient
from tests.popbox.serve.api import RULES
from tests.popbox.serve.hostile import INPUTS
from tests.popbox.serve.recorded import Idle

from popbox.hosts.base import Ability, Host
from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW, Store
from popbox.serve.app import application
from popbox.serve.live import Live

MANY = 120
PAGE_OCTETS = 60 * 1024
HOST = cast(Host, SimpleNamespace(name="local", mta="stand-in", cannot=lambda _ability=Ability.FILES: "no files here"))


def bounced(store: Store, number: int, word: str) -> int:
    """A message of four recipients, of whom all bounced, with the word wherever one can stand; its id."""
    at = 1_795_368_492.0 + number
    queued = {"qp": f"{number}", "number": f"{number}", "sender": f"{word}@x.example", "bytes": 10, "uid": 888}
    [of] = store.append([Event(at, Kind.QUEUED, NEW, queued, "mail log", f"q{number}")])
    way = []
    for delivery in range(1, 5):
        address = f"{delivery}{word}@domain.com"
        one = {"delivery": delivery, "recipient": f"d-{address}"}
        said = {"outcome": "failure", "said": word, "kept": None, "forwards": []}
        way += [Event(at, Kind.TRYING, of, {**one, "channel": "local", "address": address})]
        way += [Event(at, Kind.TRIED, of, {**one, **said})]
    file = {"path": f"m/new/{number}", "maildir": "m", "size": 9, "mode": 0o600, "uid": 888}
    told = {"recipient": f"d-1{word}@domain.com", "uidl": f"{number}", "subject": word, "message_id": "<x@x>", **file}
    store.append([*way, Event(at, Kind.FILED, of, told), Event(at, Kind.ENDED, of)])
    return of


@pytest.mark.parametrize("word", ["joe", "long-" * 60, "<\"'&>" * 60, "✉" * 300, *INPUTS[-2:]])
def test_pages_of_journeys_are_small_and_leave_none_out(tmp_path: Path, word: str) -> None:
    with Store.open(tmp_path / "journeys") as store, Live(HOST, store, Idle(store)) as live:
        sent = [bounced(store, number, word) for number in range(MANY)]
        client = TestClient(application(live, RULES), base_url="http://127.0.0.1:8025")
        seen, path = list[int](), "/"
        while path:
            page = client.get(path)
            assert (page.status_code, len(page.content) <= PAGE_OCTETS) == (200, True), len(page.content)
            seen += map(int, re.findall(r'<tr [^>]*data-journey="(\d+)"', page.text))
            found = re.search(r'rel="next" href="([^"]+)"', page.text)
            path = found[1].replace("&amp;", "&") if found else ""
        assert seen == sent[::-1]
        for path, asked in (("/find", word), ("/queue", "")):
            assert len(client.get(path, params={"q": asked}).content) <= PAGE_OCTETS, path
