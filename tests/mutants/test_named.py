"""Faults that once survived the whole suite: each is put into a copy of the product, and its tests must fail there.

named.toml is the table. The same tests pass on a copy without a fault, so that it is the fault that they fail by.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.needs import ROOT, require

PRODUCT = ROOT / "images/mailhost/mailhost"
FAULTS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("named.toml").read_text("utf-8"))["fault"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product, which popuser may read."""
    place = tmp_path_factory.mktemp("named")
    for path in (place, place.parent):
        path.chmod(0o755)
    shutil.copytree(PRODUCT, place / "mailhost", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def run(place: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_without_a_fault_they_all_pass(copy: Path) -> None:
    done = run(copy, *sorted({test for fault in FAULTS for test in fault["tests"]}))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["file"])
def test_a_fault_that_once_survived_is_caught(copy: Path, fault: dict[str, Any]) -> None:
    require(*([fault["needs"]] if "needs" in fault else []))
    mutated = copy / "mailhost" / fault["file"]
    sound = mutated.read_text("utf-8")
    assert sound.count(fault["old"]) == 1, f"{fault['file']}: write the fault for the new text"
    mutated.write_text(sound.replace(fault["old"], fault["new"]), "utf-8")
    try:
        done = run(copy, *fault["tests"])
    finally:
        mutated.write_text(sound, "utf-8")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-3000:]
    assert "\nFAILED " in done.stdout, "a test that cannot even begin proves nothing"
