"""Where a message is that POP3 did not hand out: by its own header, and for the recipient that lacks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.hosts.base import Ability, DirEntry, Found
from popbox.load.books.judge import FOUND
from popbox.load.books.message import make
from popbox.load.stage.search import search


class Holding(FakeHost):
    """A host whose one file holds a message; it is found by lines, each with its line end, as containers do it."""

    def __init__(self, message: bytes) -> None:
        super().__init__()
        self.message = message

    def cannot(self, ability: Ability) -> str:
        return "no shell" if ability is Ability.SHELL else ""

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        lines = "".join(needles).encode().splitlines(keepends=True)
        there = any(line in self.message for line in lines)
        return [Found(DirEntry("popboxes/a/joe/1", 0o600, 888, 888, 9, 1.0), self.message)] if there else []


def message(token: str) -> bytes:
    return b"Return-Path: <s@a>\nDelivered-To: a-joe@a\n" + make(token, "s@a", ("joe@a", "ann@a"), 512)


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        ([("t01", "joe@a"), ("t02", "joe@a")], ["t01 joe@a"]),
        ([("t01", "ann@a")], []),
        ([("t01", "l1.moved.3")], ["t01 l1.moved.3"]),
        ([("t0", "joe@a")], []),
        ([("t09", "joe@a")], []),
    ],
    ids=["its own", "of another recipient", "of a box that was renamed", "begin of a token", "quoted in the body"],
)
def test_a_file_is_found_for_the_box_that_it_was_delivered_to(
    tmp_path: Path, lost: list[tuple[str, str]], found: list[str]
) -> None:
    octets = message("t01") + b"\n> quoted:\n" + make("t09", "s@a", ("joe@a",), 256)
    assert search(Holding(octets), lost, tmp_path) == ""
    assert json.loads((tmp_path / FOUND).read_text()) == {key: ["popboxes/a/joe/1"] for key in found}
