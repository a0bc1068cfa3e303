"""Every verb explains itself, with an example that names it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import mailhost
from mailhost.cli import main

ROOT = Path(__file__).parents[3]

OURS = (
    "accounts",
    "init",
    "newmrh",
    "newu",
    "rebuild",
    "domain",
    "mailbox",
    "forward",
    "catchall",
    "alias",
    "apply",
    "follow",
    "governed",
    "nodes",
    "plan",
    "removed",
    "export",
    "lint",
    "mkpasswd",
    "schema",
)


def verbs() -> Iterator[tuple[str, ...]]:
    context = click.Context(main)
    for name in OURS:
        command = main.get_command(context, name)
        assert command is not None
        yield from [(name, sub) for sub in command.commands] if isinstance(command, click.Group) else [(name,)]


@pytest.mark.parametrize("verb", list(verbs()), ids=" ".join)
def test_help_has_a_sentence_and_an_example(verb: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*verb, "--help"])
    assert done.exit_code == 0
    assert "Example:" in done.output
    assert f"mailhost{' --home /var/qmail' if verb == ('init',) else ''} {' '.join(verb)}" in done.output
    assert "--password " not in done.output, "no password on a command line"


NO_CHANGE = {"accounts", "schema", "list", "show", "plan", "export", "mkpasswd", "measure", "governed"}
WHOLE = {"follow", "newu", "newmrh", "forget"}
"""They make one thing from a file that the operator has written: `plan` and `lint` say what it would be."""


@pytest.mark.parametrize("verb", [v for v in verbs() if v[-1] not in NO_CHANGE | WHOLE], ids=" ".join)
def test_every_change_has_a_dry_run(verb: tuple[str, ...]) -> None:
    assert "--dry-run" in CliRunner().invoke(main, [*verb, "--help"]).output


@pytest.mark.parametrize("verb", [v for v in verbs() if v[-1] in {"list", "show", "plan", "lint", "governed"}])
def test_every_list_has_json(verb: tuple[str, ...]) -> None:
    assert "--json" in CliRunner().invoke(main, [*verb, "--help"]).output


def test_the_version_is_pyprojects() -> None:
    declared = tomllib.loads((ROOT / "images/mailhost/pyproject.toml").read_text())["project"]["version"]
    assert mailhost.__version__ == declared
    assert CliRunner().invoke(main, ["--version"]).output == f"mailhost, version {declared} (popbox)\n"


def test_a_copied_package_without_metadata_knows_its_version(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "images/mailhost/mailhost", tmp_path / "mailhost")
    script = (
        "import importlib.metadata as m; m.version = lambda name: (_ for _ in ()).throw(m.PackageNotFoundError(name))\n"
        "import sys, mailhost.cli; print(mailhost.__file__); sys.argv = ['mailhost', '--version']; mailhost.cli.main()"
    )
    there = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=there, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        str(tmp_path / "mailhost/__init__.py"),
        f"mailhost, version {mailhost.__version__} (popbox)",
    ]


@pytest.mark.parametrize("argv", [["schema", "accounts"], ["--help"], ["mkpasswd", "--help"]])
def test_output_that_cannot_be_written_is_one_line(argv: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "mailhost", *argv]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (111, "mailhost: standard output: No space left on device\n")


def test_a_verb_whose_output_cannot_be_written_ends_with_its_own_code(tmp_path: Path) -> None:
    """Python's own was 120, with a line of its own: it tries to write what is left once more."""
    command = [sys.executable, "-m", "mailhost", "--home", str(tmp_path / "qmail")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*command, "init"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (111, "mailhost: standard output: No space left on device\n")
        assert subprocess.run([*command, "lint"], stdout=full, stderr=full, check=False).returncode == 111
