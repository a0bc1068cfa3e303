"""How deep the MTA's queue is, real qmail's or the stand-in's, and whether it holds a message."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.errors import HostError
from popbox.hosts.base import Ran
from popbox.load.books.journal import Journal
from popbox.load.stage.leftovers import leftovers
from popbox.load.stage.mta_queue import Depth, depth, held


@dataclass
class Shell(FakeHost):
    """A host whose home is a folder here."""

    place: str = ""

    def shell(self, script: str) -> Ran:
        done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)
        return Ran(("sh",), done.returncode, done.stdout, done.stderr)

    def home(self) -> str:
        return self.place


@pytest.fixture(params=["mess/0", "standin/msg"])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Shell:
    """A queue of three messages, laid out as one of the MTAs does it, and a message that is arriving."""
    where = tmp_path / "queue" / str(request.param)
    where.mkdir(parents=True)
    for number in range(3):
        (where / str(number)).write_text(f"Subject: load t{number}\n")
    (tmp_path / "queue/standin/tmp").mkdir(parents=True, exist_ok=True)
    (tmp_path / "queue/standin/tmp/9").write_text("Subject: load t9\n")
    return Shell(place=str(tmp_path))


def test_each_message_of_either_queue_counts_once(host: Shell) -> None:
    assert depth(host) == 3
    assert leftovers(host)["messages in the queue"] == 3


def test_a_line_is_found_in_either_queue_where_it_is_a_whole_one(host: Shell) -> None:
    assert held(host, [f"Subject: load t{number}" for number in (1, 2, 7)]) == {"Subject: load t1", "Subject: load t2"}
    assert held(host, ["Subject: load t", "load t1"]) == set()


def test_a_host_without_a_queue_has_none_of_depth_zero(tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir()
    host = Shell(place=str(tmp_path))
    with pytest.raises(HostError, match="it has none"):
        depth(host)
    assert "messages in the queue" not in leftovers(host)


def test_the_depth_is_noted_while_the_load_lasts(host: Shell, tmp_path: Path) -> None:
    with Journal(tmp_path, "q") as journal:
        looking = Depth(host, journal, lasts_s=1_000.0)  # it looks again after 10 s
        looking.start()
        looking.end()
    rows = [line.split("\t") for line in (tmp_path / "q.journal").read_text().splitlines()]
    assert [(row[2], row[7]) for row in rows[1:-1]] == [("depth", "3")]
