"""What each process of a running server has given up: root, its groups, core dumps, new privileges."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import Box, Running, owner, worker_pids

Serve = Callable[..., Running]
as_root = pytest.mark.needs("root")  # who else has something to give up


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_process_that_serves_is_hardened(box: Box, serve: Serve, workers: str) -> None:
    server = serve("--workers", workers)
    assert server.client().banner.startswith(b"+OK")
    for pid in {server.process.pid, *worker_pids(server)}:
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]


@as_root
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_serves_is_popuser_with_no_group_of_roots(box: Box, workers: str) -> None:
    before = os.getgroups()
    os.setgroups([0, 4, 27])
    try:
        server = Running(box.home, "--workers", workers)
    finally:
        os.setgroups(before)
    try:
        uid, gid = owner()
        assert server.client().banner.startswith(b"+OK")
        for pid in {server.process.pid, *worker_pids(server)}:
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
            )
            assert status["Groups"].split() == [str(gid)]
            assert status["Uid"].split() == [str(uid)] * 4
            assert status["Gid"].split() == [str(gid)] * 4
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    finally:
        server.stop()
        server.errors.close()
