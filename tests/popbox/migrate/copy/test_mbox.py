"""mbox files through audit and import: what is told, what ends with 1, and that one file is one mailbox."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.copy.test_accounts import left
from tests.popbox.migrate.copy.test_copy import passed, run
from tests.popbox.migrate.oldhosts import HASH, HOSTS, MBOX, audited, put, tree_of

from popbox.cli.migrate import migrate
from popbox.migrate.copy.mbox import MboxCopy
from popbox.migrate.oldhost.mboxes.split import Split
from popbox.migrate.oldhost.mboxes.survey import Reading, survey

FROM = "From sue@sender.example Mon Sep 10 01:46:40 2001\n"
BODY = f"From: x@y.example\nSubject: see\n\nsee:\n{FROM}From: z@y.example\n\ninner\n"
TORN = f"{MBOX}{FROM}{BODY}\n"
WRONG = MBOX.replace("Subject: first\n", "Subject: first\nContent-Length: 999\n")


def system(tmp_path: Path, mailbox: str | bytes) -> tuple[Path, Path]:
    """A host whose ben has this ~/Mailbox; and where it goes."""
    old = HOSTS["system"](tmp_path / "old")
    put(old / "home/ben/Mailbox", mailbox)
    return old, tmp_path / "new"


def report(old: Path, new: Path, *options: str) -> dict[str, Any]:
    """What an import says of ben's mbox."""
    run(old, new, *options, "--json", str(new.parent / "report.json"))
    told = json.loads((new.parent / "report.json").read_text())["mboxes"]
    return next(one for one in told if one["address"] == "ben@users.example")  # type: ignore[no-any-return]


def mbox_mail(new: Path, name: str) -> list[tuple[str, bytes]]:
    """Messages by date, as POP3 gives them: whether new or seen, and their octets."""
    files = sorted((new / f"popboxes/users-example/{name}/Maildir").glob("[cn]*/*"), key=lambda p: p.stat().st_mtime_ns)
    return [(path.parent.name + path.name[-5:], path.read_bytes()) for path in files]


def test_an_mbox_becomes_a_maildir_and_follows_the_old_one(tmp_path: Path) -> None:
    old, new = HOSTS["system"](tmp_path / "old"), tmp_path / "new"
    passed(old, new)
    first, second = mbox_mail(new, "ben")
    assert first[0] == "curx:2,S"
    assert b"\nFrom the start\n>From twice\n" in first[1]
    assert second == ("newopbox", b"Subject: second\n\ntwo\n")
    dates = [int(path.stat().st_mtime) for path in (new / "popboxes/users-example/ben/Maildir").glob("[cn]*/*")]
    assert sorted(dates) == [1_000_086_400, 1_000_172_800]
    names = set(tree_of(new / "popboxes/users-example/ben"))
    start = MBOX.index("From tim")
    third = "From x@y Sun Sep  9 01:46:40 2001\nSubject: third, and older\n\nthree\n\n"
    (old / "home/ben/Mailbox").write_text(MBOX[start:] + third)
    assert "copied 1 message" in passed(old, new)
    assert names < set(tree_of(new / "popboxes/users-example/ben")), "names stay, and nothing goes before --final"
    os.utime(old / "home/ben/Mailbox")
    assert "removed 1" in passed(old, new, "--final")
    assert [text for _, text in mbox_mail(new, "ben")] == [second[1], b"Subject: third, and older\n\nthree\n"]
    assert "copied 0" in passed(old, new, "--final")


def test_an_mbox_in_doubt_is_copied_and_named_by_each_pass(tmp_path: Path) -> None:
    old, new = HOSTS["system"](tmp_path / "old"), tmp_path / "new"
    patch = "From " + "a1" * 20 + " Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\ny\n\n"
    (old / "home/ben/Mailbox").write_text(MBOX + patch)
    for _ in range(2):
        result = run(old, new)
        assert result.return_value == 1
        assert "not done: ben@users.example: /home/ben/Mailbox:15: a From_ line of git is taken" in result.output
    assert [text.endswith(b"\ny\n") for _, text in mbox_mail(new, "ben")] == [False, True]


def test_the_notes_of_a_mail_reader_are_left_and_named(tmp_path: Path) -> None:
    old, new = HOSTS["system"](tmp_path / "old"), tmp_path / "new"
    notes = "From MAILER-DAEMON Mon Sep 10 01:46:40 2001\nSubject: FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nx\n\n"
    (old / "home/ben/Mailbox").write_text(notes + MBOX)
    passed(old, new)
    assert len(mbox_mail(new, "ben")) == 2
    assert "/home/ben/Mailbox: its first message is a mail reader's own notes" in (new / "not-carried.txt").read_text()


def test_the_dialect_and_the_parts_of_each_mbox_are_told(tmp_path: Path) -> None:
    old, new = system(tmp_path, MBOX)
    said = report(old, new)
    assert (said["file"], said["dialect"], said["line_ends"], said["quoting"]) == (
        "/home/ben/Mailbox",
        "mboxrd",
        "LF",
        "rd",
    )
    assert (said["messages"], said["doubts"], said["content_length"]) == (2, [], False)
    assert sum(said["parts"].values()) == said["octets"] == len(MBOX)
    assert (said["parts"]["quotes"], said["parts"]["separators"]) == (2, 2)
    out = passed(old, tmp_path / "again")
    assert (
        "mbox /home/ben/Mailbox: 2 messages, mboxrd, line ends LF; lines `>From ` (1, with more > 1) lose one >" in out
    )
    assert "in mboxo those with more than one would stay" in (tmp_path / "again/not-carried.txt").read_text()


def test_an_audit_tells_it_too(tmp_path: Path) -> None:
    old, _ = system(tmp_path, MBOX.replace("\n", "\r\n"))
    result = CliRunner().invoke(migrate, ["audit", str(old)], standalone_mode=False)
    assert "mbox /home/ben/Mailbox: 2 messages, mboxrd, line ends CRLF" in result.output
    result = CliRunner().invoke(migrate, ["audit", str(old), "--json"], standalone_mode=False)
    boxes = {box["address"]: box["mbox"] for box in json.loads(result.output)["boxes"]}
    assert boxes["ben@users.example"]["line_ends"] == "CRLF"
    assert boxes["cat@users.example"]["line_ends"] == "LF"
    assert boxes["ann@users.example"] is None


@pytest.mark.parametrize(
    ("mailbox", "place", "count"), [(TORN, "/home/ben/Mailbox:20", 3), (WRONG, "/home/ben/Mailbox:1", 2)]
)
def test_torn_evidence_is_named_by_line_and_ends_with_1(tmp_path: Path, mailbox: str, place: str, count: int) -> None:
    old, new = system(tmp_path, mailbox)
    for options in ([], [], ["--final"]):
        result = run(old, new, *options)
        assert (result.return_value, len(mbox_mail(new, "ben"))) == (1, count)
        assert f"not done: ben@users.example: {place}: " in result.output
    assert place in {str(one.where) for one in audited(old).findings if one.rule == "mbox-doubt"}


@pytest.mark.parametrize(
    ("mailbox", "boundaries", "count"), [(TORN, "any", 4), (TORN, "blank", 3), (WRONG, "blank", 2)]
)
def test_what_the_operator_decides_is_no_doubt(tmp_path: Path, mailbox: str, boundaries: str, count: int) -> None:
    old, new = system(tmp_path, mailbox)
    assert run(old, new).return_value == 1
    passed(old, new, "--mbox-boundaries", boundaries)
    passed(old, new, "--mbox-boundaries", boundaries, "--final")
    assert len(mbox_mail(tmp_path / "new", "ben")) == count


def test_a_quoting_that_the_operator_names_is_undone(tmp_path: Path) -> None:
    old, new = system(tmp_path, MBOX)
    assert report(old, new, "--mbox-quoting", "o")["notes"] == [
        "lines `>From ` (1, with more > 1) are read as --mbox-quoting o says"
    ]
    assert b"\nFrom the start\n>>From twice\n" in mbox_mail(new, "ben")[0][1]


def test_what_is_no_mbox_is_named_with_its_reason_and_ends_with_1(tmp_path: Path) -> None:
    old, new = system(tmp_path, gzip.compress(MBOX.encode(), mtime=0))
    result = run(old, new)
    assert result.return_value == 1
    assert (
        "/home/ben/Mailbox: does not begin with a From_ line: it is compressed by gzip: unpack it first"
        in result.output
    )


@pytest.mark.parametrize(("names", "what"), [(["1", "2", ".mh_sequences"], "an MH folder"), (["mbox"], "Apple Mail")])
def test_a_directory_in_the_place_of_an_mbox_is_lost_mail(tmp_path: Path, names: list[str], what: str) -> None:
    old, new = HOSTS["system"](tmp_path / "old"), tmp_path / "new"
    (old / "home/ben/Mailbox").unlink()
    for name in names:
        put(old / "home/ben/Mailbox" / name, MBOX)
    put(old / "home/ben/.qmail", "./Mailbox\n")
    result = run(old, new)
    assert result.return_value == 1
    assert [line for line in left(new) if line.startswith("/home/ben/Mailbox: mail: it is ") and what in line]


def test_of_a_file_that_grows_while_it_is_read_the_last_message_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = system(tmp_path, MBOX)

    def grown(body: Any, *rest: Any) -> Reading:
        return survey([*body, b"From tim@sender.example Tue Sep 11 01:46:40 2001\nSubject: ha"], *rest)

    monkeypatch.setattr("popbox.migrate.oldhost.mboxes.opened.survey", grown)
    monkeypatch.setattr("popbox.migrate.copy.mbox._check", lambda *_: None)
    assert "2 were moved, fetched or written to during the pass" in passed(old, new)
    monkeypatch.undo()
    passed(old, new)
    assert len(mbox_mail(new, "ben")) == 2


def test_parts_that_do_not_add_up_are_a_problem_of_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = system(tmp_path, MBOX)
    begin = Split._begin
    monkeypatch.setattr(Split, "_begin", lambda self, start: begin(self, start + b"."))
    result = run(old, new)
    assert result.return_value == 1
    assert "/home/ben/Mailbox: its parts do not add up: 2 messages" in result.output


def test_a_large_mbox_passes_through_a_file_of_ours_that_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = system(tmp_path, MBOX)
    monkeypatch.setattr("popbox.migrate.oldhost.mboxes.opened.SMALL_OCTETS", 10)
    beside: list[Path] = []
    plain = MboxCopy._beside
    monkeypatch.setattr(MboxCopy, "_beside", lambda self: beside.append(plain(self)) or beside[-1])
    passed(old, new)
    assert all(path.is_relative_to(new / "state") for path in beside)
    assert len(beside) == 2
    assert not list((new / "state").rglob("tmp*"))


def boxes(old: Path, new: Path) -> tuple[int, int]:
    """How many messages an audit counts for ben's address, and an import brings."""
    (held,) = [one for one in audited(old).held if one.box.address == "ben@users.example"]
    passed(old, new)
    return held.messages or 0, len(mbox_mail(new, "ben"))


@pytest.mark.parametrize(("real", "link"), [("mail", "spool/mail"), ("spool/mail", "mail")])
def test_a_spool_that_is_a_link_to_the_other_is_one_mailbox(tmp_path: Path, real: str, link: str) -> None:
    old = HOSTS["system"](tmp_path / "old")
    (old / "var/spool/mail/cat").unlink()
    (old / "var/spool/mail").rmdir()
    (old / "home/ben/Mailbox").unlink()
    put(old / "var" / real / "ben", MBOX)
    (old / "var" / link).symlink_to(f"/var/{real}")
    assert boxes(old, tmp_path / "new") == (2, 2)
    assert not [line for line in left(tmp_path / "new") if "more mail" in line]


@pytest.mark.parametrize("hard", [True, False])
def test_one_mbox_under_two_names_is_imported_once(tmp_path: Path, hard: bool) -> None:
    """As INSTALL.mbox of qmail has it: /var/spool/mail/ben is a link to ~ben/Mailbox."""
    old = HOSTS["system"](tmp_path / "old")
    other = old / "var/spool/mail/ben"
    other.hardlink_to(old / "home/ben/Mailbox") if hard else other.symlink_to("/home/ben/Mailbox")
    assert boxes(old, tmp_path / "new") == (2, 2)
    assert not [line for line in left(tmp_path / "new") if "more mail" in line]


def test_two_files_are_still_two(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    put(old / "var/spool/mail/ben", MBOX)
    result = run(old, tmp_path / "new")
    assert result.return_value == 1
    assert "lost: /var/spool/mail/ben: more mail of ben" in result.output


def test_two_accounts_with_one_mbox_are_one_mailbox_and_a_login_that_is_lost(tmp_path: Path) -> None:
    old, new = HOSTS["system"](tmp_path / "old"), tmp_path / "new"
    (old / "var/spool/mail/cat").unlink()
    (old / "var/spool/mail/cat").hardlink_to(old / "home/ben/Mailbox")
    result = run(old, new)
    assert result.return_value == 1
    assert "lost: /etc/shadow:4: login cat: ben@users.example has ben already" in result.output
    assert len(list((new / "popboxes").rglob("[cn]*/*.popbox*"))) == 2
    assert HASH in (new / "accounts.toml").read_text()
