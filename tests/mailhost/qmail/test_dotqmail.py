"""Finding and reading .qmail: Q-LOCAL-1..6, Q-DOT-*, Q-LINE-*, E-37..E-48."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mailhost.qmail.support import GID, UID, Home

from mailhost.qmail.asuser import as_user
from mailhost.qmail.dotqmail import (
    BLANK_FIRST,
    FILE_AND_X,
    FILE_WRITABLE,
    HOME_STICKY,
    HOME_WRITABLE,
    NO_MAILBOX,
    PROG_AND_X,
    USAGE,
    Found,
    Kind,
    check_home,
    find,
    names,
    parse,
    safe,
)
from mailhost.qmail.failure import Failure


def path(place: Path) -> bytes:
    return os.fsencode(place)


def found(place: Path, dash: bytes, ext: bytes) -> Found:
    result = find(path(place), dash, ext)
    assert isinstance(result, Found)
    return result


def kinds(text: bytes, executable: bool = False) -> list[tuple[str, bytes]]:
    return [(line.kind.value, line.argument) for line in parse(text, executable)]


@pytest.mark.parametrize(
    ("dash", "ext", "tried"),
    [
        ("", "", ".qmail .qmaildefault"),
        ("", "-lists", ".qmail-lists .qmail-default .qmaildefault"),
        ("", "y", ".qmaily .qmaildefault"),
        ("", ".x", ".qmail:x .qmaildefault"),
        ("-", "", ".qmail- .qmail-default"),
        ("-", "lists", ".qmail-lists .qmail-default"),
        ("-", "a-B.c", ".qmail-a-b:c .qmail-a-default .qmail-default"),
        ("-", "a-b-", ".qmail-a-b- .qmail-a-b-default .qmail-a-default .qmail-default"),
        ("-", "foo--x", ".qmail-foo--x .qmail-foo--default .qmail-foo-default .qmail-default"),
    ],
)
def test_b_4_q_dot_1_2_3_4_5_the_names_in_order(dash: str, ext: str, tried: str) -> None:
    assert names(dash.encode(), ext.encode()) == tuple(tried.encode().split())


def test_e_39_e_41_q_dot_1_dots_become_colons_so_nothing_escapes() -> None:
    assert safe(b"A.B/../C") == b"a:b/::/c"
    assert names(b"-", b"A.B")[0] == names(b"-", b"a:b")[0] == b".qmail-a:b"


@given(st.binary(max_size=3), st.binary(max_size=12))
def test_names_begin_and_end_as_they_must_and_never_hold_a_dot_from_outside(dash: bytes, ext: bytes) -> None:
    tried = names(dash, ext)
    assert tried[0] == b".qmail" + dash + safe(ext)
    assert tried[-1] == b".qmail" + dash + b"default"
    assert all(name.endswith(b"default") for name in tried[1:])
    assert not any(b".." in name.removeprefix(b".qmail" + dash) for name in tried)


def test_e_37_h_16_q_dot_4_an_empty_dash_does_not_try_qmail_default(tmp_path: Path) -> None:
    (tmp_path / ".qmail-default").write_text("./Maildir/\n")
    nothing = found(tmp_path, b"", b"")
    assert (nothing.name, nothing.text, nothing.tried) == (None, b"", (b".qmail", b".qmaildefault"))
    (tmp_path / ".qmaildefault").write_text("./Maildir/\n")
    assert found(tmp_path, b"", b"").name == b".qmaildefault"
    (tmp_path / ".qmail").write_text("&a@b\n")
    (tmp_path / ".qmail").chmod(0o700)
    there = found(tmp_path, b"", b"")
    assert there == Found(b".qmail", b"&a@b\n", mode=0o100700, default=None, tried=())
    assert there.executable


def test_h_13_q_dot_5_an_extension_with_an_empty_dash_never_reaches_qmail(tmp_path: Path) -> None:
    (tmp_path / ".qmail").write_text("./Maildir/\n")
    assert found(tmp_path, b"", b"-lists").name is None
    (tmp_path / ".qmail-default").write_text("./Maildir/\n")
    assert found(tmp_path, b"", b"-lists").name == b".qmail-default"
    assert found(tmp_path, b"", b"y").name is None


def test_e_38_q_dot_6_only_a_dash_bounces(tmp_path: Path) -> None:
    assert find(path(tmp_path), b"-", b"x") == NO_MAILBOX
    assert NO_MAILBOX.permanent
    assert found(tmp_path, b"", b"x").name is None


def test_e_40_q_dot_7_what_counts_as_absent(tmp_path: Path) -> None:
    (tmp_path / ".qmail-x").mkdir()
    os.mkfifo(tmp_path / ".qmail-fifo")
    (tmp_path / ".qmail-dangling").symlink_to("nowhere")
    (tmp_path / ".qmail-loop").symlink_to(".qmail-loop")
    (tmp_path / ".qmail-default").write_text("#\n")
    for ext in (b"x", b"fifo", b"dangling", b"loop", b"a/b", b"y" * 300):
        assert found(tmp_path, b"-", ext).name == b".qmail-default"


def test_e_40_q_dot_7_an_unreadable_file_defers(host: Home) -> None:
    box = host.box("joe", dot_qmail="./Maildir/\n")
    (box / ".qmail").chmod(0)
    result = as_user(UID, GID, lambda: find(path(box), b"", b""))
    assert result == Failure(permanent=False, text="Unable to open .qmail: access denied. (#4.3.0)")


@pytest.mark.parametrize(("mode", "ok"), [(0o602, False), (0o646, False), (0o620, True), (0o660, True), (0o400, True)])
def test_e_44_q_dot_8_only_writing_by_others_defers(tmp_path: Path, mode: int, ok: bool) -> None:
    (tmp_path / ".qmail").write_text("#\n")
    (tmp_path / ".qmail").chmod(mode)
    result = find(path(tmp_path), b"", b"")
    assert (result == FILE_WRITABLE) is not ok


@pytest.mark.parametrize(
    ("name", "ext", "default"),
    [(".qmail-foo-default", "foo-X.y", b"X.y"), (".qmail-default", "Foo-x", b"Foo-x"), (".qmail-foo", "foo", None),
     (".qmail-a-default", "a-Default", b"Default"), (".qmail-default", "dEFAULT", b"dEFAULT"),
     (".qmail-xdefault", "XDefault", b"Default"), (".qmail-foo-default", "foo-", b"")],
)  # fmt: skip
def test_q_dot_10_what_default_is(tmp_path: Path, name: str, ext: str, default: bytes | None) -> None:
    (tmp_path / name).write_text("#\n")
    assert found(tmp_path, b"-", ext.encode()).default == default


def test_e_45_q_dot_9_the_x_bit_of_the_owner_means_forwards_only(tmp_path: Path) -> None:
    dot = tmp_path / ".qmail"
    dot.write_text("&a@b\n./Maildir/\n&c@d\n")
    for mode, executable in ((0o700, True), (0o611, False)):
        dot.chmod(mode)
        assert found(tmp_path, b"", b"").executable is executable
    lines = parse(dot.read_bytes(), executable=True)
    assert [(line.kind, line.failure) for line in lines] == [(Kind.FORWARD, None), (Kind.MAILDIR, FILE_AND_X)]
    assert parse(b"|true\n", executable=True)[0].failure == PROG_AND_X
    assert kinds(b"", executable=True) == [("mbox", b"./Mailbox")]
    assert parse(b"", executable=True)[0].failure is None


def test_e_42_q_line_1_empty_means_default_delivery_and_comments_mean_nowhere() -> None:
    assert kinds(b"") == [("mbox", b"./Mailbox")]
    assert kinds(b"# nothing\n#\n") == []


@pytest.mark.parametrize("text", [b"\n./Maildir/\n", b" \t\n", b"\0./Maildir/\n"])
def test_e_43_q_line_2_a_blank_first_line_defers(text: bytes) -> None:
    (line,) = parse(text)
    assert line.failure == BLANK_FIRST
    assert not BLANK_FIRST.permanent


def test_e_43_q_line_2_later_blank_lines_are_nothing() -> None:
    assert kinds(b"#\n\n \t\n./Maildir/\n\n") == [("maildir", b"./Maildir/")]
    assert parse(b"", default=b"")[0].failure == BLANK_FIRST


def test_q_line_3_trailing_blanks_go_and_carriage_returns_stay() -> None:
    assert kinds(b"./Maildir/ \t\n./Maildir/\r\n./Maildir/") == [
        ("maildir", b"./Maildir/"), ("mbox", b"./Maildir/\r"), ("maildir", b"./Maildir/"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "kind", "argument"),
    [("|cat >x", "program", "cat >x"), ("./Mailbox", "mbox", "./Mailbox"),
     ("/abs/Maildir/", "maildir", "/abs/Maildir/"),
     ("&a@b", "forward", "a@b"), ("a@b", "forward", "a@b"), ("&", "forward", ""), ("& a@b", "forward", " a@b"),
     ("Maildir/", "forward", "Maildir/"), ("~/Maildir/", "forward", "~/Maildir/"),
     (" ./Maildir/", "forward", " ./Maildir/"),
     ('"./Maildir/"', "forward", '"./Maildir/"'), ("./Maildir", "mbox", "./Maildir"),
     ("./Maildir/ # note", "mbox", "./Maildir/ # note"), ("&<a@b>", "forward", "<a@b>"), ("*x", "forward", "*x")],
)  # fmt: skip
def test_e_46_e_47_e_48_q_line_4_5_7_the_first_byte_decides(line: str, kind: str, argument: str) -> None:
    assert kinds(line.encode() + b"\n") == [(kind, argument.encode())]


def test_q_line_6_plus_list_is_forwards_only_from_here() -> None:
    lines = parse(b"./Maildir/\n+list\n+other\n&a@b\n|true\n&c@d\n")
    assert [(line.kind, line.line, line.failure) for line in lines] == [
        (Kind.MAILDIR, 1, None), (Kind.FORWARD, 4, None), (Kind.PROGRAM, 5, PROG_AND_X),
    ]  # fmt: skip


def test_q_line_8_default_delivery_may_have_several_lines() -> None:
    lines = parse(b"", default=b"./Maildir/\n&a@b")
    assert [line.argument for line in lines] == [b"./Maildir/", b"a@b"]


@given(st.binary(max_size=60), st.booleans())
def test_any_text_is_read_without_an_exception_and_stops_at_the_first_failure(text: bytes, executable: bool) -> None:
    lines = parse(text, executable)
    assert all(line.failure is None for line in lines[:-1])
    assert all(not line.argument.endswith((b" ", b"\t")) for line in lines)


def test_e_33_q_local_1_a_relative_home_bounces() -> None:
    assert check_home(b"box/joe") == USAGE
    assert check_home(b"") == USAGE
    assert USAGE.permanent


def test_h_15_q_local_2_a_home_one_cannot_enter_defers(host: Home) -> None:
    missing = path(host.path / "box/none")
    text = f"Unable to switch to {host.path}/box/none: file does not exist. (#4.3.0)"
    assert check_home(missing) == Failure(permanent=False, text=text)
    box = host.box("closed", mode=0o600)
    text = f"Unable to switch to {box}: access denied. (#4.3.0)"
    assert as_user(UID, GID, lambda: check_home(path(box))) == Failure(permanent=False, text=text)
    (host.path / "box/file").write_text("")
    text = f"Unable to switch to {host.path}/box/file: not a directory. (#4.3.0)"
    assert check_home(path(host.path / "box/file")) == Failure(permanent=False, text=text)


@pytest.mark.parametrize(
    ("mode", "failure"),
    [(0o700, None), (0o755, None), (0o770, None), (0o500, None), (0o777, HOME_WRITABLE), (0o1700, HOME_STICKY),
     (0o1777, HOME_WRITABLE)],
)  # fmt: skip
def test_e_44_h_15_q_local_3_4_5_modes_of_the_home(tmp_path: Path, mode: int, failure: Failure | None) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    assert check_home(path(home)) == failure


def test_q_local_5_a_home_that_can_only_be_searched_is_enough(host: Home) -> None:
    box = host.box("joe", dot_qmail="#\n")
    (box / ".qmail").chmod(0o600)
    box.chmod(0o100)
    assert as_user(UID, GID, lambda: (check_home(path(box)), find(path(box), b"", b""))) == (
        None,
        Found(b".qmail", b"#\n", mode=0o100600, default=None, tried=()),
    )
    box.chmod(0o700)
