"""Edits of users/poppasswd: every row not edited stays, octet by octet; the order stays where there was one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailhost.accounts.errors import InputError
from mailhost.accounts.files.poppasswd_edit import PoppasswdEdit
from mailhost.poppasswd import file as poppasswd
from mailhost.poppasswd.file import Row


def edited(path: Path, edits: dict[bytes, Row | None]) -> bytes:
    out = path.with_name("out")
    with PoppasswdEdit(path, "users/poppasswd") as rows:
        rows.edits.update(edits)
        descriptor = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        rows.fill(descriptor)
        os.close(descriptor)
    return out.read_bytes()


def row(login: bytes, crypt: bytes = b"x") -> Row:
    return Row(login, crypt, b"u", b"/h/" + login)


def line(one: Row) -> bytes:
    return b":".join(one.fields()) + b"\n"


LOGIN = st.binary(min_size=1, max_size=4).filter(lambda b: not set(b) & set(b":\n\0\r") and not b.startswith(b"#"))
EDITS = st.dictionaries(LOGIN, st.sampled_from([b"new", b"", None]), max_size=8)


@settings(max_examples=200, deadline=None)  # each example writes files
@given(st.lists(LOGIN, unique=True, max_size=12), EDITS, st.booleans())
def test_edits_are_what_a_dictionary_would_give(
    tmp_path_factory: pytest.TempPathFactory, logins: list[bytes], edits: dict[bytes, bytes | None], ordered: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows"
    start = [row(login) for login in (sorted(logins) if ordered else logins)]
    path.write_bytes(b"".join(map(line, start)))
    os.utime(path, (0, 0))  # a file of just now would be waited for, one tick of the clock
    text = edited(path, {login: None if crypt is None else row(login, crypt) for login, crypt in edits.items()})
    wanted = {one.login: one for one in start}
    for login, crypt in edits.items():
        wanted.pop(login, None) if crypt is None else wanted.update({login: row(login, crypt)})
    found = poppasswd.parse(text)
    assert {one.login: one for one in found} == wanted
    assert len(found) == len(wanted)
    if ordered:
        assert [one.login for one in found] == sorted(wanted)


def test_comments_and_broken_lines_survive_an_edit(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"# ours\nb:x:u:/h/b\nnot a row\n\na:x:u:/h/a")
    text = edited(path, {b"b": row(b"b", b"y"), b"c": row(b"c")})
    assert text == b"# ours\nb:y:u:/h/b\nnot a row\n\na:x:u:/h/a\nc:x:u:/h/c\n"


def test_a_login_is_looked_for_in_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "p", list[bytes]()
    path.write_bytes(line(row(b"a")) + line(row(b"c")))
    seek = poppasswd.seek_sorted

    def counted(descriptor: int, login: bytes) -> int:
        asked.append(login)
        return seek(descriptor, login)

    monkeypatch.setattr(poppasswd, "seek_sorted", counted)
    with PoppasswdEdit(path, "p") as rows:
        for login in (b"a", b"b"):
            rows.get(login)
            rows.set(row(login, b"y"))
        rows.reassigned()
        with (tmp_path / "out").open("wb", buffering=0) as out:
            rows.fill(out.fileno())
    assert asked == [b"a", b"b"]
    assert (tmp_path / "out").read_bytes() == line(row(b"a", b"y")) + line(row(b"b", b"y")) + line(row(b"c"))


def test_rows_by_home(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"b:x:u:/h/a\na:x:u:/h/a\nc:x:u:/h/aa\nd:x:u:/g/h/a\ne:x:u:/h/a")
    with PoppasswdEdit(path, "p") as rows:
        assert [one.login for one in rows.of_home(b"/h/a")] == [b"b", b"a", b"e"]
        rows.drop(b"b")
        rows.set(row(b"new"))
        assert [one.login for one in rows.of_home(b"/h/a")] == [b"a", b"e"]
        assert [one.login for one in rows.of_home(b"/h/new")] == [b"new"]
        assert rows.get(b"b") is None
        assert rows.get(b"c") is not None
        for _ in range(9):
            assert [one.login for one in rows.of_home(b"/h/a")] == [b"a", b"e"], "by the index too"
        assert rows.of_home(b"/none") == []


def test_a_broken_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"a:x:u:/h\nb:x:u\n")
    with PoppasswdEdit(path, "users/poppasswd") as rows, pytest.raises(InputError, match="four fields") as refused:
        rows.get(b"b")
    assert (refused.value.file, refused.value.line) == ("users/poppasswd", 2)


def test_no_file_yet(tmp_path: Path) -> None:
    path = tmp_path / "p"
    assert edited(path, {b"b": row(b"b"), b"ab": row(b"ab"), b"a": row(b"a")}) == b"".join(
        line(row(login)) for login in (b"a", b"ab", b"b")
    )
    with PoppasswdEdit(path, "p") as rows:
        assert rows.of_home(b"/h") == []
