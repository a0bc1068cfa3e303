"""``mailhost commands`` and ``mailhost find``: what programs ask a mail host for."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from mailhost.cli import main
from mailhost.cli.verbs import programs

MAILHOST = [sys.executable, "-m", "mailhost"]


def commands(*lines: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*MAILHOST, "commands"], input=b"\n".join(lines), capture_output=True, check=False)


def line(*argv: str, stdin: bytes = b"") -> bytes:
    return json.dumps({"argv": argv, "stdin": base64.b64encode(stdin).decode()}).encode()


def answers(stdout: bytes) -> list[tuple[int, bytes, bytes]]:
    first, *lines = stdout.splitlines()
    assert first == b"ready"
    return [(code, base64.b64decode(out), base64.b64decode(err)) for code, out, err in map(json.loads, lines)]


def test_each_line_is_a_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    done = commands(
        line("--home", home, "init", "--me", "a.example"),
        line("--home", home, "no-such-verb"),
        line("mkpasswd", "--scheme", "des", "--password-stdin", stdin=b"secret\n"),
        line("--home", home, "domain", "list"),
    )
    assert done.returncode == 0
    made, unknown, hashed, listed = answers(done.stdout)
    assert (made[0], made[2]) == (0, b"")
    assert (tmp_path / "home/control/me").read_text() == "a.example\n"
    assert (unknown[0], unknown[1]) == (2, b"")
    assert b"No such command 'no-such-verb'" in unknown[2]
    assert hashed[0] == 0
    assert len(hashed[1].strip()) == 13
    assert listed[0] == 0, "an earlier command's failure has changed nothing for this one"


def test_what_a_verb_needs_is_imported_once_and_of_no_other_verb(tmp_path: Path) -> None:
    listed = line("--home", str(tmp_path), "domain", "list")
    told = [sys.executable, "-X", "importtime", "-m", "mailhost", "commands"]
    done = subprocess.run(told, input=b"\n".join([listed, listed]), capture_output=True, check=True)
    imported = [each.split()[-1] for each in done.stderr.splitlines()]
    assert imported.count(b"mailhost.cli.common") == 1
    assert b"mailhost.accounts.exposed" not in imported, "only `follow` needs it"


def test_a_short_question_to_the_rules_is_answered_as_the_program_does_from_files_read_now(tmp_path: Path) -> None:
    home, asked = str(tmp_path / "home"), b"joe@a.example\nann@a.example\n@\n\xff\nno newline"
    explain = line("--home", home, "explain", "--batch", stdin=asked)
    changes = [
        line("--home", home, "init", "--me", "mx.example"),
        line("--home", home, "domain", "add", "a.example"),
        line("--home", home, "mailbox", "add", "joe@a.example", "--crypt", "DmIMm9e5Hc8ic"),
        line("--home", home, "mailbox", "rename", "joe@a.example", "ann@a.example"),
    ]
    said = answers(commands(explain, *(one for change in changes for one in (change, explain))).stdout)
    program = [*MAILHOST, "--home", home, "explain", "--batch"]
    done = subprocess.run(program, input=asked, capture_output=True, check=False)
    assert said[-1] == (done.returncode, done.stdout, done.stderr)
    assert (said[0][0], said[0][1]) == (111, b""), "no home yet: the program itself says so"
    assert len({out for _, out, _ in said[::2]}) == 5, said


def test_a_short_question_takes_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = ["--home", str(tmp_path)]
    CliRunner().invoke(main, [*home, "init", "--me", "a.example"])
    monkeypatch.setattr(programs.os, "fork", Mock(side_effect=AssertionError))
    answer = programs._told([*home, "explain", "--batch"], b"joe@a.example\n")
    assert answer
    assert base64.b64decode(answer[1]).count(b"\n") == 2
    for other in ([*home, "explain", "--batch", "--steps"], ["explain", "--batch"], [*home, "explain", "a@b"], home):
        assert programs._told(other, b"") is None
    assert programs._told(["--home", f"{tmp_path}/x/..", "explain", "--batch"], b"") is None


@pytest.mark.parametrize("words", [b"words", b"{}", b'{"argv": ["a"], "stdin": 3}', b'{"argv": 3, "stdin": ""}'])
def test_what_is_no_command_ends_it_with_2(words: bytes) -> None:
    done = commands(words, line("--version"))
    assert (done.returncode, answers(done.stdout)) == (2, [])
    assert b"not a command" in done.stderr


def find(home: Path, *folders: str, texts: bytes = b"") -> list[tuple[list[object], bytes, bool]]:
    program = [*MAILHOST, "--home", str(home), "find", *folders]
    done = subprocess.run(program, input=texts, capture_output=True, check=True)
    assert done.stderr == b""
    lines = map(json.loads, done.stdout.splitlines())
    return [(entry, base64.b64decode(content), readable) for entry, content, readable in lines]


def test_find_prints_the_files_that_hold_a_text(tmp_path: Path) -> None:
    new = tmp_path / "popboxes/joe/Maildir/new"
    new.mkdir(parents=True)
    (new / "1").write_bytes(b"Subject: x\ntoken 1\n\xff")
    (new / "2").write_bytes(b"token 10\n")
    (tmp_path / "popboxes/link").symlink_to(new / "1")
    os.mkfifo(tmp_path / "popboxes/pipe")
    (new / "1").chmod(0o640)
    status = (new / "1").stat()
    [(entry, content, readable)] = find(tmp_path, "popboxes", texts=b"token 1\n")
    expected = ["popboxes/joe/Maildir/new/1", 0o640, status.st_uid, status.st_gid, 20, status.st_mtime]
    assert (entry, content, readable) == (expected, b"Subject: x\ntoken 1\n\xff", True)
    assert [entry[0] for entry, _, _ in find(tmp_path, "popboxes")] == [
        "popboxes/joe/Maildir/new/1",
        "popboxes/joe/Maildir/new/2",
    ]
    assert find(tmp_path, "popboxes/joe/Maildir/new/2", "popboxes/link")[0][1:] == (b"token 10\n", True)
    assert find(tmp_path, "no-such-folder", "popboxes/link", "popboxes/joe/Maildir/new/2/below") == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the tests run as root, who reads everything."""
    (tmp_path / "box").mkdir()
    (tmp_path / "box/1").touch()
    monkeypatch.setattr(programs.Path, "read_bytes", Mock(side_effect=PermissionError))
    done = CliRunner().invoke(main, ["--home", str(tmp_path), "find", "box"], input=b"x\n")
    [(entry, content, readable)] = map(json.loads, done.stdout.splitlines())
    assert (entry[0], content, readable) == ("box/1", "", False)
