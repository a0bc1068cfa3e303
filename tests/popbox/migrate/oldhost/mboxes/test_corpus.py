"""The corpus: each file is read as the program that wrote it meant, or is refused, or its torn places are named."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.popbox.migrate.oldhost.mboxes.corpus_lengths import lengths
from tests.popbox.migrate.oldhost.mboxes.corpus_lines import dates, line_ends, quotings
from tests.popbox.migrate.oldhost.mboxes.corpus_programs import damaged, programs, refused
from tests.popbox.migrate.oldhost.mboxes.writers import Case

from popbox.migrate.oldhost.mboxes.header import Head, examine
from popbox.migrate.oldhost.mboxes.marks import Mark, Marks
from popbox.migrate.oldhost.mboxes.split import Split
from popbox.migrate.oldhost.mboxes.survey import Reading, survey
from popbox.migrate.oldhost.tree import OldHostError

CORPUS = [*dates(), *line_ends(), *quotings(), *lengths(), *programs(), *damaged(), *refused()]
READABLE = [case for case in CORPUS if not case.refused]


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def read(octets: bytes, chunk: int = 1 << 20, block: int = 1 << 18, head: int = 1 << 16) -> tuple[Reading, list[bytes]]:
    """How it is read, and the messages; the parts must be the file."""
    chunks = [octets[at : at + chunk] for at in range(0, len(octets), chunk)]
    reading = survey(chunks, block=block, head=head)
    split, found = Split(chunks, reading, block, head, hold=max(2_000, block)), list[bytes]()
    for piece in split:
        if piece.start:
            found.append(b"")
        found[-1] += piece.octets
    assert split.parts.octets == reading.octets == len(octets)
    assert reading.messages == len(found) - reading.folder_data
    return reading, found[reading.folder_data :]


def test_the_corpus_is_large_and_follows_many_descriptions() -> None:
    assert len({case.octets for case in CORPUS}) >= 60
    assert len({case.source for case in CORPUS}) >= 20
    assert len({case.name for case in CORPUS}) == len(CORPUS)


@named(READABLE)
def test_the_messages_are_those_that_were_written(case: Case) -> None:
    reading, found = read(case.octets)
    assert found == list(case.messages)
    assert tuple(line for line, _ in reading.doubts) == case.doubts
    assert reading.dialect.startswith(case.dialect)
    assert case.note in "; ".join(reading.notes)


@named([case for case in CORPUS if case.refused])
def test_what_is_no_mbox_is_said_to_be_what_it_is(case: Case) -> None:
    with pytest.raises(OldHostError, match=case.refused):
        survey([case.octets])


@named(READABLE)
def test_it_does_not_matter_where_reads_are_cut(case: Case) -> None:
    """At each odd size of a read, with blocks and holds much smaller than the real ones."""
    whole = read(case.octets, head=2_000)
    long_one = len(case.octets) > 50_000
    for size in (997, 4_999) if long_one else (1, 3, 5, 7, 11, 63, 255, 1_023, 1_025, 1_401):
        assert read(case.octets, chunk=size, block=size, head=2_000) == whole


LINES = st.sampled_from([
    b"", b"", b"text", b"From x", b">From x", b">>From y", b"Subject: z", b"From: a@b.example", b"Content-Length: 40",
    b"From a@b Mon Sep 10 01:46:40 2001", b"From a@b Mon Sep 10 01:46:40 2001", b"From joe at 12:30 1998", b"\0\0",
    b"\r", b"Content-Length: 7", b"From " + b"a1" * 20 + b" Mon Sep 17 00:00:00 2001", b"x" * 1_100,
    b">" * 1_030 + b"From z",
])  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(LINES, ENDS), max_size=40), st.integers(1, 1_500), st.booleans())
def test_any_file_is_accounted_for_octet_by_octet_wherever_reads_are_cut(
    lines: list[tuple[bytes, bytes]], size: int, ended: bool
) -> None:
    octets = b"From a@b Mon Sep 10 01:46:40 2001\n" + b"".join(line + end for line, end in lines) + b"z" * (not ended)
    assert read(octets, size, size, 2_000) == read(octets, head=2_000)
    marks = Marks([octets], size, 2_000)
    assert b"".join(one for one in marks if not isinstance(one, Mark)) == octets


@pytest.mark.parametrize("line", [b"From \n", b"From \n\n", b"From a@b Mon Sep 10 01:46:40 2001\nA: b\n"])
def test_a_hostile_file_is_not_looked_at_again_for_each_of_its_lines(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def counted(text: bytes) -> Head:
        nonlocal looked
        looked += len(text)
        return examine(text)

    monkeypatch.setattr("popbox.migrate.oldhost.mboxes.marks.examine", counted)
    octets = b"From a@b Mon Sep 10 01:46:40 2001\nSubject: x\n\n" + line * 5_000
    survey([octets])
    assert 0 < looked < 2 * len(octets)


MEMORY = """
def peak_kib():  # of this program; ru_maxrss is at least what its parent had
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
from popbox.migrate.oldhost.mboxes.split import Split
from popbox.migrate.oldhost.mboxes.survey import survey
start = b"From a@b Mon Sep 10 01:46:40 2001\\nSubject: x\\nContent-Length: 9\\n\\n"
text = (b">From me, and more of it".ljust(99, b".") + b"\\n") * 2_500
def file():
    for number in range(400):
        yield start if number % 40 == 0 or number > 350 else b""
        yield text + b"\\n"
before = peak_kib()
reading = survey(file())
split = Split(file(), reading)
most = max(len(piece.octets) for piece in split)
assert split.parts.octets == reading.octets > 100_000_000, reading
print(peak_kib() - before, most)
"""


@pytest.mark.slow
def test_100_mb_take_no_more_memory_than_a_few_buffers() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=600)
    grown_kib, most = map(int, done.stdout.split())
    assert grown_kib < 32 << 10
    assert most < 3 << 20
