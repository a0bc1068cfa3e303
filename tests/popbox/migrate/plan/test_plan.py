"""``popbox migrate plan``: measured times where there are reports, and nothing that looks so where there are none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from popbox.cli.main import cli
from popbox.cli.migrate import migrate
from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify.judge.compare import compare
from popbox.migrate.verify.mailbox import Side
from popbox.migrate.verify.message import Message
from popbox.migrate.verify.report import SCHEMA, Report, SideReport, totals

HOSTS = ["--old", "old.example", "--new", "new.example"]
STAGES = ["days before: lower the ttl", "days before: presync, while the old host works"]
STAGES += ["freeze", "final pass", "verify", "switch", "roll back"]


def sheet(*options: str) -> str:
    done = CliRunner().invoke(migrate, ["plan", *HOSTS, *options], standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    return done.output


def verified(path: Path, equal: bool, content: bool = True) -> Path:
    """A report of one box, made by the code itself."""
    old = Side([Message(1, "a", 5), Message(2, "b", 7)])
    new = Side([Message(1, "a", 5), Message(2, "b" if equal else "c", 7)])
    box = compare("joe", "joe", old, new, ("rfc1939", "rfc1939"), False)
    side = SideReport(address="h:110", tls="none", profile="auto", profiles_seen={}, leaving="")
    report = Report(
        schema=SCHEMA,
        old=side,
        new=side,
        content=content,
        began="2026-11-26T12:00:00+00:00",
        took_s=75.0,
        resumed=0,
        totals=totals([box]),
        boxes=(box,),
    )
    path.write_text(report.as_json())
    return path


def imported(path: Path, final: bool, took_s: float, **more: Any) -> Path:
    kept = {"moved": 0, "removed": 0, "later": 0, "known": 0, "problems": 0, "copied": 9, "octets": 2048} | more
    path.write_text(json.dumps({"schema": "popbox.migrate-import/1", "final": final, "took_s": took_s, **kept}))
    return path


def test_without_reports_nothing_looks_measured(tmp_path: Path) -> None:
    text = sheet("--markdown", str(tmp_path / "s.md"), "--text", str(tmp_path / "s.txt"))
    assert text == ""
    for name in ("s.md", "s.txt"):
        written = (tmp_path / name).read_text()
        titles = re.findall(r"^(?:## )?\d\. ([^\[\n]*\w)", written, re.MULTILINE)
        assert [title.lower() for title in titles] == STAGES
        assert "no verification given. Do not switch." in written
        assert " measured:" not in written.replace("not measured:", "")
        assert written.count("not measured") >= 6


def test_each_command_of_the_sheet_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("boxes.csv", "FILE", "current"):
        Path(name).touch()
    sheet("--text", "s.txt")
    written = re.sub(r"/mnt/oldhost(?:/var/log/qmail)?|/var/qmail", ".", Path("s.txt").read_text())
    typed = re.findall(r"^ +popbox (.*)$", written, re.MULTILINE)
    assert len(typed) == 9
    for line in typed:
        words, command = line.split(), cli
        while isinstance(command, click.Group) and words[0][0] != "-":
            command = command.get_command(click.Context(command), words.pop(0))
        assert command
        command.make_context(command.name, words)  # raises where an option is unknown or missing


def test_times_are_those_of_the_reports(tmp_path: Path) -> None:
    reports = [
        ("--import-report", imported(tmp_path / "1", False, 3600.0)),
        ("--import-report", imported(tmp_path / "2", False, 60.0)),
        ("--import-report", imported(tmp_path / "3", True, 45.0, problems=2)),
        ("--verify-report", verified(tmp_path / "4", equal=True)),
    ]
    text = sheet("--ttl", "86400", *(str(word) for pair in reports for word in pair))
    assert "1:00:00 measured: 9 messages, 2.0 KiB]" in text
    assert "0:45 measured: 9 messages, 2.0 KiB, 2 PROBLEMS" in text
    assert "1:15 measured: 1 box, 2 messages" in text
    assert "2:00 of copying and comparing as measured" in text
    assert "24:00:00 (the TTL given)" in text
    assert "all of 1 box equal" in text
    assert "Do not switch" not in text


@pytest.mark.parametrize(("equal", "content", "said"), [(False, True, "1 box different"), (True, False, "content")])
def test_it_says_not_to_switch(tmp_path: Path, equal: bool, content: bool, said: str) -> None:
    text = " ".join(sheet("--verify-report", str(verified(tmp_path / "v", equal, content))).split())
    assert said in text
    assert "Do not switch." in text


def test_what_clients_will_see(tmp_path: Path) -> None:
    text = " ".join(sheet("--verify-report", str(verified(tmp_path / "v", equal=False))).split())
    assert "mpop): 0 messages a second time, 1 new ones" in text


@pytest.mark.parametrize(
    ("option", "content", "rule"),
    [
        ("--import-report", "{}", r"bad: schema: Field required"),
        ("--import-report", '{"schema": "x"}', r"bad: schema: String should match pattern"),
        ("--verify-report", "no json", r"bad: the file: Invalid JSON"),
    ],
)
def test_reports_that_are_none(tmp_path: Path, option: str, content: str, rule: str) -> None:
    (tmp_path / "bad").write_text(content)
    with pytest.raises(Unusable, match=rule):
        sheet(option, str(tmp_path / "bad"))


def test_reports_of_a_newer_popbox_are_read_for_what_is_known_of_them(tmp_path: Path) -> None:
    first = imported(tmp_path / "1", True, 45.0)
    second = verified(tmp_path / "2", equal=True)
    options = ("--import-report", str(first), "--verify-report", str(second))
    before = sheet(*options)
    for path in (first, second):
        said = json.loads(path.read_text())
        for table in [said, *(said[name] for name in ("old", "totals") if name in said), *said.get("boxes", [])]:
            table["x-added"] = {"any": 1}
        path.write_text(json.dumps(said))
    assert sheet(*options) == before


def test_a_report_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="cannot be read: No such file"):
        sheet("--verify-report", str(tmp_path / "none"))


def test_markdown_has_the_commands_and_boxes_to_tick(tmp_path: Path) -> None:
    sheet("--domain", "domain.com", "--no-dns", "--markdown", str(tmp_path / "s.md"))
    written = (tmp_path / "s.md").read_text()
    assert "- [ ] Change MX, and the name that clients use, of domain.com to new.example." in written
    assert "\n      popbox migrate verify --old old.example:110 --new new.example:110" in written


def test_the_commands_of_the_sheet_have_the_options_that_it_gives_them() -> None:
    """Also routes before the switch and the watch after it."""
    lines = [line.split()[2:] for line in sheet().splitlines() if line.strip().startswith("popbox migrate ")]
    assert {words[0] for words in lines} == {"audit", "import", "routes", "verify"}
    for verb, *words in lines:
        known = {option for param in migrate.commands[verb].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, (verb, words)
    text = sheet()
    assert (
        text.index("migrate routes") < text.index("6. SWITCH") < text.index("--watch 10") < text.index("7. ROLL BACK")
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "old host",
        "old;reboot",
        "$(id)",
        "fe80::1%$(id)",
        "old..example",
        "-old.example",
        "1.2.3",
        "a/b",
        "x" * 64,
    ],
)
@pytest.mark.parametrize("option", ["--old", "--new", "--domain"])
def test_names_that_are_no_hosts_are_refused(option: str, name: str) -> None:
    """The sheet has commands to paste."""
    words = [*HOSTS, "--no-dns", f"{option}={name}"]
    done = CliRunner().invoke(migrate, ["plan", *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Invalid value for '{option}': {name!r} is no " in done.stderr


@pytest.mark.parametrize(
    "name", ["old", "old.example.", "192.0.2.1", "2001:db8::1", "bücher.example", "XN--BCHER-KVA.example"]
)
def test_names_and_addresses_of_hosts_are_taken(name: str) -> None:
    assert name in sheet(f"--old={name}", "--no-dns")
