"""``popbox serve`` killed at any moment, again and again while mail comes: the same journeys as one that was not."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.popbox.serve.served import ask, serving
from tests.popbox.serve.test_messages import cursor_of, mail, send, until

from popbox.hosts.base import Host

KILLS = 4
MESSAGES = 40


def journeys(port: int) -> list[dict[str, Any]]:
    """All of this test, oldest first; the ids that the store gave are kept apart from what the host did."""
    found = ask(port, "/v1/journeys?sender=kill@client.example&limit=500&oldest_first=true")[1]["journeys"]
    return [dict(one) for one in found]


def facts(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["queued_as"], one["to"], one["subject"], one["octets"], one["end"], one["why"], len(one["messages"])


def test_killed_at_any_moment(state: Path, host: Host, tmp_path: Path) -> None:
    chance, sent = random.Random(16), threading.Event()

    def sending() -> None:
        for number in range(MESSAGES):
            to = ("joe@domain.com", "sales@domain.com")[number % 2]
            send(host, mail(f"Kill {number}", to), to, sender="kill@client.example")
            time.sleep(0.1)
        sent.set()

    sender = threading.Thread(target=sending)
    sender.start()
    store, known, cursor = str(tmp_path / "journeys"), dict[int, str](), 0
    for _ in range(KILLS):
        with serving(state, "--store", store) as (port, program):
            assert cursor_of(port) >= cursor, "what was stored is there"
            time.sleep(chance.random())
            cursor = cursor_of(port)
            known |= {one["id"]: one["queued_as"] for one in journeys(port)}
            program.send_signal(signal.SIGKILL)
            program.wait()
    sender.join()
    assert sent.is_set()

    def ended(port: int) -> Any:
        found = journeys(port)
        return found if len(found) >= MESSAGES and all(one["ended"] for one in found) else None

    with serving(state, "--store", store) as (port, _):
        killed = until(lambda: ended(port))
    with serving(state, "--store", str(tmp_path / "whole")) as (port, _):
        whole = until(lambda: ended(port))
    assert known
    assert known.items() <= {one["id"]: one["queued_as"] for one in killed}.items(), "ids stay"
    assert [facts(one) for one in killed] == [facts(one) for one in whole]
    assert len(killed) == MESSAGES
    assert {one["end"] for one in killed} == {"delivered exactly once"}
    assert {len(one["messages"]) for one in killed} == {1}
    ids = [of for one in killed for of in one["messages"]]
    assert len(ids) == len(set(ids))
