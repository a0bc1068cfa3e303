"""Reading a message of the queue in blocks, and its header across their borders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailhost.standin.queue import message_reader
from mailhost.standin.queue.message_reader import Stored

LINE = b"Delivered-To: joe@d.com\n"


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_reader, "BLOCK_OCTETS", 8)


@pytest.fixture
def queued(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    path = tmp_path / "1"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    yield fd, path
    os.close(fd)


def message(queued: tuple[int, Path], text: bytes) -> Stored:
    queued[1].write_bytes(b"envelope" + text)
    return Stored(queued[0], len(b"envelope"))


@pytest.mark.parametrize("octets", [0, 1, 7, 8, 9, 15, 16, 17, 40])
def test_all_of_it_in_blocks(queued: tuple[int, Path], octets: int) -> None:
    text = bytes(range(octets))
    pieces = list(message(queued, text).pieces())
    assert b"".join(pieces) == text
    assert [len(piece) for piece in pieces[:-1]] == [8] * (len(pieces) - 1)


def test_a_small_message_is_read_once(queued: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one = message(queued, b"small\n")
    monkeypatch.setattr(os, "pread", lambda *_: pytest.fail("it was read when it was opened"))
    assert list(one.pieces()) == [b"small\n"]


@pytest.mark.parametrize("before", range(12))
@pytest.mark.parametrize(
    ("text", "has"),
    [
        (LINE + b"\nbody\n", True),
        (LINE, True),
        (b"A: b\n" + LINE + b"B: c\n\nbody\n", True),
        (b"A: b\n\n" + LINE, False),
        (b"\n" + LINE, False),
        (b"x" + LINE + b"\n", False),
        (LINE.upper() + b"\n", False),
        (LINE[:-1], False),
        (LINE[:-1] + b" \n\n", False),
        (b"A: b\n", False),
    ],
)
def test_a_header_line_is_found_wherever_a_block_ends(
    queued: tuple[int, Path], text: bytes, has: bool, before: int
) -> None:
    filler = b"F: " + b"f" * before + b"\n" if before else b""
    assert message(queued, filler + text).has_header_line(LINE) is has


@pytest.mark.parametrize("octets", [8, 1 << 18])
@pytest.mark.parametrize("header", [b"A: b\n", b""])
def test_a_line_of_the_body_is_none_of_the_header(
    queued: tuple[int, Path], monkeypatch: pytest.MonkeyPatch, octets: int, header: bytes
) -> None:
    monkeypatch.setattr(message_reader, "BLOCK_OCTETS", octets)
    assert not message(queued, header + b"\n" + b"x" * 40 + b"\n" + LINE).has_header_line(LINE)
    assert message(queued, LINE + header + b"\n" + b"x" * 40 + b"\n").has_header_line(LINE)


def test_nothing_has_no_line(queued: tuple[int, Path]) -> None:
    assert not message(queued, b"").has_header_line(LINE)
