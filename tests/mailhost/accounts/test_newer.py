"""What a newer mailhost wrote: read for what is known of it, or refused where the rest would be half of a meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailhost.accounts import governed, nodes
from mailhost.accounts.change import journal
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError, HostError
from mailhost.accounts.governed import Governed
from mailhost.accounts.layout import layout
from mailhost.accounts.nodes import Node


@pytest.fixture
def hands(tmp_path: Path) -> HostEffects:
    for name in ("control", "users/domains", "alias", "popboxes", "users/.mailhost"):
        (tmp_path / name).mkdir(parents=True)
    return HostEffects(layout(tmp_path), lambda _home: None)


STRANGE = [
    ({"kind": "put", "path": "control/locals", "checksum": "x"}, "field 'checksum' is not known"),
    ({"kind": "link", "path": "control/locals"}, "kind 'link' is not known"),
    (["put"], ""),
    ({"kind": "put", "path": "control/locals", "was": [1, 2, 3, 4, 5]}, ""),
]


@pytest.mark.parametrize(("line", "said"), STRANGE)
def test_a_journal_with_what_is_not_known_is_neither_done_by_half_nor_thrown_away(
    hands: HostEffects, line: object, said: str
) -> None:
    known = {"kind": "record", "path": "popboxes/.removed.records/x", "files": {"": "y"}}
    path = hands.layout.work / journal.NAME
    path.write_text(f"{json.dumps(known)}\n{json.dumps(line)}\n")
    before = path.read_text()
    with pytest.raises(HostError, match=f"journal: line 2: .*{said}.* A newer mailhost began"), Transaction(hands):
        pass
    assert path.read_text() == before
    assert list(hands.layout.popboxes.iterdir()) == []


def test_the_record_of_the_governing_file_is_read_for_what_is_known_of_it(hands: HostEffects) -> None:
    path = hands.layout.work / governed.NAME
    path.write_text(json.dumps({"file": "/a.toml", "waits": "x", "schema": 2}))
    assert governed.read(hands.layout) == Governed("/a.toml", waits="x")
    for broken in ({"file": 5}, {"file": "/a.toml", "waits": ["x", "y"]}, ["file"], {}):
        path.write_text(json.dumps(broken))
        with pytest.raises(BusyError, match="is not the record that `mailhost follow` keeps"):
            governed.read(hands.layout)


def test_a_nodes_record_is_read_for_what_is_known_of_it(hands: HostEffects) -> None:
    node = Node(hands.layout, "one")
    node.announce({"a.example": ["joe"]})
    path = hands.layout.popboxes / nodes.NODES / "one"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    assert [record.announces for _, record, _ in nodes.known(hands.layout)] == [{"a.example": ["joe"]}]
    for broken in ({"a.example": None}, {"a.example": [5, "x"]}, ["a.example"]):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"announces": broken}))
        assert nodes.known(hands.layout) == [], "and what is no record says nothing"
