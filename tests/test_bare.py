"""``.ci/bare``: what fails a machine, and that the list of machines names needs that exist."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from tests.needs import NEEDS

ROOT = Path(__file__).parents[1]
WORLDS = {"docker/standin", "docker/qmail", "scenario in local/standin"}
GOOD = """
PASSED: The HOWTO's own test: telnet mailhost 110 (0.8 s), host local, MTA stand-in
1 passed; host local, MTA stand-in
  exercised  host local, MTA stand-in  (tests: 50)
  skipped    engine: docker is not installed  (tests: 9)
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_loader("bare", SourceFileLoader("bare", str(ROOT / ".ci/bare")))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_machines_name_needs_that_exist(bare: ModuleType) -> None:
    found = bare.machines()
    assert {one.debian for one in found.values()} == {"bookworm", "trixie"}
    assert {one.user for one in found.values()} == {"root", "plain"}
    assert {one.umask for one in found.values()} == {"022", "077"}
    for machine in found.values():
        assert machine.lacks - NEEDS.keys() - WORLDS - {"-"} == set(), machine.name
        assert machine.runs in bare.RUN
        assert (machine.beside, machine.folder[0]) in [(word, "/") for word in ("-", "client", "engine")]


@pytest.mark.parametrize(
    ("code", "change", "wrong"),
    [
        (0, ("", ""), []),
        (2, ("", ""), ["it ended with 2"]),
        (0, ("skipped    engine", "skipped    root"), ["tests were skipped for 'root', which this machine has"]),
        (0, ("1 passed; host local", "1 failed; host local"), ["`popbox demo` did not pass on host local"]),
        (0, ("exercised  host local", "exercised  host docker"), ["no test exercised host local"]),
    ],
)
def test_what_fails_a_machine(bare: ModuleType, code: int, change: tuple[str, str], wrong: list[str]) -> None:
    machine = bare.Machine("x", "bookworm", "root", "022", "/srv", "-", "all", frozenset({"engine"}))
    assert bare.judge(machine, code, GOOD.replace(*change)) == wrong


def test_what_a_killed_run_has_left_goes_and_nothing_else(bare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = socket.gethostname()
    owners = [f"{here}/{ended.pid}", f"{here}/{os.getpid()}", f"elsewhere/{ended.pid}"]
    removed: list[str] = []

    def docker(*argv: str, **_: object) -> subprocess.CompletedProcess[str]:
        if argv[0] in ("rm", "rmi"):
            removed.extend(argv)
        [owner] = [one for one in owners if argv[-1].endswith(f"={one}")] or [""]
        listed = {"ps": f"c-{owner}", "images": f"i-{owner}"} if owner else {"ps": owners[1], "images": "a b"}
        said = "\n".join(owners) if argv[0] == "inspect" else listed.get(argv[0], "")
        return subprocess.CompletedProcess(argv, 0, f"{said}\n", "")

    monkeypatch.setattr(bare, "docker", docker)
    bare.sweep()
    assert removed == ["rm", "-f", "-v", f"c-{owners[0]}", "rmi", "-f", f"i-{owners[0]}"]


def test_what_pip_does_here_it_does_there(bare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders that its settings name go in at their own place; a network index's address is no folder."""
    index = tmp_path / "index/simple"
    index.mkdir(parents=True)
    (tmp_path / "pip.ini").write_text(f"[global]\nextra-index-url = file://{index} https://index.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.ini"))
    options = list(bare.pip_settings(tmp_path))
    assert f"--volume={tmp_path}/index:{tmp_path}/index:ro" in options, "an index's pages name files beside it"
    assert not any("index.example" in one for one in options)
    assert f"extra-index-url = file://{index} https://index.example/simple\n" in (tmp_path / "pip.conf").read_text()
