"""The screen Move: a verification while it runs, messages that differ, and a sheet whose ticks stay in its file."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.popbox.serve.api import TOKEN
from tests.popbox.serve.console.test_console import TAGS, judge
from tests.popbox.serve.visitor import Browser

from popbox.cli.moving import proof as proof_
from popbox.cli.moving.proof import StateProof
from popbox.journey.model import Kind
from popbox.migrate.plan.plan import Facts
from popbox.migrate.plan.text import markdown
from popbox.migrate.verify.result import Box, Count, Finding, Named, Verdict
from popbox.migrate.verify.state import State
from popbox.serve.app import application
from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.move.handed import Moving
from popbox.serve.move.sheet import Sheet, lines
from popbox.serve.rules import Rules

ABOUT = {"old": ["old:110"]}


def box(login: str, *findings: str, verdict: Verdict = Verdict.EQUAL) -> Box:
    named = Named(number=3, uidl="1.M2", size=9, subject="It is <b>gone</b>")
    found = tuple(Finding(kind="missing", said=one, old=named) for one in findings)
    verdicts = {"login": Verdict.EQUAL, "uidl": verdict, "content": Verdict.NOT_JUDGED}
    counts = {"old": Count(messages=4), "new": Count(messages=3)}
    return Box(
        login=login, new_login=login, verdicts=verdicts, reasons={"content": "no RETR"}, findings=found, **counts
    )


def browser(live: Live, moving: Moving, *, entered: bool = True) -> Browser:
    rules = Rules.at("127.0.0.1", 8025, host="local", mta="stand-in", keys=Keys(TOKEN))
    made = Browser(application(live, rules, moving=moving))
    if entered:
        made.enter(TOKEN)
    return made


def counts(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r'data-count="(\w+)"[^>]*><b>(\d+)</b>', text)}


def rows(text: str) -> list[tuple[str, str]]:
    return re.findall(r'<tr data-login="([^"]*)" data-verdict="(\w+)"', text)


def test_a_run_is_shown_while_it_goes_on_and_when_it_has_ended(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "state"
    tab = browser(live, Moving(proof=StateProof(path)))
    text = tab.get("/move").text
    assert "the verification has not begun" in text
    assert "data-every" in text
    state = State(path, ABOUT, 4)
    state.note(box("ann"))
    text = tab.get("/move").text
    assert (counts(text), rows(text)) == ({"equal": 1, "different": 0, "open": 3}, [("ann", "equal")])
    state.note(box("joe", "no such message", verdict=Verdict.DIFFERENT))
    state.note(box("sue"))
    text = tab.get("/move").text
    assert counts(text) == {"equal": 2, "different": 1, "open": 1}
    assert rows(text) == [("joe", "different"), ("ann", "equal"), ("sue", "equal")], "those that differ are first"
    assert rows(tab.get("/move?show=different").text) == [("joe", "different")]
    assert "data-every" in text
    assert "not judged yet" in text
    state.end(finished=True)
    text = tab.get("/move").text
    assert "data-every" not in text
    assert "The run has ended." in text
    assert "could not be asked" in text
    again = State(path, ABOUT, 2)
    again.note(box("ann"))
    text = tab.get("/move").text
    assert (counts(text), rows(text)) == ({"equal": 1, "different": 0, "open": 1}, [("ann", "equal")]), "a new run"


def test_a_line_that_is_being_written_counts_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "state"
    State(path, ABOUT, 2).note(box("ann"))
    whole, proof = path.read_bytes(), StateProof(path)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        progress, boxes = proof.look()
        assert (progress.equal, len(boxes), progress.problem) == (end == len(whole), end == len(whole), ""), end


def test_a_long_file_is_read_in_several_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path / "state", ABOUT, 50)
    for number in range(50):
        state.note(box(f"login-{number}"))
    state.end(finished=True)
    monkeypatch.setattr(proof_, "PIECE_OCTETS", 700)
    monkeypatch.setattr(proof_, "MOST_READ", 2)
    proof, looks, before = StateProof(tmp_path / "state"), 0, -1
    while not (progress := proof.look()[0]).ended:
        assert progress.equal >= before
        looks, before = looks + 1, progress.equal
    assert looks > 5
    assert (progress.equal, len(proof.look()[1]), progress.problem) == (50, 50, "")


@pytest.mark.parametrize(("text", "why"), [
    ("x\n", "no state file"), ('{"schema": "other"}\n', "no state file"), ("[1]\n", "no state file"),
    ('{"schema": "popbox.migrate-verify-state/1"}\n{}\n', "no box"),
])  # fmt: skip
def test_what_is_no_state_file_is_told_so(live: Live, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "state").write_text(text)
    assert why in browser(live, Moving(proof=StateProof(tmp_path / "state"))).get("/move").text


def test_a_box_shows_the_messages_that_differ(live: Live, tmp_path: Path) -> None:
    state = State(tmp_path / "state", ABOUT, 1)
    state.note(box("a&b", *(f"missing {number}" for number in range(130)), verdict=Verdict.DIFFERENT))
    tab = browser(live, Moving(proof=StateProof(tmp_path / "state")))
    [link] = re.findall(r'href="(/move/box[^"]+)"', tab.get("/move").text)
    text = tab.get(link).text
    assert text.count('data-kind="missing"') == 100
    assert "no. 3, UIDL 1.M2, 9 octets, It is &lt;b&gt;gone&lt;/b&gt;" in text
    assert "no RETR" in text
    [after] = re.findall(r'rel="next" href="([^"]+)"', text)
    assert tab.get(after.replace("&amp;", "&")).text.count('data-kind="missing"') == 30
    assert tab.get("/move/box?login=nobody").status_code == 404


def test_many_boxes_come_in_small_pages_and_no_login_is_markup(live: Live, tmp_path: Path) -> None:
    state = State(tmp_path / "state", ABOUT, 300)
    for text in (*TAGS, *(f"login-{number:03}@some.domain.example" for number in range(220))):
        state.note(box(text, text, verdict=Verdict.DIFFERENT))
    tab = browser(live, Moving(proof=StateProof(tmp_path / "state")))
    paths = ["/move", "/move?first=101", "/move?first=201", *(f"/move/box?login={quote(text)}" for text in TAGS)]
    answers = [(path, tab.get(path)) for path in paths]
    assert [one for path, got in answers for one in judge(path, got.status_code, got.content, dict(got.headers))] == []


def test_a_step_is_ticked_in_the_file_and_the_tick_is_taken_away(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    path.write_text(markdown(Facts("old.example", "new.example", ("a.example",))))
    path.chmod(0o640)
    before = path.read_text()
    tab = browser(live, Moving(sheet=Sheet(path)))
    steps = [one for one in lines(before) if one.kind == "step"]
    assert len(steps) > 5
    text = tab.follow(tab.send(tab.form("/move", "/move/ticks", key=steps[2].key))).text
    assert re.findall(r'data-step="([^"]+)" data-done="yes"', text) == [steps[2].key]
    ticked = path.read_text()
    assert [one.number for one in lines(ticked) if one.done] == [steps[2].number]
    assert ticked.replace("- [x]", "- [ ]") == before, "no other octet has changed"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir() if "plan" in one.name] == ["plan.md"]
    assert 'data-done="yes"' not in tab.follow(tab.send(tab.form("/move", "/move/ticks", key=steps[2].key))).text
    assert path.read_text() == before
    notes = [one.fields for one in live.store.events_since(0) if one.kind is Kind.NOTE]
    assert [(one["what"], one["outcome"]) for one in notes] == [("tick", "done"), ("untick", "done")]
    assert notes[0]["step"] == steps[2].text


def test_a_table_of_the_sheet_is_a_table(live: Live, tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("# What\n\n| a program | sees |\n|---|---|\n| x | <i>1</i> |\n| y | 2 |\n\nend\n")
    text = browser(live, Moving(sheet=Sheet(tmp_path / "plan.md"))).get("/move").text
    table = re.sub(r"\s", "", re.findall(r"<table[^>]* data-table>(.*?)</table>", text, re.DOTALL)[0])
    head = '<thead><tr><thscope="col">aprogram</th><thscope="col">sees</th></tr></thead>'
    first, second = '<tddata-of="aprogram">', '<tddata-of="sees">'
    rows = f"<tr>{first}x</td>{second}&lt;i&gt;1&lt;/i&gt;</td></tr><tr>{first}y</td>{second}2</td></tr>"
    assert table == f"{head}<tbody>{rows}</tbody>"


def test_a_sheet_that_was_changed_or_cannot_be_written_keeps_its_ticks(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    path.write_text("- [ ] one\n- [X] two\n")
    tab = browser(live, Moving(sheet=Sheet(path)))
    form = tab.form("/move", "/move/ticks", done="yes")
    path.write_text("- [ ] another\n- [X] two\n")
    answer = tab.send(form)
    assert (answer.status_code, "the sheet was changed" in answer.text) == (409, True)
    assert path.read_text() == "- [ ] another\n- [X] two\n"
    form = tab.form("/move", "/move/ticks", done="yes")
    path.unlink()
    path.mkdir()
    assert tab.send(form).status_code == 503


def test_who_has_not_entered_sees_the_sheet_and_ticks_nothing(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    path.write_text("# A\n\n- [ ] <script>alert(1)</script>\n\n      a command\n\n| a | b |\n|---|---|\n")
    tab = browser(live, Moving(sheet=Sheet(path)), entered=False)
    answer = tab.get("/move")
    assert judge("/move", answer.status_code, answer.content, dict(answer.headers)) == []
    assert 'data-locked="enter"' in answer.text
    assert "/move/ticks" not in answer.text
    assert '<a href="/move" aria-current="page">Move</a>' in tab.get("/move").text
    key = lines(path.read_text())[1].key
    assert tab.ask("POST", "/move/ticks", f"key={key}&done=yes").status_code == 401
    assert "[x]" not in path.read_text()


def test_without_a_move_there_is_no_such_screen(live: Live) -> None:
    tab = browser(live, Moving())
    assert tab.get("/move").status_code == 404
    assert 'href="/move"' not in tab.get("/").text
