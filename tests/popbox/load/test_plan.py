"""Load files and budgets: what is wrong is named by file, table and key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from popbox.cli import load
from popbox.cli.main import main
from popbox.errors import ScenarioError
from popbox.load.plan.budgets import budget
from popbox.load.plan.read import from_table, schema_text
from popbox.load.plan.spec import Spec
from popbox.load.stage.faults import timeline
from popbox.scenario.load import table_of

LOADS = sorted(Path("scenarios/load").glob("*.toml"))
SENDER = {"kind": "sender", "rate": 1.0}


def plan(**more: Any) -> dict[str, Any]:
    return {"title": "t", "for": "10s", "user": {"office": SENDER}, **more}


@pytest.mark.parametrize("path", LOADS, ids=lambda path: path.stem)
def test_each_file_that_comes_with_popbox_can_be_read(path: Path) -> None:
    assert from_table(table_of(path.read_text(), path), str(path)).classes


def test_the_schema_beside_them_is_that_of_the_reader() -> None:
    assert Path("scenarios/load/load.schema.json").read_text() == schema_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"for": 10}, "for: a length of time in quotes is wanted"),
        ({"for": "10 parsecs"}, "for: 500ms, 30s, 5m or 8h is wanted"),
        ({"user": {}}, "user: "),
        (
            {"user": {"office": {**SENDER, "speed": 3}}},
            "user.office.speed: unknown key; known here: weight, count, kind, rate, arrivals, ",
        ),
        ({"user": {"office": {"kind": "sendr", "rate": 1.0}}}, "user.office: "),
        ({"user": {"office": {**SENDER, "rate": "1"}}}, "user.office.rate: "),
        ({"user": {"readers": {"kind": "fetcher", "every": "1s"}}}, "a run without a sender proves nothing"),
        ({"fault": [{"at": "1s"}]}, "fault 1: give exactly one of"),
        ({"fault": [{"at": "1s", "kill": "smtp", "stop": "pop3"}]}, "fault 1: give exactly one of"),
        ({"fault": [{"at": "11s", "kill": "smtp"}]}, "comes after the end of the load"),
        ({"for": "0s"}, "for: "),
        ({"user": {"office": {**SENDER, "rate": 1e-300}}}, "user.office.rate: "),
        ({"user": {"office": SENDER, "clients": {"kind": "fetcher", "every": "0s"}}}, "user.clients.every: "),
        (
            {"user": {"office": SENDER, "clients": {"kind": "fetcher", "every": "1s", "share": float("inf")}}},
            "user.clients.share: ",
        ),
        ({"user": {"office": SENDER, "move": {"kind": "mover", "every": "0ms"}}}, "user.move.every: "),
        ({"phase": [{"at": "1s", "pace": 1e-300}]}, "phase 1.pace: "),
        ({"spawn-rate": float("inf")}, "spawn-rate: "),
        ({"budgets": {"lots": 0}}, "'lots' is not measured; known are lost, "),
        ({"budgets": {"accept_p99": "250 MB"}}, "budgets: "),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        from_table(plan(**change), "x.toml")
    assert str(error.value).startswith("x.toml: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "value", "kept"),
    [
        ("lost=0", 0, True),
        ("lost=0", 1, False),
        ("accept_p99=250ms", 0.25, True),
        ("accept_p99=250ms", 0.251, False),
        ("fairness>=0.9", 0.9, True),
        ("fairness>=0.9", 0.89, False),
        ("rss_slope=1MB/h", 1.0, True),
        ("rss_slope<=1MB/h", 1.1, False),
        ("descriptors_slope=2/h", 2.1, False),
        ("threads_slope=0/h", 0.0, True),
    ],
)
def test_a_budget_is_kept_or_broken(text: str, value: float, kept: bool) -> None:
    assert budget(text).kept(value) is kept


def test_the_later_budget_for_a_measure_holds_and_loss_is_never_forgotten() -> None:
    limits = from_table(plan(budgets={"doubled": 3}), "x").budgets.limits(("doubled=5", "accept_p50=1s"))
    assert {one.measure: one.limit for one in limits} == {
        **dict.fromkeys(("lost", "altered", "misdelivered", "renumbered", "returned", "strangers"), 0.0),
        "doubled": 5.0,
        "accept_p50": 1.0,
    }


def test_the_seed_alone_decides_the_faults() -> None:
    drawn = {"every": ["2s", "3s"], "for": ["1s", "1s"], "of": [{"kill": "smtp"}, {"pause": "pop3"}]}
    table = plan(**{"for": "60s", "random-faults": drawn})
    once, again = (list(timeline(from_table(table, "x"))) for _ in range(2))
    assert once == again
    assert len(once) >= 10
    assert list(timeline(from_table({**table, "seed": 2}, "x"))) != once


def test_a_spec_is_read_as_it_was_written_and_by_its_owner_alone(tmp_path: Path) -> None:
    from popbox.clients.wire import Address

    accounts = {"domains": 3, "mailboxes": 4}
    spec = Spec("r", plan(accounts=accounts), Address("127.0.0.1", 1), Address("::1", 2), "secret", str(tmp_path), 2)
    spec.write(tmp_path / "spec.json")
    assert Spec.read(tmp_path / "spec.json") == spec
    assert (tmp_path / "spec.json").stat().st_mode & 0o777 == 0o600
    assert len({spec.box(number) for number in range(spec.boxes)}) == 12


def test_each_fault_comes_once_before_one_comes_again() -> None:
    of = [{"kill": "smtp"}, {"pause": "pop3"}, {"fill": "queue"}, {"read-only": "popboxes"}]
    drawn = {"every": ["2s", "3s"], "for": ["1s", "1s"], "of": of}
    kinds = [one.kind for one in timeline(from_table(plan(**{"for": "60s", "random-faults": drawn}), "x"))]
    rounds = [set(kinds[at : at + 4]) for at in range(0, 12, 4)]
    assert rounds == [{"kill", "pause", "fill", "read-only"}] * 3


def test_a_file_is_run_with_the_word_run_and_without(tmp_path: Path) -> None:
    """README and `--help` name it; it was taken for the file's name."""
    from click.testing import CliRunner

    from popbox.cli.load import load

    (tmp_path / "x.toml").write_text("title = 1\n")
    said = [CliRunner().invoke(load, [*words, str(tmp_path / "x.toml")]) for words in ([], ["run"])]
    assert "x.toml: for: this key is required" in str(said[0].exception)
    assert str(said[0].exception) == str(said[1].exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "lots=0"], "--budget: 'lots' is not measured; known are lost, "),
        (["--master", "192.0.2.1:5557"], "--master 192.0.2.1:5557: Cannot assign requested address"),
        (["--worker", "127.0.0.1:5557"], "x.toml: is not as `popbox load run` wrote it"),
        (["--report", "."], "not empty; a run has a folder of its own"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_before_a_host_is_brought_up(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "x.toml").write_text(tomli_w.dumps(plan()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["popbox", "load", "x.toml", "--report", "out", *words])
    monkeypatch.setattr(load, "_host", None)  # it is not asked for one
    assert main() == 2
    error = capsys.readouterr().err
    assert (said in error, error.count("\n")) == (True, 1), error
