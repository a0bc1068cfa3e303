"""What a store keeps of an event's fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW, Store


def test_half_of_a_utf_16_pair_is_told_as_a_question_mark_and_all_else_as_it_is() -> None:
    """SQLite refuses such a text, and the batch with it."""
    fields = {"what": '\u20ac \U0001f600 \x00 \\ "', "n": [1, None, 2.5]}
    with Store.in_memory() as store:
        store.append([Event(1.0, Kind.NOTE, None, {"what": "a\ud83d\udcffb"}), Event(2.0, Kind.NOTE, None, fields)])
        assert [one.fields for one in store.events_since(0)] == [{"what": "a??b"}, fields]


def test_what_is_stored_already_takes_no_number(tmp_path: Path) -> None:
    """Neither the writer's cursor nor that of a reader beside it runs ahead: the next event would be behind both."""
    ended = Event(2.0, Kind.ENDED, 1, {}, "log", "1:2")
    with Store.open(tmp_path / "journeys") as store, Store.open(tmp_path / "journeys", write=False) as reader:
        queued = {"qp": "1", "number": "1", "sender": "a@b.example", "bytes": 9, "uid": 1}
        assert store.append([Event(1.0, Kind.QUEUED, NEW, queued, "log", "1:1"), ended, ended]) == [1, 2, 0]
        assert (store.cursor(), reader.cursor()) == (2, 2)
        assert store.append([ended]) == [0]
        assert (store.cursor(), reader.cursor()) == (2, 2)
        assert store.append([ended, Event(3.0, Kind.NOTE)]) == [0, 3]
        assert (store.cursor(), reader.cursor()) == (3, 3)


READ_BY_EIGHT = """
import pathlib, sys, threading
from popbox.journey.store import Store
def own():
    return int(pathlib.Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])
store, before, here = Store.open(pathlib.Path(sys.argv[1]), write=False), own(), threading.Barrier(9)
def read():
    store._reader().execute("SELECT count(substr(fields, -1)) FROM events").fetchone()
    here.wait()
    here.wait()
for _ in range(8):
    threading.Thread(target=read).start()
here.wait()
print(own() - before)
here.wait()
"""


def test_many_threads_that_read_hold_little_of_the_store(tmp_path: Path) -> None:
    """Each has a connection of its own; a server's pages are read by dozens."""
    with Store.open(tmp_path / "journeys") as store:
        store.append(Event(1.0, Kind.NOTE, None, {"what": "x" * 2_000}) for _ in range(8_000))
    argv = [sys.executable, "-c", READ_BY_EIGHT, str(tmp_path / "journeys")]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert int(said.stdout) < 20 * 1024, "KiB: the store has 16 MiB"
