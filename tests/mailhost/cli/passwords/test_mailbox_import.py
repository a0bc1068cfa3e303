"""`mailbox import`: rows that are refused, passwords that are made up, and the file that these go into."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.mailhost.cli.support import Host

from mailhost.poppasswd import crypt as hashing

CSV = "address,login,password,name,extensions\njoe@d.com,testid,testpw,,\nann@d.com,,p2,Ann Other,yes\n"


def test_import(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(CSV)
    assert "domain d.com: is not declared" in host.refused("mailbox", "import", str(file))
    assert "would add domain" in host.ok("mailbox", "import", str(file), "--add-domains", "--dry-run")
    said = host.ok("mailbox", "import", str(file), "--add-domains")
    assert "ann@d.com: login ao0001; ann-anything too" in said
    assert "testpw" not in said
    assert hashing.verify(b"testpw", host.text("users/poppasswd").splitlines()[1].split(":")[1].encode())
    assert host.ok("mailbox", "import", str(file)) == "nothing to change\n"


@pytest.mark.parametrize(
    ("row", "other"),
    [
        ("joe@d.com,testid,testpw,,", "joe@d.com,testid,other,,"),
        ("joe@d.com,testid,testpw,,", "joe@d.com,other,testpw,,"),
        ("joe@d.com,testid,testpw,,", "joe@d.com,testid,testpw,,yes"),
        ("ann@d.com,,p2,Ann Other,yes", "ann@d.com,,p2,Ann Other,"),
    ],
)
def test_import_of_a_mailbox_that_is_there_and_different(host: Host, tmp_path: Path, row: str, other: str) -> None:
    file = tmp_path / "in.csv"
    file.write_text(CSV)
    host.ok("mailbox", "import", str(file), "--add-domains")
    file.write_text(CSV.replace(row, other))
    said = host.refused("mailbox", "import", str(file))
    assert f"1 of 2 rows refused, nothing written:\n  line {3 if row.startswith('ann') else 2}" in said
    assert "is declared already" in said


def test_import_makes_passwords_up(host: Host, tmp_path: Path) -> None:
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text("address,crypt\na@d.com,\nb@d.com,DmIMm9e5Hc8ic\n")
    assert "line 2: has neither" in host.refused("mailbox", "import", str(file), "--add-domains")
    host.ok("mailbox", "import", str(file), "--add-domains", "--generate", str(out))
    head, line = out.read_text().splitlines()
    assert head == "address,login,password"
    address, login, password = line.split(",")
    assert address == "a@d.com"
    row = next(r for r in host.text("users/poppasswd").splitlines() if r.startswith(login + ":"))
    assert hashing.verify(password.encode(), row.split(":")[1].encode())
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert host.ok("mailbox", "import", str(file), "--generate", str(out)) == "nothing to change\n"
    assert "nothing to change" in host.ok("mailbox", "import", str(file), "--generate", str(out), "--dry-run")
    file.write_text("address\nc@d.com\n")
    said = host.refused("mailbox", "import", str(file), "--generate", str(out))
    assert "--generate: is there already, without the password of c@d.com; name another" in said
    host.ok("mailbox", "del", "a@d.com")
    file.write_text("address\na@d.com\n")
    host.ok("mailbox", "import", str(file), "--generate", str(out))
    row = next(r for r in host.text("users/poppasswd").splitlines() if r.startswith(login + ":"))
    assert hashing.verify(password.encode(), row.split(":")[1].encode()), "the file stays true"


@pytest.mark.parametrize("verb", [("mailbox", "import"), ("apply",)])
@pytest.mark.parametrize("there", ["open", "other", "short", "link", "directory"])
def test_generate_takes_no_file_that_is_not_its_own(host: Host, tmp_path: Path, verb: tuple[str], there: str) -> None:
    """Somebody who could put his own passwords there would know everybody's."""
    file, out = tmp_path / "in", tmp_path / "out.csv"
    head = "address,login,password\n" if verb[0] == "mailbox" else "address,password\n"
    row = "joe@d.com,x,x\n" if verb[0] == "mailbox" else "joe@d.com,x\n"
    file.write_text("address\njoe@d.com\n" if verb[0] == "mailbox" else '[domains."d.com".mailboxes.joe]\n')
    real = tmp_path / "real"
    real.write_text({"other": "nonsense\n", "short": head + "joe@d.com\n"}.get(there, head + row))
    real.chmod(0o644 if there == "open" else 0o600)
    out.mkdir() if there == "directory" else out.symlink_to(real) if there == "link" else real.rename(out)
    words = [*verb, str(file), "--generate", str(out), *(["--add-domains"] if verb[0] == "mailbox" else [])]
    assert f"{out}: --generate: " in host.refused(*words)


def test_all_rows_that_are_wrong_are_named_at_once(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text('address,crypt\njoe,\nann@d.com,DmIMm9e5Hc8ic,x\nbob@d.com,DmIMm9e5Hc8ic\njim@d.com,no\n"')
    said = host.refused("mailbox", "import", str(file), "--add-domains").splitlines()
    assert [line.partition("in.csv: ")[2].partition(":")[0] for line in said] == [
        "line 2", "line 3", "line 5", "line 6",
    ]  # fmt: skip
    file.write_text("address\njoe@d.com\nann@d.com\n")
    said = host.refused("mailbox", "import", str(file), "--add-domains").splitlines()
    assert [line.partition("in.csv: ")[2] for line in said] == [
        f"line {number}: has neither password nor crypt; --generate makes one up" for number in (2, 3)
    ]
    file.write_text(
        "address,crypt\njoe@a-b.com,DmIMm9e5Hc8ic\nann@a.b.com,DmIMm9e5Hc8ic\njim@mail.example.net,DmIMm9e5Hc8ic\n"
    )
    said = host.refused("mailbox", "import", str(file), "--add-domains")
    assert "2 of 3 rows refused, nothing written:\n  line 3: " in said
    assert "overlap" in said
    assert "\n  line 4: control/locals: line 1: domain mail.example.net" in said


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is empty"),
        ("login,password\n", "line 1: the header names address"),
        ("address,pass\n", "line 1: unknown column 'pass'"),
        ("address,address\n", "no column twice"),
        ("address,password\njoe@d.com\n", "line 2: has 1 columns, the header 2"),
        ("address,password\njoe,x\n", "line 2: address 'joe': has no @"),
        ("address,crypt\njoe@d.com,secret\n", "line 2: crypt: is not a crypt"),
        (f"address,crypt\njoe@d.com,$2b$31${'x' * 53}\n", "line 2: crypt: asks for a bcrypt cost other than 04 to 13"),
        ("address,crypt,password\njoe@d.com,DmIMm9e5Hc8ic,x\n", "line 2: give a password or a crypt"),
        ("address,extensions\njoe@d.com,maybe\n", "line 2: extensions: is yes or no"),
        ('address\n"joe@d.com\n', "is not CSV"),
    ],
)
def test_import_names_file_line_and_rule(host: Host, tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "in.csv").write_text(text)
    said = host.refused("mailbox", "import", str(tmp_path / "in.csv"), "--add-domains")
    assert rule in said
    assert "in.csv" in said
    assert "secret" not in said
