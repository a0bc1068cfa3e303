"""Gauges of the machine, as Prometheus' own parser reads them."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from tests.exposition import parsed

from mailhost.system.gauges import certificate, gauge, volumes


def test_the_room_of_each_folder_and_nothing_of_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = {
        "queue": SimpleNamespace(
            f_bavail=3, f_frsize=4096, f_blocks=1 << 40, f_favail=5, f_files=90, f_flag=os.ST_RDONLY
        ),
        "users": SimpleNamespace(f_bavail=0, f_frsize=512, f_blocks=10, f_favail=0, f_files=0, f_flag=0),  # btrfs
    }

    def statvfs(path: Path) -> SimpleNamespace:
        if path.name not in disks:
            raise FileNotFoundError(2, "none", str(path))
        return disks[path.name]

    monkeypatch.setattr(os, "statvfs", statvfs)
    found = parsed(volumes(tmp_path / name for name in ("queue", "users", "alias")))
    assert {name.removeprefix("popbox_volume_"): value for name, value in found.items()} == {
        'free_bytes{volume="queue"}': 12288,
        'free_bytes{volume="users"}': 0,
        'size_bytes{volume="queue"}': 4096 << 40,
        'size_bytes{volume="users"}': 5120,
        'free_inodes{volume="queue"}': 5,
        'inodes{volume="queue"}': 90,
        'read_only{volume="queue"}': 1,
        'read_only{volume="users"}': 0,
    }
    assert volumes([]) == gauge("popbox_x", "None.", []) == ""


def test_when_a_certificate_ends(tmp_path: Path) -> None:
    chain, end = tmp_path / "chain.pem", datetime.datetime(2040, 1, 2, tzinfo=datetime.UTC)
    assert certificate("popbox_x", chain) == "", "there is none"
    chain.write_text("no certificate")
    assert certificate("popbox_x", chain) == ""
    chain.write_bytes(trustme.CA().issue_cert("mx", not_after=end).cert_chain_pems[0].bytes())
    assert parsed(certificate("popbox_x", chain)) == {"popbox_x": end.timestamp()}
