"""Records of hosts that are up: they survive us, and name a process beyond doubt."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from popbox.errors import HostError
from popbox.hosts.choose import sweep
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Process, Registry, here, keep
from popbox.operate.status import look
from popbox.settings import Settings


def test_a_process_is_known_by_more_than_its_pid() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = Process.of(child.pid)
    assert process.lives()
    assert not replace(process, started=process.started + 1).lives(), "a later process with the same pid"
    child.kill()
    child.wait()
    assert not process.lives()


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen(["true"])
    process = Process.of(child.pid)
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert not process.lives()
    assert not Process.of(child.pid).lives()
    child.wait()


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    record = replace(registry.new("local", "stand-in", "/x"), processes={"smtp": Process(1, 2)})
    registry.save(record)
    assert registry.all() == [record]
    registry.forget(record)
    assert registry.all() == []


def test_a_record_that_is_left_can_be_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        record = Registry(tmp_path / "local/state").new("local", "stand-in", "/x")
    finally:
        os.umask(before)
    modes = [one.stat().st_mode & 0o777 for one in sorted(tmp_path.rglob("*"))]
    assert modes == [0o700, 0o700, 0o700, 0o600], "local, state, hosts and the record"
    assert Registry(tmp_path / "local/state").all() == [record]


def test_a_state_directory_that_cannot_be_written_is_named_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = f"{tmp_path}/file/hosts: the record of a host cannot be written (Not a directory); XDG_STATE_HOME names"
    with pytest.raises(HostError, match=re.escape(said)):
        Registry(tmp_path / "file").new("local", "stand-in", "/x")


def test_records_that_cannot_be_read_are_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "glob", closed)
    with pytest.raises(HostError, match=r"hosts: the records of hosts cannot be read \(Permission denied\)"):
        sweep(Settings(tmp_path, tmp_path, None))


def test_a_host_that_was_killed_before_it_was_made_is_looked_at_and_taken_away(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    record = replace(registry.new("local", "stand-in", str(tmp_path / "popbox-x")), owner=Process(1, 1))
    registry.save(record)
    seen = look(record.id, record, LocalHost(registry, record, {}))
    assert seen.left_behind
    assert set(seen.wrong) >= {"smtp", "pop3", "accounts"}
    sweep(Settings(tmp_path, tmp_path, None))
    assert registry.all() == []


def test_a_record_of_a_newer_popbox_is_read_for_what_is_known_of_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    record = replace(registry.new("local", "stand-in", "/x"), processes={"smtp": Process(1, 2)})
    registry.save(record)
    path = tmp_path / f"hosts/{record.id}.json"
    table = json.loads(path.read_text())
    table |= {"network": "n1", "owner": table["owner"] | {"unit": "x.service"}}
    table["processes"]["smtp"]["cgroup"] = "/y"
    path.write_text(json.dumps(table))
    assert registry.all() == [record]


def test_only_kept_hosts_and_those_of_the_dead_are_removable(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    mine, kept, orphan = (registry.new("local", "stand-in", place) for place in ("/mine", "/kept", "/orphan"))
    keep(registry, kept)
    registry.save(replace(orphan, owner=Process(orphan.owner.pid, 1)))
    assert {record.place for record in registry.removable()} == {"/kept", "/orphan"}
    assert len(registry.all()) == 3
    assert mine in registry.all()


def test_what_cannot_be_seen_from_here_is_taken_for_alive_and_another_boot_for_dead(tmp_path: Path) -> None:
    machine, boot, namespace = here().rsplit(" ", 2)
    mine = Process.of(os.getpid())
    assert mine.lives()
    assert mine.seen_from_here()
    for where in (f"{machine} {boot} pid:[1]", f"other {boot} {namespace}", f"other x {namespace}"):
        elsewhere = Process(1, 1, where)
        assert elsewhere.lives(), where
        assert not elsewhere.seen_from_here(), where
    assert not Process(mine.pid, mine.started, f"{machine} x {namespace}").lives()
    registry = Registry(tmp_path, Process(1, 1, f"other x {namespace}"))
    registry.new("local", "stand-in", "/elsewhere")
    assert registry.orphans() == []


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.new("local", "stand-in", "/x")
    (tmp_path / "hosts/1234abcd.json").write_text('{"id": ')
    with pytest.raises(HostError, match=r"hosts/1234abcd\.json is no record of a host"):
        registry.all()
    sweep(Settings(tmp_path, tmp_path, None))


@pytest.mark.parametrize("change", [{"id": "../other"}, {"id": ""}, {"place": "../x"}, {"place": ""}, {"place": None}])
def test_a_record_that_names_what_no_record_of_ours_does_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    registry = Registry(tmp_path)
    registry.new("docker", "qmail", below="")
    path = next((tmp_path / "hosts").iterdir())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HostError, match=rf"hosts/{path.name} is no record of a host"):
        registry.all()


def test_what_lies_among_the_records_and_is_none_stays(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    record = registry.new("local", "stand-in", "/x")
    others = [tmp_path / "hosts" / name for name in (".1234abcd.json.swp", ".nfs.000012ab", ".DS_Store")]
    for other in others:
        other.touch()
    scratch = tmp_path / "hosts/.1234abcd.4194304999"
    scratch.touch()
    registry.tidy()
    assert registry.all() == [record]
    assert all(other.exists() for other in others)
    assert not scratch.exists()
