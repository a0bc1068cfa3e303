"""``popbox serve`` killed at any moment, again and again while mail comes: the same journeys as one that was not.

A stream of events that goes on by Last-Event-ID at the next one has every event once.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.popbox.serve.mailing import cursor_of, mail, send, until
from tests.popbox.serve.served import ask, serving

from popbox.hosts.base import Host

KILLS = 4
MESSAGES = 40


def journeys(port: int) -> list[dict[str, Any]]:
    """All of this test, oldest first; the ids that the store gave are kept apart from what the host did."""
    found = ask(port, "/v1/journeys?sender=kill@client.example&limit=500&oldest_first=true")[1]["journeys"]
    return [dict(one) for one in found]


def facts(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["queued_as"], one["to"], one["subject"], one["octets"], one["end"], one["why"], len(one["messages"])


class Watcher:
    """A client of the stream that comes back, as a browser does: with the id of the last whole event that it has."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.last = "0"
        self._thread = threading.Thread()

    def watch(self, port: int) -> None:
        self._thread = threading.Thread(target=self._read, args=(port,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until the server has gone."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _read(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/v1/events", headers={"Last-Event-ID": self.last})
            frame: dict[str, str] = {}
            for line in connection.getresponse():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if line == b"\n":
                    self._keep(frame)
                    frame = {}
                elif name:
                    frame[name] = value

    def _keep(self, frame: dict[str, str]) -> None:
        self.last = frame.get("id", self.last)
        said = json.loads(frame.get("data", "{}"))
        if frame.get("event", "message") != "open" and said:
            self.got.append(said)


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
    watcher = Watcher()
    for _ in range(KILLS):
        with serving(state, "--store", store) as (port, program):
            heard = len(watcher.got)
            watcher.watch(port)
            assert cursor_of(port) >= cursor, "what was stored is there"
            time.sleep(chance.random())
            cursor = cursor_of(port)
            known |= {one["id"]: one["queued_as"] for one in journeys(port)}
            send(host, mail("Cut", "joe@domain.com"), "joe@domain.com", sender="cut@client.example")
            until(lambda before=heard: len(watcher.got) > before)
            program.send_signal(signal.SIGKILL)
            program.wait()
        watcher.wait()
    sender.join()
    assert sent.is_set()

    def ended(port: int) -> Any:
        found = journeys(port)
        return found if len(found) >= MESSAGES and all(one["ended"] for one in found) else None

    with serving(state, "--store", store) as (port, _):
        watcher.watch(port)
        killed = until(lambda: ended(port))
        cursor = cursor_of(port)
        until(lambda: int(watcher.last) >= cursor)
        again = Watcher()
        again.watch(port)
        until(lambda: int(again.last) >= cursor)
    watcher.wait()
    again.wait()
    assert [one.get("seq") for one in watcher.got] == list(range(1, len(watcher.got) + 1)), "no gap, no double"
    assert watcher.got[: len(again.got)] == again.got[: len(watcher.got)], "nor another event by the same number"
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
