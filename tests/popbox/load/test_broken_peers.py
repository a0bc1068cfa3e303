"""A host that is broken in each known way is caught in each, message by message; a good one is not accused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.load.broken import expected, run

PLAN = """
title = "a peer"
for = "6s"
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
SPAN = 100  # of about 400 messages


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1], ids=["good", "broken"])
def test_a_broken_host_is_named_for_what_it_did_and_for_nothing_else(tmp_path: Path, seed: int) -> None:
    found = run(tmp_path, PLAN, seed, SPAN)
    assert (found.undone, found.missed, found.accused) == ((), (), ()), found.said
    assert found.taken > SPAN
    assert found.code == expected(1 if seed else 0, found.said), found.said
