"""A host that is broken in each known way is caught in each, message by message, and accused of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.load.broken import expected, run
from tests.popbox.load.peer import TOKEN, Box, Peer

PLAN = """
title = "a peer"
for = "90s"
drain = "3s"
users = 7
[user.office]
kind = "sender"
count = 3
rate = 25.0
sizes = ["2KiB", "2KiB", "2KiB", "80KiB"]
[user.clients]
kind = "fetcher"
count = 3
every = "500ms"
share = 2
[user.keepers]
kind = "hoarder"
count = 1
every = "500ms"
"""
SPAN = 100


@pytest.mark.slow
def test_a_broken_host_is_named_for_what_it_did_and_for_nothing_else(tmp_path: Path) -> None:
    found = run(tmp_path, PLAN, 1, SPAN)
    assert (found.undone, found.missed, found.accused) == ((), (), ()), found.said
    assert found.code == expected(1, found.said), found.said


def test_two_messages_are_exchanged_however_late_the_second_comes() -> None:
    peer = Peer({"a": Box(), "b": Box()}, {"swap": 0})
    first, second, third = (TOKEN + b"t%d\r\n\r\n%d\r\n" % (number, number) for number in range(3))
    peer.accept(["a"], first)
    peer.idle()
    peer.accept(["a"], second)
    peer.accept(["b"], third)
    assert peer.done == {"swap": [("altered", "t2", "b"), ("altered", "t1", "a")]}
    assert [one.octets.partition(b"\r\n\r\n")[2] for one in peer.boxes["a"].messages] == [b"0\r\n", b"2\r\n"]
