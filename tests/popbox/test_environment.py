"""A child gets the environment that popbox means: no variable of the shell, and no .env, reaches a throw-away host."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox import ROOT
from tests.popbox.exported import unwanted
from tests.popbox.migrate.oldhosts import HOSTS

from popbox.cli.main import cli
from popbox.environment import OF_PROGRAMS, OF_SSH, RUN, of_docker, of_programs
from popbox.hosts.base import closing
from popbox.hosts.docker.stack import Stack
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Process, Record, Registry
from popbox.operate.backup import backup, restore
from popbox.settings import Settings, find_assets

NEEDED = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")}
LOGS = '#!/bin/sh\nenv >> {log}\nexec {program} "$@"\n'  # a program in whose place it stands, environment noted
FAR = '#!/bin/sh\nenv >> {log}\nfor last; do :; done\nexec sh -c "$last"\n'  # stands for ssh
FOREIGN = dict.fromkeys(unwanted(), "somebody-elses")
PYTHON = {"PYTHONWARNINGS": "error", "PYTHONINSPECT": "1", "PYTHONOPTIMIZE": "2", "PYTHONSTARTUP": "/nowhere"}


def stack(tmp_path: Path, environ: dict[str, str], assets: Path | None = None) -> Stack:
    """The project of a host that is about to come up, in a shell that has exported ``environ``."""
    settings = Settings.from_environment(NEEDED | {"XDG_STATE_HOME": str(tmp_path)} | environ)
    if assets:
        settings = Settings(assets, settings.state, settings.qmail_base, settings.environ)
    made = Stack(settings, Record("0123abcd", "docker", "stand-in", "popbox-0123abcd", Process(1, 1)))
    made.write("run-0123456789ab", "", "127.0.0.1")
    return made


def rendered(made: Stack) -> object:
    """What Compose makes of it."""
    config: object = json.loads(made.must("config", "--format", "json", within_s=60))
    return config


def test_a_relative_state_home_is_not_used(tmp_path: Path) -> None:
    for state in ("state", "./state", ""):
        settings = Settings.from_environment({"XDG_STATE_HOME": state})
        assert settings.state == Path.home() / ".local/state/popbox"
    assert Settings.from_environment({"XDG_STATE_HOME": str(tmp_path)}).state == tmp_path / "popbox"


def test_the_names_come_from_the_documents() -> None:
    documented = {"COMPOSE_PROJECT_NAME", "POPBOX_ACCOUNTS", "POPBOX_TAG", "POPBOX_SMTP_PORT", "POPBOX_REQUIRE_TLS"}
    assert documented < set(unwanted())


@pytest.mark.needs("compose")
def test_no_variable_changes_what_compose_makes_of_a_host(tmp_path: Path) -> None:
    wanted = rendered(stack(tmp_path, {}))
    assert wanted["name"] == "popbox-0123abcd"  # type: ignore[index]
    changed = [name for name in FOREIGN if rendered(stack(tmp_path, {name: FOREIGN[name]})) != wanted]
    assert changed == []
    assert rendered(stack(tmp_path, FOREIGN)) == wanted


@pytest.mark.needs("compose")
def test_a_checkouts_env_file_changes_nothing(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    shutil.copy(ROOT / "compose.yaml", assets)
    (assets / "images").mkdir()
    wanted = rendered(stack(tmp_path, {}, assets))
    (assets / ".env").write_text("".join(f"{name}={value}\n" for name, value in FOREIGN.items()))
    assert rendered(stack(tmp_path, {}, assets)) == wanted


@pytest.mark.needs("compose")
def test_everything_that_compose_makes_carries_the_label(tmp_path: Path) -> None:
    config = rendered(stack(tmp_path, {}))
    for kind in ("services", "networks", "volumes"):
        for name, one in config[kind].items():  # type: ignore[index]
            assert one["labels"]["popbox.run"] == "0123abcd", f"{kind}.{name}"


@pytest.mark.needs("compose")
def test_health_is_asked_seldom_in_hosts_of_a_run_by_the_images_own_checks(tmp_path: Path) -> None:
    services = rendered(stack(tmp_path, {}))["services"]  # type: ignore[index]
    assert [one["healthcheck"] for one in services.values()] == [{"interval": "30s"}] * 2


def instead(place: Path, name: str, text: str) -> Path:
    """A program of that name."""
    place.mkdir(exist_ok=True)
    (place / name).write_text(text)
    (place / name).chmod(0o755)
    return place / name


def names_in(log: Path) -> set[str]:
    """Variables that children had, but for those that sh sets itself."""
    lines = log.read_text().splitlines()
    return {line.partition("=")[0] for line in lines} - {"PWD", "OLDPWD", "SHLVL", "_"}


def test_a_backup_is_made_with_the_hosts_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment({**NEEDED, **FOREIGN})
    with closing(LocalHost.start(Registry(tmp_path / "state"), environ=settings.environ)) as host:
        assert set(host.beside().env) == {*NEEDED, "LC_ALL", RUN}
        program = instead(
            tmp_path / "bin", "python", LOGS.format(log=tmp_path / "log", program=shlex.quote(sys.executable))
        )
        monkeypatch.setattr("popbox.hosts.local.PYTHON", [str(program)])
        for name, value in FOREIGN.items():
            monkeypatch.setenv(name, value)
        backup(host, tmp_path / "whole.tar")
        restore(host, tmp_path / "whole.tar")
    assert names_in(tmp_path / "log") == {*NEEDED, "LC_ALL", RUN}


def test_a_move_hands_on_what_ssh_and_mailhost_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    instead(tmp_path / "bin", "ssh", FAR.format(log=tmp_path / "ssh.log"))
    python = instead(
        tmp_path / "bin", "python", LOGS.format(log=tmp_path / "mailhost.log", program=shlex.quote(sys.executable))
    )
    monkeypatch.setattr("popbox.migrate.copy.destination.sys.executable", str(python))
    given = {"PATH": f"{python.parent}:{NEEDED['PATH']}", "HOME": NEEDED["HOME"], "SSH_AUTH_SOCK": "/agent"}
    for name, value in {**FOREIGN, **given}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, ["migrate", "import", f"ssh:old.example:{old}", "--to", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert {*given, "LC_ALL"} <= names_in(tmp_path / "ssh.log") <= {*OF_SSH, "LC_ALL"}
    assert {*NEEDED, "LC_ALL"} <= names_in(tmp_path / "mailhost.log") <= {*OF_PROGRAMS, "LC_ALL"}


def test_what_docker_itself_needs_is_handed_on() -> None:
    engine = {"DOCKER_HOST": "tcp://x:1", "DOCKER_CONFIG": "/c", "XDG_RUNTIME_DIR": "/run/user/1", "https_proxy": "p"}
    given = Settings.from_environment(NEEDED | engine | FOREIGN | PYTHON).environ
    assert of_docker(given) == {**NEEDED, **engine, "LC_ALL": "C.UTF-8"}
    assert of_programs(given, "1") == {**NEEDED, "LC_ALL": "C.UTF-8", RUN: "1"}


@pytest.mark.parametrize("place", ["home", "current directory"])
def test_a_local_host_is_not_led_elsewhere(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to a production home that MAILHOST_HOME names, nor to a module that happens to lie where we are."""
    production = tmp_path / "production"
    mailhost = [sys.executable, "-m", "mailhost", "--home", str(production), "init", "--me", "mx.example"]
    subprocess.run(mailhost, check=True, capture_output=True)
    before = sorted((path, path.stat().st_mtime_ns) for path in production.rglob("*"))
    if place == "current directory":
        (tmp_path / "mailhost").mkdir()
        (tmp_path / "mailhost/__init__.py").write_text("raise SystemExit('the wrong mailhost')")
        monkeypatch.chdir(tmp_path)
    shell = {**os.environ, **FOREIGN, **PYTHON, "MAILHOST_HOME": str(production), "LANG": "de_DE", "TZ": "Asia/Tokyo"}
    settings = Settings.from_environment(shell)
    with closing(LocalHost.start(Registry(tmp_path / "state"), environ=settings.environ)) as host:
        for _ in range(2):  # as a program of its own, then from a warm Python
            assert host.run("domain", "list").stdout == ""
        assert host.run("domain", "add", "domain.com").code == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in production.rglob("*")) == before
    assert find_assets() == ROOT
