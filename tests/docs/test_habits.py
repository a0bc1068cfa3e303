"""What contributors and CI are told to run exists: targets of make, paths in the Makefile, hooks, workflows, forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.reference.manual import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE))
FORMS = sorted((ROOT / ".github").rglob("*.yml"))
TOLD = [ROOT / ".github/CONTRIBUTING.md", ROOT / "tests/README.md", ROOT / "README.md", *FORMS, ROOT / ".ci/run"]


def test_each_path_that_the_makefile_names_exists() -> None:
    """pytest runs nothing at all where one of the paths that it is given is not there."""
    named = re.findall(r"(?<![\w/.])(?:tests|harness|images|\.github)/[\w./-]*\w", MAKEFILE)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists() and not list(ROOT.glob(f"{path}*"))] == []


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.name)
def test_each_target_of_make_that_a_text_names_exists(path: Path) -> None:
    named = set(re.findall(r"(?:`|run: |^\s*)make ([a-z-]+)", path.read_text(), re.MULTILINE))
    assert named <= TARGETS, f"{path} names {named - TARGETS}"


def test_a_target_that_is_not_there_is_noticed() -> None:
    assert {"check", "test", "docs", "coverage"} <= TARGETS
    assert "chekc" not in TARGETS


def test_the_hooks_are_the_commands_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".ci/pre-commit.yaml").read_text())["repos"][0]["hooks"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert lint
    commands = {line.strip().replace("$(VENV)", ".venv") for line in lint[1].splitlines()}
    assert commands == {hook["entry"] for hook in hooks if hook["id"] != "texts"}


def workflow(name: str) -> dict[Any, Any]:
    return dict(yaml.safe_load((ROOT / ".github/workflows" / name).read_text()))


def commands(jobs: dict[str, Any]) -> list[str]:
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_ci_is_the_projects_own_command_and_all_versions_of_python() -> None:
    jobs = workflow("ci.yml")["jobs"]
    assert ".ci/run" in commands(jobs)
    assert jobs["python"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert "make mutants" in commands(workflow("nightly.yml")["jobs"])


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_asks_for_no_more_rights_than_it_names(path: Path) -> None:
    read = workflow(path.name)
    assert "permissions" in read
    assert all("timeout-minutes" in job for job in read["jobs"].values())
    for command in commands(read["jobs"]):
        program = command.split()[0]
        assert not program.startswith(".ci/") or (ROOT / program).exists()


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.name
)
def test_a_form_has_what_github_wants_of_it(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert form["name"]
    assert form["description"]
    assert all(part["type"] in ("textarea", "input") and part["attributes"]["label"] for part in form["body"])
