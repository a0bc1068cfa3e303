"""A journal is evidence only when it is whole, and then each line of it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from popbox.load.books.journal import NOTE_LENGTH, Journal, unfinished
from popbox.load.books.tables import incomplete, opened, unread

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
