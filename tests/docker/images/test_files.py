"""The sources of the images agree with the rest of the project; needs no engine."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from tests.needs import require
from tests.popbox import ROOT

IMAGES = ROOT / "images"
PROJECT, MAILHOST = (
    tomllib.loads((where / "pyproject.toml").read_text())["project"] for where in (ROOT, IMAGES / "mailhost")
)


def names(lines: list[str]) -> set[str]:
    found = (re.match(r"[a-z0-9][a-z0-9.-]*", line) for line in lines)
    return {one.group() for one in found if one}


def test_the_launchers_are_the_projects_own_scripts() -> None:
    launchers = dict(re.findall(r"^ +launcher (\S+) (\S+)$", (IMAGES / "mailhost/install").read_text(), re.MULTILINE))
    declared = {**PROJECT["scripts"], **MAILHOST["scripts"]}
    scripts = {name: target.removesuffix(":main") for name, target in declared.items()}
    own = {"certificate-late": "mailhost.system.expiry"}  # of the health checks: of no use outside of an image
    own |= {"box": "popbox.cli.box"}
    assert launchers == {**scripts, **own}


BOX = (IMAGES / "mailhost/requirements-box.in").read_text().splitlines()
STANDIN = [*MAILHOST["dependencies"], *MAILHOST["optional-dependencies"]["standin"]]


def test_what_the_box_has_of_the_harness_is_declared_there() -> None:
    assert names(BOX) <= names([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"]])


def test_both_distributions_have_one_version_and_the_harness_asks_for_it() -> None:
    assert MAILHOST["version"] == PROJECT["version"]
    assert f"{MAILHOST['name']}[standin]=={MAILHOST['version']}" in PROJECT["dependencies"]
    labels = re.findall(r"^ARG VERSION=(.*)$", (IMAGES / "mailhost/Dockerfile").read_text(), re.MULTILINE)
    assert set(labels) == {PROJECT["version"]}


@pytest.mark.parametrize(
    ("file", "wanted", "unwanted"),
    [
        ("requirements", MAILHOST["dependencies"], [*MAILHOST["optional-dependencies"]["standin"], "pytest", "docker"]),
        ("requirements-standin", STANDIN, ["pydantic", "pytest", "docker"]),
        ("requirements-box", [*STANDIN, *BOX], ["pytest", "docker", "testcontainers"]),
    ],
)
def test_an_image_gets_what_its_programs_import_pinned_by_hash(
    file: str, wanted: list[str], unwanted: list[str]
) -> None:
    pinned = (IMAGES / f"mailhost/{file}.txt").read_text()
    blocks = re.split(r"^(?=[a-z])", pinned, flags=re.MULTILINE)[1:]
    assert names(wanted) <= names(blocks)
    assert not names(unwanted) & names(blocks)
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)
    assert "://" not in pinned


def removed() -> set[str]:
    """Python's modules that the images are without, by the script that removes them."""
    (words,) = re.findall(r'^unused="([^"]+)"', (IMAGES / "mailhost/runtime").read_text(), re.MULTILINE)
    return set(words.replace("\\\n", " ").split())


def imported(source: bytes) -> set[str]:
    """The first names of the modules that a file imports, in functions too."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names}


# A helper of the package's own tests, which nothing of it imports.
OF_TESTS = {"uvloop/_testbase.py"}


def test_nothing_in_an_image_imports_a_module_that_it_is_without() -> None:
    files = [*IMAGES.rglob("*.py"), *(ROOT / "harness/popbox").rglob("*.py")]
    files = [path for path in files if "load" not in path.parts and path.name not in ("pytest_plugin.py", "testing.py")]
    lines = (IMAGES / "mailhost/requirements-box.txt").read_text().splitlines()
    wanted = list(map(Requirement, (line.rstrip(" \\") for line in lines if re.match("[a-z0-9]", line))))
    for one in wanted:
        if one.marker is None or one.marker.evaluate():
            named = [file for file in distribution(one.name).files or () if file.suffix == ".py"]
            files += [Path(str(file.locate())) for file in named if str(file) not in OF_TESTS]
    assert len(files) > 700
    assert {"unittest", "pydoc"} <= removed()
    found = {str(path): imported(path.read_bytes()) & removed() for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_an_import_of_a_removed_module_is_found() -> None:
    assert imported(b"def f():\n    import unittest.mock, os\n    from doctest import x\n") & removed() == {
        "unittest",
        "doctest",
    }


def shell_scripts() -> list[Path]:
    files = (path for path in IMAGES.rglob("*") if path.is_file() and "mailhost/mailhost" not in str(path))
    return sorted(path for path in files if path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/bash")))


def test_a_python_program_can_be_run_and_is_isolated() -> None:
    found = [path for path in IMAGES.rglob("*.py") if path.read_bytes().startswith(b"#!")]
    assert {path.name for path in found} == {"canary.py", "late.py", "maillog.py", "smtpfront.py", "starttls.py"}
    for path in found:
        assert path.stat().st_mode & 0o100  # its owner, whatever the umask; the images give it 0755
        ours = r"#!(/usr|/opt/mailhost)/bin/python3 -IS?\n"
        assert re.match(ours, path.read_text()), "no variable decides what it imports"


@pytest.mark.parametrize("script", [pytest.param(one, id=str(one.relative_to(IMAGES))) for one in shell_scripts()])
def test_a_script_parses_and_can_be_run(script: Path) -> None:
    shell = script.read_text().splitlines()[0].removeprefix("#!")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert script.stat().st_mode & 0o100  # its owner, whatever the umask; the images give it 0755


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """compose.yaml as Compose itself reads it, with both profiles."""
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    require("compose")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_two_stacks_share_nothing(compose: dict[str, Any]) -> None:
    assert not any("container_name" in service for service in compose["services"].values())
    assert not any(network.get("ipam") for network in compose["networks"].values())
    published = [port for service in compose["services"].values() for port in service["ports"]]
    assert all(port["host_ip"] == "127.0.0.1" for port in published)


def test_the_sides_share_volumes_and_no_network(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"qmail", "standin", "pop3", "console", "monitoring"}
    assert {mount["target"] for mount in services["monitoring"]["volumes"]} == {"/var/lib/prometheus"}, (
        "it sees no mail"
    )
    assert not set(services["pop3"]["networks"]) & {*services["qmail"]["networks"], *services["standin"]["networks"]}
    mounts = {mount["target"]: mount.get("read_only", False) for mount in services["pop3"]["volumes"]}
    home = "/var/qmail"
    mail = {f"{home}/control": True, f"{home}/users": True, f"{home}/popboxes": False}
    assert mounts == {**mail, "/etc/popbox/tls": True, "/var/log/popbox": False}  # the log, for console


@pytest.mark.parametrize("name", ["pop3", "standin"])
def test_the_python_services_keep_no_privilege(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


def test_every_variable_of_the_compose_file_is_in_the_table() -> None:
    used = set(re.findall(r"\$\{([A-Za-z0-9_]+)", (ROOT / "compose.yaml").read_text()))
    table = set(re.findall(r"`([A-Za-z0-9_]+)`", (IMAGES / "README.md").read_text()))
    assert used <= table


LOGS = IMAGES / "qmail/service/qmail-send/log/run"


@pytest.mark.parametrize(
    ("profiles", "keeps"), [("", ""), ("qmail", ""), ("qmail,console", " --keep /var/log/popbox/smtp")]
)
def test_the_logger_of_qmail_takes_no_word_that_its_supervisor_says(tmp_path: Path, profiles: str, keeps: str) -> None:
    """s6-supervise hands the service's name over; taken for a command, no line of the log was written."""
    for name, does in (("id", "echo 1"), ("getent", "echo qmail:x:2:"), ("s6-applyuidgid", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "POPBOX_PROFILES": profiles}
    done = subprocess.run([LOGS, "qmail-send/log"], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert (
        done.stdout
        == f"-u 1 -g 2 -G  maillog --metrics 0.0.0.0:9125 --queue /var/qmail/queue --gauges /run/gauges{keeps}\n"
    )
