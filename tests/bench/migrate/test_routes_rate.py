"""How long `popbox migrate routes` takes for a million addresses: 20,000 boxes with 24 aliases each, on two hosts.

Numbers are printed (`pytest -s -m slow tests/bench/migrate/test_routes_rate.py`). `POPBOX_BOXES=2000` makes a tenth of
it, `POPBOX_HOSTS_IN=/dev/shm` takes the disk out.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import put
from tests.popbox.migrate.routes.hosts import ELSEWHERE, HASH, UID, Making, box, own

BOXES = int(os.environ.get("POPBOX_BOXES", "20000"))
ALIASES = 24
LOST = 0.002  # of the boxes the new host has lost the line of one alias
CORES, LIMIT_S = 2, 120  # the issue's: a million addresses in two minutes


def text_of(chance: random.Random, number: int, domain: str) -> str:
    """A .qmail file; most only deliver."""
    drawn = chance.random()
    if drawn < 0.10:
        return f"./Maildir/\n&x{number}@{ELSEWHERE}\n"
    if drawn < 0.15:
        return f"&b{number}-other@{domain}\n"
    if drawn < 0.17:
        return "./Maildir/\n|preline /usr/bin/procmail\n"
    return "#\n" if drawn < 0.19 else "./Maildir/\n"


def build(root: Path, top: str, *, new: bool) -> tuple[int, int]:
    """A host of the HOWTO's; how many lines users/assign has, and how many addresses the new host has lost."""
    chance, host, lost = random.Random(5), Making(root), 0
    domains = [f"d{number}.example" for number in range(max(1, BOXES // 200))]
    host.rcpthosts += domains
    host.virtual += [f"{name}:{name.replace('.', '-')}" for name in domains]
    for number in range(BOXES):
        domain = domains[number % len(domains)]
        prefix = domain.replace(".", "-")
        place = f"{top}/{prefix}/b{number}"
        home = box(root / place[1:], text_of(chance, number, domain))
        to = f":popuser:{UID}:{UID}:{place}:"
        host.assign += [f"={prefix}-b{number}{to}::", *(f"={prefix}-a{number}x{one}{to}::" for one in range(ALIASES))]
        if chance.random() < 0.5:
            put(home / ".qmail-default", "./Maildir/\n", 0o600)
            own(home / ".qmail-default", UID)
            host.assign.append(f"+{prefix}-b{number}-{to}-::")
        if chance.random() < LOST and new:
            host.assign.remove(f"={prefix}-a{number}x0{to}::")
            lost += 1
        host.logins.append(f"aa{number:06}:{HASH}:popuser:{place}")
    chance.shuffle(host.assign)
    host.done()
    return len(host.assign), lost


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_addresses_in_two_minutes() -> None:
    place = Path(tempfile.mkdtemp(dir=os.environ.get("POPBOX_HOSTS_IN")))
    try:
        lines, _ = build(place / "old", "/home/boxes", new=False)
        _, lost = build(place / "new", "/var/qmail/popboxes", new=True)
        report, began, before = place / "report.json", time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        argv = ["migrate", "routes", "--old", str(place / "old"), "--new", str(place / "new"), "--json", str(report)]
        done = subprocess.run([sys.executable, "-m", "popbox", *argv], capture_output=True, text=True)
        took_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert done.returncode == bool(lost), done.stdout + done.stderr
        said = json.loads(report.read_text())
    finally:
        shutil.rmtree(place)
    asked = said["addresses"]
    size = f"{asked} addresses of {BOXES} boxes ({lines} lines of users/assign)"
    cpu = f"of processor time {cpu_s:.1f} s, a million {cpu_s / asked * 1e6:.0f} s"
    print(f"\n{size}: {took_s:.1f} s, {cpu}, {after.ru_maxrss >> 10} MiB, load {os.getloadavg()[0]:.0f}")
    assert asked > 2 * lines * 0.9
    assert said["changed"] == lost
    assert cpu_s < CORES * LIMIT_S * max(asked / 1e6, 0.1)
