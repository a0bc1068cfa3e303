"""A journal is evidence only when it is whole, and then each line of it is read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popbox.errors import HostError, UnusableError
from popbox.load.books import samples
from popbox.load.books.journal import NOTE_LENGTH, Journal, unfinished
from popbox.load.books.judge import FOUND, judge
from popbox.load.books.tables import WRITERS, incomplete, incomplete_run, opened, unread
from popbox.load.books.world import FILE as WORLD
from popbox.load.books.world import World
from popbox.load.plan.spec import SPEC, Spec

HOSTILE = ("a\tb", "a\nb", 'say "no"', "a\x00b", "\\N", "ä€𝄞", "x" * 5_000, "\x1b[31m")


def test_each_note_comes_back_in_its_own_line(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        for number, note in enumerate(HOSTILE):
            journal.write("error", session=number, note=note)
    with opened(tmp_path) as books:
        notes = books.execute("SELECT session, note FROM rows WHERE event = 'error' ORDER BY session").fetchall()
        assert unread(books) == []
    assert [session for session, _ in notes] == list(range(len(HOSTILE)))
    assert all(0 < len(note) <= NOTE_LENGTH for _, note in notes)


def test_a_journal_without_its_end_is_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.write("accept", token="t")
    journal._file.flush()
    assert "has no end" in unfinished(journal.path)
    journal.end()
    assert unfinished(journal.path) == ""


@pytest.mark.parametrize("keep", [0, 1, 50, -1, -20])
def test_a_journal_that_was_cut_is_none(tmp_path: Path, keep: int) -> None:
    with Journal(tmp_path, "w") as journal:
        journal.write("accept", token="t", box="joe@a")
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:keep])
    assert unfinished(journal.path)


def test_a_journal_that_lacks_a_line_is_none(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        journal.write("accept", token="t")
        journal.write("accept", token="u")
    first, _, *rest = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([first, *rest]))
    assert "3 lines, and its end says 4" in unfinished(journal.path)


def test_a_journal_that_must_be_there_and_is_not_is_named(tmp_path: Path) -> None:
    Journal(tmp_path, "here").end()
    assert incomplete(tmp_path, ("here", "away")) == ("the journal away.journal is not here",)


def test_a_journal_of_another_run_or_under_another_name_is_no_evidence(tmp_path: Path) -> None:
    for name, run in (("stage", "l1"), ("w", "l1"), ("copy", "l1"), ("stage-drain", "l2")):
        Journal(tmp_path, name, run=run).end()
    (tmp_path / WRITERS).write_text("w\n")
    assert incomplete_run(tmp_path) == (
        "copy.journal is of none of the processes that this run had",
        "journals of several runs are here: l1, l2",
    )


def test_a_line_that_is_missing_is_not_made_good_by_one_that_is_there_twice(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        for token in "tuv":
            journal.write("accept", token=token)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([*lines[:2], lines[1], *lines[3:]]))
    assert unfinished(journal.path) == ""
    with opened(tmp_path) as books:
        assert "one is there twice" in unread(books)[0]


def test_lines_in_another_order_are_read_as_they_are_numbered(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        for token in "tuv":
            journal.write("accept", token=token)
    first, *lines, last = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([first, *reversed(lines), last]))
    with opened(tmp_path) as books:
        assert unread(books) == []


@pytest.mark.parametrize("step_s", [-3_600, 0.001, 30])
def test_a_clock_that_was_set_between_two_journals_of_a_machine_changes_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    with Journal(tmp_path, "a") as early:
        early.write("error", note="first")
        now_ns = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(step_s * 1e9))
        with Journal(tmp_path, "b") as late:
            late.write("error", note="second")
    with opened(tmp_path) as books:
        query = "SELECT note, at_ns FROM rows WHERE event = 'error' ORDER BY at_ns"
        (first, at_ns), (second, then_ns) = books.execute(query).fetchall()
    assert (first, second) == ("first", "second")
    assert then_ns - at_ns < 1e9


@pytest.mark.parametrize("damage", [b"{", b"\xff", b"null", b"[" * 100_000, b'{"seed": ' + b"9" * 5_000 + b"}", None])
@pytest.mark.parametrize("name", [SPEC, WORLD, FOUND, samples.FILE, WRITERS])
def test_a_note_of_a_run_that_was_damaged_is_named(tmp_path: Path, name: str, damage: bytes | None) -> None:
    """None: a FIFO stands in its place, as what is read without end."""
    Journal(tmp_path, "w").end()
    note = tmp_path / name
    os.mkfifo(note) if damage is None else note.write_bytes(damage)
    with opened(tmp_path) as books:
        readers: dict[str, Callable[[], object]] = {
            SPEC: lambda: Spec.read(note),
            WORLD: lambda: World.read(tmp_path),
            FOUND: lambda: judge(books, tmp_path),
            samples.FILE: lambda: samples.read(tmp_path),
            WRITERS: lambda: incomplete_run(tmp_path),
        }
        if name == WRITERS and damage not in (None, b"\xff"):
            assert readers[name]()  # names of other journals
            return
        with pytest.raises(UnusableError, match=name):
            readers[name]()


@pytest.mark.parametrize("begin", [b"x", b'{"zero_ns": "1"}', b'{"zero_ns": []}', b"[" * 60_000])
def test_a_journal_whose_begin_or_end_is_damaged_is_none(tmp_path: Path, begin: bytes) -> None:
    Journal(tmp_path, "w").end()
    path = tmp_path / "w.journal"
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\t".join([*first.split(b"\t")[:-1], begin + b"\n"]) + last)
    assert "damaged begin" in unfinished(path)
    with opened(tmp_path):
        pass
    path.write_bytes(first + b"x" + last)
    assert "its end says x2" in unfinished(path)


def test_a_journal_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.journal")
    with pytest.raises(UnusableError, match=r"no file: w\.journal"):
        incomplete_run(tmp_path)


def test_a_journal_with_a_carriage_return_is_not_judged(tmp_path: Path) -> None:
    """DuckDB finds no line ends in it, and says so in an error of another kind than of a full disk."""
    Journal(tmp_path, "w").end()
    path = tmp_path / "w.journal"
    path.write_bytes(b"a\rb\n" + path.read_bytes())
    with pytest.raises(HostError, match="not judged"), opened(tmp_path):
        pass
