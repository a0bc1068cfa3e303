"""A short run on this machine, broken once: every message is accounted for, and what a journal lacks is missed."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.popbox.cli.test_cli import popbox
from tests.popbox.load.broken import expected

from popbox.cli.main import cli
from popbox.errors import UnusableError
from popbox.load.books.journal import FETCH_ENDED
from popbox.load.books.outcome import outcome
from popbox.load.books.samples import read as samples
from popbox.load.plan.budgets import Budgets
from popbox.load.report import pictures

SHORT = """
title = "short"
for = "8s"
users = 6
[accounts]
mailboxes = 6
[user.office]
kind = "sender"
weight = 2
rate = 4.0
recipients = [1, 2]
[user.clients]
kind = "fetcher"
every = "1s"
[user.keepers]
kind = "hoarder"
every = "1s"
keep = 2
[user.rude]
kind = "rude"
count = 1
rate = 2.0
[user.moves]
kind = "mover"
every = "1s"
[[fault]]
at = "3s"
kill = "smtp"
for = "1s"
[budgets]
backlog_end = 0
"""


pytestmark = pytest.mark.slow  # begins early: its one run is long


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run's folder and what it said."""
    place = tmp_path_factory.mktemp("load")
    (place / "short.toml").write_text(SHORT)
    words = ("load", str(place / "short.toml"), "--report", str(place / "out"), "--host", "local", "--processes", "2")
    done = popbox(*words, state=place)
    assert done.returncode == expected(0, done.stdout), done.stdout + done.stderr
    return place / "out", done.stdout


def test_each_message_that_was_accepted_is_fetched_once(ran: tuple[Path, str]) -> None:
    table = json.loads((ran[0] / "load.json").read_text())
    assert table["verdict"]["accepted"] >= 10
    # What was delivered just before the kill may be delivered once more; what the end cut off is handed out again.
    explained = [one for one in table["verdict"]["cases"] if one["verdict"] == "explained"]
    assert not [one for one in explained if "kill smtp" not in one["why"] and FETCH_ENDED not in one["why"]]
    assert table["verdict"]["counts"]["once"] + len(explained) >= table["verdict"]["accepted"]
    assert [text for text in table["world"]["faults"] if re.fullmatch(r"kill smtp at \d+\.\d s", text)]
    assert (table["world"]["host"], table["world"]["mta"]) == ("local", "stand-in")
    assert {verb for verb, one in table["figures"]["verbs"] if one["count"]} == {"UIDL", "RETR", "DELE", "QUIT"}
    assert {"KiB in the log of smtp", "KiB in the log of pop3", "files in tmp/"} <= set(table["world"]["leftovers"])
    assert {"smtp", "pop3", "worker 1", "worker 2"} <= {one.who for one in samples(ran[0])}
    assert "qmail" not in ran[1]


def test_mailboxes_that_got_another_name_have_their_mail_from_before_and_after(ran: tuple[Path, str]) -> None:
    lines = [line.split("\t") for line in (ran[0] / "stage-mover-moves.journal").read_text().splitlines()]
    accepted, fetched = ({(line[4], line[3]) for line in lines if line[2] == event} for event in ("accept", "fetch"))
    assert 2 in Counter(box for box, _ in accepted).values(), "no mailbox got its other name"
    assert accepted <= fetched
    assert not [line for line in lines if line[2] == "error" and "ended with" in line[-1]]


def test_a_message_that_was_not_fetched_is_lost_when_the_run_is_judged_again(
    ran: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = ran
    monkeypatch.setattr(pictures, "drawn", lambda _: "<svg></svg>")  # those of the run itself were drawn
    code = cli.main(["load", "judge", str(folder)], standalone_mode=False)
    said = capsys.readouterr().out
    assert code == expected(0, said), said
    token = _forget_one(folder)
    judged = outcome(folder, Budgets(()).limits(()))
    assert judged.exit_code == expected(1, said), said
    assert ("lost", token) in {(one.verdict, one.token) for one in judged.verdict.cases}


def _forget_one(folder: Path) -> str:
    """Let the journals say nothing of the arrival of a message that was accepted; its token."""
    journals = {path: [line.split("\t") for line in path.read_text().splitlines()] for path in folder.glob("*.journal")}
    accepted, fetched = (
        {line[3] for lines in journals.values() for line in lines if line[2] == event} for event in ("accept", "fetch")
    )
    token = min(accepted & fetched)  # one that the kill left unsure would not be missed
    for path, lines in journals.items():
        kept = [line for line in lines if line[2] != "fetch" or line[3] != token]
        path.write_text("\n".join("\t".join([str(number), *line[1:]]) for number, line in enumerate(kept, 1)) + "\n")
    return token


def test_a_journal_that_is_missing_is_no_verdict(ran: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = ran
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    gone = next(path for path in tmp_path.glob("*.journal") if not path.name.startswith("stage"))
    gone.unlink()
    judged = outcome(tmp_path, Budgets(()).limits(()))
    assert judged.exit_code == 3
    assert f"the journal {gone.name} is not here" in judged.not_judged


def test_a_folder_that_is_not_empty_is_left_alone(ran: tuple[Path, str], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    words = ["load", str(ran[0].parent / "short.toml"), "--report", str(tmp_path), "--host", "local"]
    with pytest.raises(UnusableError, match="not empty"):
        cli.main(words, standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
