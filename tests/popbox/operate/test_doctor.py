"""popbox doctor: what is missing is named, with what it is needed for and how to get it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from popbox.cli.main import cli
from popbox.hosts.state import Registry, keep
from popbox.operate.doctor import examine
from popbox.settings import Settings, find_assets


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_without_an_engine_only_the_local_world_can_be_had() -> None:
    done = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert done.return_value == 1
    assert "MISS Docker engine, Compose v2: the engine does not answer" in done.output
    assert "install Docker with Compose v2 and start it" in done.output
    assert "  yes  local/standin\n  no   docker/standin  (host docker is not available" in done.output


def test_json_holds_worlds_findings_and_the_hosts_that_are_up(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "popbox")
    keep(registry, registry.new("local", "stand-in", "/tmp/popbox-x"))
    said = json.loads(CliRunner().invoke(cli, ["doctor", "--json"], standalone_mode=False).output)
    assert said["worlds"]["local/standin"] == ""
    assert {one["name"]: one["there"] for one in said["findings"]}["Python"] is True
    assert said["hosts"] == ["host local, MTA stand-in: /tmp/popbox-x (kept)"]


def missing(settings: Settings) -> dict[str, str]:
    return {one.name: one.said for one in examine(settings) if not one.there}


@pytest.mark.needs("root")  # who becomes another user
def test_a_directory_that_popuser_cannot_pass_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    (closed / "tmp").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed / "tmp"))
    tmp_path.chmod(0o755)
    assert missing(Settings(find_assets(), tmp_path, None))["temporary directory"].startswith("uid 888 cannot pass /")


def test_a_checkout_without_its_files_is_named(tmp_path: Path) -> None:
    said = missing(Settings(tmp_path, tmp_path, None))
    assert said["popbox's own files"] == f"compose.yaml, images, scenarios missing in {tmp_path}"
