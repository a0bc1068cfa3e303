"""The report of a load run: all of it in HTML, JSON by its schema, nothing fetched, no live text from outside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from tests.popbox.load.books import Written, ns

from popbox.load.books.outcome import SCHEMA, Outcome, outcome, schema
from popbox.load.books.samples import FILE, Sample
from popbox.load.books.series import KINDS, OTHERS
from popbox.load.books.world import World
from popbox.load.plan.budgets import Budgets
from popbox.load.report import pictures
from popbox.load.report.html import render

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """Three messages, one of them lost and one late, a fault, and hostile texts everywhere."""
    folder = tmp_path_factory.mktemp("run")
    books = Written(folder)
    books.sent("t1", at=1.0)
    books.fetched("t1", "u1", at=1.5)
    books.sent(HOSTILE, box=HOSTILE, at=2.0)
    books.sent("t3", at=4.0)
    books.fetched("t3", "u3", at=9.0)
    books.broke("kill", "smtp", 2.5, 3.5)
    books.worker.write("error", note=HOSTILE)
    books.worker.write("lag", took_us=1_000)
    books.ended()
    samples = [Sample(float(at), "pop3", 7, 1, 30_000, 20_000, 9, 1, 0.1) for at in range(20)]
    (folder / FILE).write_text("".join(one.line() for one in samples))
    World(host="local", mta="stand-in", title=HOSTILE).write(folder)
    return outcome(folder, Budgets(()).limits(("visible_p99=1s",))), folder


@pytest.fixture(scope="module")
def page(judged: tuple[Outcome, Path]) -> str:
    return render(*judged)


def test_the_page_has_no_live_text_from_outside_and_fetches_nothing(page: str) -> None:
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    outside = set(re.findall(r"https?://[^\s\"'<>]+", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not {one for one in outside if f'href="{one}"' in page or f'src="{one}"' in page}
    assert page.count("<svg") == 7
    assert "qmail" not in page


def test_the_page_is_alike_for_the_same_run(judged: tuple[Outcome, Path], page: str) -> None:
    assert render(*judged) == page


def test_behind_each_picture_there_is_a_table(page: str) -> None:
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert len(sections) == 7
    assert all("<svg" in one and "<table" in one for one in sections)
    assert "in the queue" in section_of(page, "Backlog")
    heat = next(one for one in sections if "How late" in one)
    assert re.findall(r"<th>(.*?)</th>", heat) == ["Second", "up to 512 ms", "up to 8.19 s"]
    assert re.findall(r"<td>(.*?)</td>", heat) == ["0", "1", "", "3", "", "1"]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture costs a fifth of a second of processor time."""
    monkeypatch.setattr(pictures, "drawn", lambda _: "<svg></svg>")


def section_of(page: str, title: str) -> str:
    [found] = [one for one in re.findall(r"<section.*?</section>", page, re.DOTALL) if f">{title}" in one]
    return str(found)


@pytest.mark.usefixtures("undrawn")
def test_errors_are_shown_by_reply_over_time_and_the_rare_ones_together(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", at=1.0)
    books.fetched("t1", "u1", at=8.0)
    full = "SMTP message: 451 full $1$"
    replies = [full, full, *(f"POP3 clients: -ERR {number}" for number in range(9))]
    for at, note in enumerate(replies, 1):
        books.worker.write("error", at_ns=ns(at), note=note)
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(()))
    kinds = {one.kind: one.counts for one in found.series.errors}
    assert len(kinds) == KINDS
    assert kinds[full] == ((0, 1), (1, 1))
    assert kinds["POP3 clients: -ERR 0"] == ((2, 1),)
    assert kinds[OTHERS] == ((8, 1), (9, 1), (10, 1))
    assert [one.kind for one in found.series.errors][:: KINDS - 1] == [full, OTHERS]
    section = section_of(render(found, tmp_path), "Errors")
    rows = re.findall(r"<tr><td>(\d+)</td>(.*?)</tr>", section.partition("Table over time")[2])
    places = [(at, re.findall(r"<td>(\d*)</td>", cells).index("1")) for at, cells in rows]
    assert places[:3] == [("0", 0), ("1", 0), ("2", 1)]


@pytest.mark.usefixtures("undrawn")
def test_the_backlog_is_shown_by_journal_and_by_queue(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", "joe@a", at=1.0)
    books.sent("t1", "ann@a", at=1.0)
    for at, many in ((1.2, 1), (1.8, 3), (3.0, 0)):
        books.stage.write("depth", at_ns=ns(at), octets=many)
    books.fetched("t1", "u1", at=4.0)
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(()))
    assert [(one.backlog, one.queue) for one in found.series.bins] == [(2, 3), (2, None), (2, 0), (1, None)]
    section = section_of(render(found, tmp_path), "Backlog")
    assert re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", section) == [
        ("0", "2", "3"), ("1", "2", ""), ("2", "2", "0"), ("3", "1", "")
    ]  # fmt: skip


def test_verbs_and_the_dialogue_are_measured_from_what_the_users_noted(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", took_us=9_000_000, late_us=8_000_000)
    books.fetched("t1", "u1")
    for took_us in (1_000, 3_000):
        books.worker.write("verb", note="UIDL", took_us=took_us)
    books.worker.write("delete", box="joe@a", uidl="u1", session=1, took_us=7_000)
    books.ended()
    figures = outcome(tmp_path, Budgets(()).limits(())).figures
    assert (figures.accept.p99, figures.dialogue.p99) == (9.0, 1.0)
    found = dict(figures.verbs)
    assert {name: (one.count, one.most) for name, one in found.items()} == {
        "UIDL": (2, 0.003), "RETR": (0, 0.0), "DELE": (1, 0.007), "QUIT": (0, 0.0)
    }  # fmt: skip


@pytest.mark.parametrize(("first", "seen", "fairness"), [("login", 305.5, 1.0), ("error", 605.5, 0.503)])
def test_fairness_counts_what_is_kept_from_visits_and_not_how_rare_they_are(
    tmp_path: Path, first: str, seen: float, fairness: float
) -> None:
    """ann's box is visited each 300 s, joe's each 10 s; the first visit to ann's after 250 begins at 305 s."""
    books = Written(tmp_path)
    for token, box, uidl, at in (("t1", "joe@a", "u1", 10.0), ("t2", "ann@a", "u2", seen)):
        books.sent(token, box, at=1.0)
        books.fetched(token, uidl, box, at=at)
    books.worker.write("login", at_ns=ns(9.5), box="joe@a", took_us=500_000)
    books.worker.write(first, at_ns=ns(305.5), box="ann@a", took_us=500_000)
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(()))
    assert found.figures.fairness == pytest.approx(fairness, abs=0.001)
    assert {box: kept for box, _, kept in found.series.boxes} == {"joe@a": 1.0, "ann@a": seen - 305.0}


def test_times_count_from_the_first_message_for_faults_as_for_mail(judged: tuple[Outcome, Path]) -> None:
    found, _ = judged
    assert [(one.from_s, one.until_s, one.took_s) for one in found.figures.recoveries] == [(1.5, 2.5, 0.5)]
    assert [(one.at, one.accepted, one.seen, one.backlog) for one in found.series.bins[:4]] == [
        (0, 1, 1, 0),
        (1, 1, 0, 1),
        (2, 0, 0, 1),
        (3, 1, 0, 2),
    ]
    assert found.figures.visible.most == pytest.approx(5.0)


def test_a_disk_of_mailboxes_has_recovered_when_a_message_accepted_since_is_listed(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", at=1.0)
    books.broke("fill", "popboxes", 2.0, 4.0)
    books.worker.write("login", box="joe@a", session=1, took_us=1)
    books.fetched("t1", "u1", at=4.5)
    books.sent("t2", at=5.0)
    books.fetched("t2", "u2", at=7.0)
    books.ended()
    [one] = outcome(tmp_path, Budgets(()).limits(())).figures.recoveries
    assert (one.target, one.took_s) == ("popboxes", 3.0)


def test_the_next_fault_is_no_part_of_a_recovery(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", at=1.0)
    books.broke("fill", "popboxes", 2.0, 4.0)
    books.broke("restart", "smtp", 4.5, 20.0)
    books.sent("t2", at=21.0)
    books.fetched("t2", "u2", at=22.0)
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(())).figures.recoveries
    assert [one.took_s for one in found] == [pytest.approx(2.5), pytest.approx(1.0)]


def test_a_fault_that_was_healed_as_the_load_ended_has_no_recovery_and_breaks_no_budget(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", at=1.0)
    books.fetched("t1", "u1", at=2.0)
    books.broke("kill", "smtp", 3.0, 5.0)
    books.sent("t2", at=6.0, said="refuse")
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(("recovery=30s",)))
    assert [(one.took_s, one.tried_s) for one in found.figures.recoveries] == [(None, 1.0)]
    assert found.exit_code == 0


def test_a_host_that_stays_away_for_half_a_minute_breaks_the_budget(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", at=1.0)
    books.fetched("t1", "u1", at=2.0)
    books.broke("kill", "smtp", 3.0, 5.0)
    books.sent("t2", at=40.0, said="refuse")
    books.ended()
    assert outcome(tmp_path, Budgets(()).limits(("recovery=30s",))).exit_code == 1


def test_the_exit_code_is_that_of_the_budgets_and_each_is_named(judged: tuple[Outcome, Path]) -> None:
    found, _ = judged
    assert found.not_judged == ()
    assert found.exit_code == 1
    assert {one.budget for one in found.budgets if not one.kept} == {"lost=0", "visible_p99=1s"}


def test_the_json_is_as_its_schema_says_and_the_schema_is_that_of_the_code(judged: tuple[Outcome, Path]) -> None:
    jsonschema.validate(json.loads(judged[0].as_json()), schema())
    assert json.loads(SCHEMA.read_text()) == schema()


def test_messages_that_were_seen_before_they_were_sent_are_no_verdict(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1", at=5.0)
    books.fetched("t1", "u1", at=2.0)
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(()))
    said = "seen before sent: 1 message; the machines' clocks differ"
    assert (found.exit_code, found.not_judged) == (3, (said,))


def test_a_budget_that_was_not_measured_is_no_pass(tmp_path: Path) -> None:
    books = Written(tmp_path)
    books.sent("t1")
    books.fetched("t1", "u1")
    books.ended()
    found = outcome(tmp_path, Budgets(()).limits(("rss_slope=1MB/h",)))
    assert (found.exit_code, found.not_judged) == (3, ("rss_slope was not measured",))


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("stage.journal", "the journal stage.journal is not here"),
        ("stage-drain.journal", "the journal stage-drain.journal is not here"),
        ("world.json", "world.json is not here: the run was killed before it was judged"),
    ],
)
def test_a_run_of_which_a_part_is_not_here_is_no_pass(tmp_path: Path, gone: str, said: str) -> None:
    books = Written(tmp_path)
    books.sent("t1")
    books.fetched("t1", "u1")
    books.ended()
    assert outcome(tmp_path, Budgets(()).limits(())).exit_code == 0
    (tmp_path / gone).unlink()
    found = outcome(tmp_path, Budgets(()).limits(()))
    assert (found.exit_code, found.not_judged) == (3, (said,))
