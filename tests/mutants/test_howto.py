"""Every proof of the HOWTO can fail: for each scenario and each statement that it proves, a fault of the product.

howto.toml is the table. A fault is one text replaced in a copy of the mail host's package; the scenario runs on that
copy, on host local, and must be red. Scenarios mostly wait, so ROWS_AT_ONCE run at the same time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.needs import ROOT, lacks

from popbox.cli.main import cli
from popbox.errors import HostError

PRODUCT = ROOT / "images/mailhost/mailhost"
SCENARIOS = ROOT / "scenarios"
ROWS_AT_ONCE = 4 * (os.cpu_count() or 1)
WITHIN_S = 6.0  # for a step that says nothing: what a fault keeps away is waited for, in vain, this long
RUN_S = 240


@dataclass(frozen=True)
class Mutant:
    """A row of the table."""

    scenario: str
    proves: tuple[str, ...]
    file: str = ""
    old: str = ""
    new: str = ""
    not_here: str = ""

    def __str__(self) -> str:
        return f"{self.scenario}-{'+'.join(self.proves)}-{self.file}"


def rows() -> list[Mutant]:
    table = tomllib.loads(Path(__file__).with_name("howto.toml").read_text("utf-8"))["mutant"]
    plain = [{key.replace("-", "_"): value for key, value in row.items()} for row in table]
    return [Mutant(**{**row, "proves": tuple(row["proves"])}) for row in plain]


ROWS = rows()
HERE = [row for row in ROWS if not row.not_here]


def test_every_scenario_that_proves_a_statement_has_a_fault_that_turns_it_red() -> None:
    files = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in SCENARIOS.glob("*.toml")}
    claimed = {(name, statement) for name, table in files.items() for statement in table.get("proves", [])}
    broken = {(row.scenario, statement) for row in ROWS for statement in row.proves}
    assert claimed - broken == set(), "a new proof needs a row in tests/mutants/howto.toml"
    assert broken - claimed == set(), "no scenario says that it proves this"
    run = {statement for row in HERE for statement in row.proves}
    assert {statement for _, statement in claimed} == run, "each statement is broken on host local at least once"


@pytest.mark.parametrize("row", HERE, ids=str)
def test_what_a_fault_replaces_stands_there_once(row: Mutant) -> None:
    assert (PRODUCT / row.file).read_text("utf-8").count(row.old) == 1, f"{row.file}: write the fault for the new text"
    assert row.old != row.new


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> dict[Mutant, dict[str, str]]:
    """Each row's result: verdict, reason."""
    top = tmp_path_factory.mktemp("mutants")
    for path in (top, top.parent):
        path.chmod(0o755)  # popuser reads the package there
    with ProcessPoolExecutor(ROWS_AT_ONCE, multiprocessing.get_context("fork")) as pool:
        places = [top / str(number) for number in range(len(HERE))]
        return dict(zip(HERE, pool.map(tried, places, HERE), strict=True))


def tried(place: Path, row: Mutant) -> dict[str, str]:
    """Run the scenario on the mutated product, in a process that has loaded popbox already, and is its own."""
    half_written = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(PRODUCT, place / "mailhost", ignore=half_written)  # what is compiled too: the fault is younger
    mutated = place / "mailhost" / row.file
    mutated.write_text(mutated.read_text("utf-8").replace(row.old, row.new.removeprefix("\n")), "utf-8")
    shutil.copytree(SCENARIOS, place / "scenarios")
    scenario = place / "scenarios" / f"{row.scenario}.toml"
    text = scenario.read_text("utf-8")
    scenario.write_text(text.replace("[[step]]\n", f"[[step]]\nwithin-s = {WITHIN_S}\n"), "utf-8")
    report = place / "report.json"
    os.environ.update(PYTHONPATH=str(place), XDG_STATE_HOME=str(place))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(RUN_S)
    try:
        CliRunner().invoke(
            cli, ["run", str(scenario), "--host", "local", "--json", str(report)],
            catch_exceptions=False, standalone_mode=False,
        )  # fmt: skip
    except HostError as error:  # the fault keeps the host from coming up at all
        return {"verdict": "no host", "reason": str(error)}
    finally:
        signal.alarm(0)
    result: dict[str, str] = json.loads(report.read_text("utf-8"))["results"][0]
    return result


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", HERE, ids=str)
def test_a_fault_of_the_product_turns_its_proof_red(row: Mutant, red: dict[Mutant, dict[str, str]]) -> None:
    result = red[row]
    if result["verdict"] == "skipped" and "needs.chain" in result["reason"]:
        lacks("popuser's Python", result["reason"])
    if result["verdict"] == "skipped" and ".telnet: " in result["reason"]:
        lacks("mount namespace", result["reason"])
    assert result["verdict"] == "failed", f"{row.scenario} is {result['verdict']} with this fault: {result['reason']}"
    assert "no attribute" not in result["reason"], "the fault is no fault of behaviour, but a program that cannot run"
