"""users/poppasswd: grammar, the two kinds of look-up, and what a change of the file does to a long-lived reader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailhost.poppasswd import file as poppasswd
from mailhost.poppasswd.file import PasswordFile, PoppasswdError, Row, find, parse

HOWTO = b"testid:DmIMm9e5Hc8ic:popuser:/var/qmail/popboxes/domain-com/joe\n"
JOE = Row(b"testid", b"DmIMm9e5Hc8ic", b"popuser", b"/var/qmail/popboxes/domain-com/joe", 1)


def stamp(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    Path(poppasswd.stamp_path(str(path))).write_bytes(poppasswd.stamp_of(descriptor))
    os.close(descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "poppasswd"
    path.write_bytes(HOWTO)
    return path


def test_h26_the_howtos_line(file: Path) -> None:
    assert parse(HOWTO) == (JOE,)
    assert find(file, b"testid") == JOE
    assert PasswordFile(file).get(b"testid") == JOE


def test_lines_are_counted_and_comments_skipped() -> None:
    rows = parse(b"# ours\n\n" + HOWTO + b"b::u:/h")
    assert [(row.login, row.line) for row in rows] == [(b"testid", 3), (b"b", 4)]


@pytest.mark.parametrize(
    ("line", "field", "rule"),
    [
        (b"joe", "line", "has four fields, this has 1"),
        (b"joe:x:popuser", "line", "this has 3"),
        (b"joe:x:popuser:/h:extra", "line", "this has 5"),
        (b":x:popuser:/h", "login", "is empty"),
        (b"joe:x::/h", "realuser", "is empty"),
        (b"joe:x:popuser:", "home", "is empty"),
        (b"joe:x:popuser:h", "home", "is not absolute"),
        (b"joe:x:popuser:/h\r", "home", "carriage return"),
        (b"j\0e:x:popuser:/h", "login", "NUL"),
    ],
)
def test_a_refusal_names_file_line_field_and_rule(line: bytes, field: str, rule: str) -> None:
    with pytest.raises(PoppasswdError, match=rule) as refused:
        parse(HOWTO + line + b"\n", "users/poppasswd")
    assert (refused.value.line, refused.value.field) == (2, field)
    assert str(refused.value).startswith(f"users/poppasswd: line 2: {field}: ")


def test_the_hash_stays_out_of_repr() -> None:
    assert "DmIMm9e5Hc8ic" not in repr(JOE)


@pytest.mark.parametrize("login", [b"", b"testi", b"testidd", b"TESTID", b"estid", b"testid:", b"a\nb", b"x\0", b"# c"])
def test_what_is_no_login_is_not_found(file: Path, login: bytes) -> None:
    assert find(file, login) is None
    assert PasswordFile(file).get(login) is None
    stamp(file)
    assert find(file, login) is None
    assert PasswordFile(file).get(login) is None


def test_the_first_of_two_equal_logins_counts(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"z:1:u:/a\na:1:u:/b\nz:2:u:/c\n")
    for row in (find(path, b"z"), PasswordFile(path).get(b"z")):
        assert row is not None
        assert row.home == b"/a"


def test_other_lines_do_not_stop_a_look_up_but_the_wanted_one_does(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"garbage\n" + HOWTO + b"bad:x\n")
    assert find(path, b"testid") == JOE
    assert PasswordFile(path).get(b"testid") == JOE
    for look in (lambda: find(path, b"bad"), lambda: PasswordFile(path).get(b"bad")):
        with pytest.raises(PoppasswdError, match="four fields"):
            look()


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find(tmp_path / "none", b"a")
    with pytest.raises(FileNotFoundError):
        PasswordFile(tmp_path / "none").get(b"a")


def test_a_stale_stamp_is_not_believed(file: Path) -> None:
    stamp(file)
    file.write_bytes(b"z:1:u:/z\na:1:u:/a\n")
    for login in (b"a", b"z"):
        assert find(file, login) is not None
        assert PasswordFile(file).get(login) is not None


def test_a_long_lived_reader_sees_each_change_and_reads_only_then(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    index = poppasswd.index
    monkeypatch.setattr(poppasswd, "index", lambda fd: reads.append(fd) or index(fd))
    users = PasswordFile(file)
    for _ in range(3):
        assert users.get(b"testid") == JOE
    assert len(reads) == 1
    new = file.with_name("new")
    new.write_bytes(b"other:x:u:/o\n")
    new.replace(file)
    assert users.get(b"testid") is None
    assert users.get(b"other") is not None
    with file.open("ab") as appended:
        appended.write(HOWTO)
    assert users.get(b"testid") == JOE
    users.close()
    assert users.get(b"testid") == JOE


LOGIN = st.binary(min_size=1, max_size=6).filter(lambda b: not set(b) & set(b":\n\0\r") and not b.startswith(b"#"))


@settings(deadline=None)  # each example writes files
@given(st.lists(LOGIN, unique=True, max_size=40), LOGIN, st.booleans(), st.integers(1, 900))
def test_both_kinds_of_look_up_find_every_row_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, logins: list[bytes], other: bytes, newline: bool, width: int
) -> None:
    text = b"\n".join(login + b":x:u:/" + b"h" * width for login in sorted(logins)) + b"\n" * newline
    path = tmp_path_factory.getbasetemp() / "property"
    path.write_bytes(text)
    for stamped in (False, True):
        if stamped:
            stamp(path)
        users = PasswordFile(path)
        for login in [*logins, other]:
            wanted = login in logins
            for row in (find(path, login), users.get(login)):
                assert (row is not None) == wanted
                assert row is None or row.login == login
        assert users._stamped is stamped, "each kind of look-up must really have been the one tried"
        users.close()


def test_a_row_across_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"".join(b"u%03d:x:u:/h\n" % n for n in range(300)))
    for block in (16, 17, 18, 19, 23, 64):
        monkeypatch.setattr(poppasswd, "_BLOCK_OCTETS", block)
        for n in range(0, 300, 37):
            row = find(path, b"u%03d" % n)
            assert row is not None
            assert row.login == b"u%03d" % n
        assert find(path, b"u300") is None
