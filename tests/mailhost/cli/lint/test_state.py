"""`mailhost lint` on what stops mail although every file is right: disks, the sender, the certificate."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme
from tests.exposition import parsed
from tests.mailhost.cli.support import Host
from tests.popbox import ROOT

from mailhost.accounts.layout import layout
from mailhost.accounts.lint import lint
from mailhost.system import expiry
from mailhost.system.gauges import volumes

ROOMY = str(ROOT / "images/mailhost/roomy")
GIB = 1 << 30


def found(host: Host) -> dict[str, tuple[str, str]]:
    """Rule -> level and file."""
    return {one.rule: (one.level, one.file) for one in lint(layout(host.home))}


def disk(free: int, size: int, inodes: int = 1000, flags: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        f_bavail=free // 4096, f_frsize=4096, f_blocks=size // 4096, f_files=10**6, f_favail=inodes, f_flag=flags
    )


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (disk(0, GIB), "disk-full"),
        (disk(15 << 20, 1000 * GIB), "disk-full"),
        (disk(17 << 20, 1000 * GIB), ""),
        (disk(1 << 20, 10 << 20), ""),  # a small disk may have little left
        (disk(GIB, 2 * GIB, inodes=0), "disk-full"),
        (disk(GIB, 2 * GIB, inodes=63), "disk-full"),
        (disk(GIB, 2 * GIB, inodes=64), ""),
        (disk(GIB, 2 * GIB, flags=os.ST_RDONLY), "disk-read-only"),
    ],
)
def test_disks(howto: Host, monkeypatch: pytest.MonkeyPatch, seen: SimpleNamespace, rule: str) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: seen)
    rules = found(howto)
    assert {one for one in rules if one.startswith("disk")} == ({rule} if rule else set())
    assert not rule or rules[rule][0] == "error"


def test_a_disk_that_is_full_says_what_is_left_and_when_it_is_full(
    howto: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = disk(40 << 10, 40 << 20)
    monkeypatch.setattr(os, "statvfs", lambda _: seen)
    assert "disk full: 40 KiB are left of 40960 (full: under 16 MiB and under 5 %)" in howto.run("lint").output
    seen.f_bavail, seen.f_favail = seen.f_blocks, 7
    assert "disk full: 7 inodes are left of 1000000 (full: under 64 and under 5 %)" in howto.run("lint").output


@pytest.mark.parametrize("place", ["todo/4711", "todo/3/4711"])
def test_a_sender_that_stands_still(howto: Host, place: str) -> None:
    queue = howto.home / "queue"
    (queue / "info/3").mkdir(parents=True)
    (queue / place).parent.mkdir(parents=True)
    (queue / place).touch()
    assert "sender-frozen" not in found(howto), "it may be looked at in a moment"
    old = time.time() - 150
    for path in (queue / place, queue / "info/3"):
        os.utime(path, (old, old))
    assert found(howto)["sender-frozen"] == ("error", "queue/todo")
    os.utime(queue / "info/3")
    assert "sender-frozen" not in found(howto), "it is busy with others"


@pytest.mark.parametrize(("days", "level"), [(60, ""), (3, "warning"), (-3, "error")])
def test_a_certificate(howto: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, level: str) -> None:
    chain = tmp_path / "fullchain.pem"
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    issued = trustme.CA().issue_cert("mx", not_after=end, not_before=end - datetime.timedelta(days=90))
    chain.write_bytes(issued.cert_chain_pems[0].bytes())
    monkeypatch.setattr(expiry, "CHAIN", chain)
    assert found(howto).get("certificate-late", ("", ""))[0] == level
    chain.unlink()
    assert found(howto).get("certificate-missing") == ("warning", str(chain))
    monkeypatch.setattr(expiry, "CHAIN", tmp_path / "no-tls/fullchain.pem")
    assert "certificate-missing" not in found(howto)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 256 KiB and 60 inodes in its place."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=60", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def filled(folder: Path, what: str) -> None:
    """To the last octet, or to the last inode."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while what == "octets":
            filler.write(b"x" * 512)
    with suppress(OSError):
        for number in itertools.count():
            (folder / f"filler{number}").touch()


@pytest.mark.needs("mount namespace")
@pytest.mark.parametrize("what", ["octets", "inodes"])
@pytest.mark.parametrize(
    ("name", "level"),
    [("queue", "error"), ("popboxes", "error"), ("users", "warning"), ("control", "warning"), ("alias", "warning")],
)
def test_all_that_look_agree_on_a_disk_that_is_really_full(host: Host, name: str, level: str, what: str) -> None:
    folder = host.home / name
    folder.mkdir(exist_ok=True)
    with small_disk(folder):
        before = host.run("lint", "--machine")
        assert (before.exit_code, before.output) == (0, "nothing wrong\n")
        filled(folder, what)
        (said,) = json.loads(host.run("lint", "--machine", "--json").output)["findings"]
        assert (said["level"], said["rule"], said["file"]) == (level, "disk-full", name)
        assert host.run("lint", "--machine").exit_code == (level == "error")
        whole = json.loads(host.run("lint", "--json").output)["findings"]
        assert [one for one in whole if one["rule"] == "disk-full"] == [said]
        roomy = subprocess.run(["sh", ROOMY, str(folder)], capture_output=True, text=True, check=False)
        assert (roomy.returncode, "disk full" in roomy.stdout) == (1, True)
        gauges = parsed(volumes([folder]))
        left = gauges[f'popbox_volume_free_{"bytes" if what == "octets" else "inodes"}{{volume="{name}"}}']
        assert left == 0
