"""Which boxes verify compares: a CSV of logins and passwords, or a directory of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from popbox.migrate.pop3.accounts import Unusable, load

BAD = {
    "login,password\nann\n": r"a\.csv: line 2: 1 fields where the header has 2",
    "login,password\nann,\n": r"a\.csv: line 2: the old password is empty",
    "login,password\nann,x\nann,y\n": r"a\.csv: line 3: the old login stands in line 2 already",
    "login,password,new_login\nann,x,\nb,y,c\nd,z,ann\nb,y,e\n": r"a\.csv: line 4: the new login stands in line 2 al",
    "login,secret\nann,x\n": r"a\.csv: line 1: unknown column 'secret'",
    "login,login\n": r"a\.csv: line 1: a column stands twice",
    "old_login,password\na,b\n": r"a\.csv: line 1: needs the column login",
    'login,password\n"a\nDELE 1",x\n': r"a\.csv: line 3: the old login holds CR, LF or NUL",
    "login,password\n": r"a\.csv: holds no account",
    "": r"a\.csv: line 1: needs the column login",
    'login,password\n"a,x\n': r"a\.csv: cannot be read",
}


@pytest.mark.parametrize("content", BAD)
def test_bad_accounts_are_refused_by_line_and_rule(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(Unusable, match=BAD[content]):
        load(tmp_path / "a.csv")


def test_all_rows_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("login,password\nann\nbob,x\n,y\njim,\n" + "x\n" * 49)
    with pytest.raises(Unusable) as refused:
        load(file)
    said = str(refused.value).splitlines()
    assert said[:3] == [
        f"{file}: line 2: 1 fields where the header has 2",
        f"{file}: line 4: the old login is empty",
        f"{file}: line 5: the old password is empty",
    ]
    assert (len(said), said[-1]) == (51, "and 2 more")


def test_accounts_with_sides_of_their_own_and_from_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\ufefflogin,password,new_login\r\nann,pw,ann@d.example\r\n\r\nbob,p w,\r\n")
    first, second = load(file)
    assert (first.old_login, first.new_login, first.new_password) == ("ann", "ann@d.example", "pw")
    assert (second.new_login, second.old_password) == ("bob", "p w")
    assert "pw" not in repr(first)
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "ann@d.example").write_text("pw \r\nnot this\n")
    (folder / ".hidden").write_text("x")
    (account,) = load(folder)
    assert (account.old_login, account.new_password) == ("ann@d.example", "pw ")
