"""A host that is broken in each known way is caught in each, message by message, and accused of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.load.broken import expected, run

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
