"""No alarm: hosts made at random, moved by `migrate import`, have the same routes on both sides.

`POPBOX_ROUTES_HOSTS=1000` tries more of them.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from tests.popbox.migrate.routes.hosts import KINDS, imported, in_forks, routes

HOSTS = int(os.environ.get("POPBOX_ROUTES_HOSTS", "15"))
SEED = int(os.environ.get("POPBOX_ROUTES_SEED", "31"))


def test_no_alarm_on_clean_moves(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_forks(monkeypatch)
    alarms, asked = [], 0
    for number in range(HOSTS):
        chance, top = random.Random(f"{SEED}-{number}"), place / str(number)
        top.mkdir()
        make = chance.choice(KINDS)
        old = make(chance, top / "old")
        code, report, text = routes(old, imported(old, top))
        asked += report["addresses"]
        if code != 0:
            alarms.append(f"seed {SEED}-{number}, {make.__name__}:\n{text}")
        shutil.rmtree(top)
    print(f"{HOSTS} hosts, {asked} addresses, {len(alarms)} alarms")
    assert asked > 20 * HOSTS
    assert not alarms, "\n".join(alarms[:3])
