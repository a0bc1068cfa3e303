"""The line reader: input whole, byte by byte, with trailing data, too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.pop3.protocol.line_reader import TOO_LONG, LineReader


def read_all(reader: LineReader) -> list[bytes | bool]:
    found = []
    while (line := reader.next()) is not None:
        found.append(line)
    return found


def reference(data: bytes, limit: int) -> list[bytes | bool]:
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]
    return [TOO_LONG if len(line) > limit else line for line in lines]


@given(st.binary(max_size=60).map(lambda b: b.replace(b"a", b"\r\n")), st.lists(st.integers(0, 60), max_size=8))
def test_any_cut_of_the_input_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    reader, found, last = LineReader(10), [], 0
    for cut in [*sorted(cuts), len(data)]:
        reader.feed(data[last:cut])
        last = max(last, cut)
        found += read_all(reader)
    assert found == reference(data, 10)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_an_over_long_line_is_answered_once_and_never_stored(step: int) -> None:
    reader, found, most = LineReader(20), [], 0
    data = b"x" * 100_000 + b"\r\nNOOP\r\n"
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        found += read_all(reader)
        most = max(most, len(reader._data))
    assert found == [TOO_LONG, b"NOOP"]
    assert most <= 22 + step


def test_a_line_that_just_fits_with_its_cr_in_another_packet() -> None:
    reader = LineReader(4)
    reader.feed(b"NOOP\r")
    assert reader.next() is None
    reader.feed(b"\n")
    assert reader.next() == b"NOOP"


def test_forget_drops_what_came_in_the_clear() -> None:
    reader = LineReader(100)
    reader.feed(b"STLS\r\nUSER eve\r\nPA")
    assert reader.next() == b"STLS"
    reader.forget()
    reader.feed(b"QUIT\r\n")
    assert read_all(reader) == [b"QUIT"]
