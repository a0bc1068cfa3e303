"""Old host -> popbox -> a directory of `export` -> popbox: the same accounts, octets, UIDLs, order and flags."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.migrate.export.homes import run
from tests.popbox.migrate.oldhosts import HASH, HOSTS, LONG_AGO, message, put
from tests.popbox.migrate.programs import mailhost

KINDS = ("dovecot", "courier", "maildir++", "mbox")
OTHER = HASH.replace("x", "y")


def new_home(path: Path) -> Path:
    mailhost(path, "init", "--me", "mail.popbox.invalid")
    return path


def exported(place: Path, kind: str) -> Path:
    """A home with what every table of accounts.toml can say, and its export."""
    old = HOSTS["howto"](place / "old", 0)
    for number in range(5):  # courier orders by the numbers that names begin with
        for name in ("joe", "ann"):
            folder = old / "var/qmail/popboxes/domain-com" / name / "Maildir"
            message(folder, f"{LONG_AGO + number * 86_400}.{name}", number, seen=number % 2 == 1)
    put(old / "var/qmail/alias/.qmail-root", "")
    home = new_home(place / "home")
    code, said = run("import", str(old), "--to", str(place / "in"), "--home", str(home))
    assert code == 0, said
    code, said = run("export", "--home", str(home), "--to", kind, "--out", str(place / "out"))
    assert code == 0, said
    return place / "out"


def back(place: Path, *more: str) -> tuple[int, str]:
    return run("import", str(place / "out"), "--to", str(place / "to"), *more)


def accounts(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "accounts.toml").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_is_what_went(place: Path, kind: str) -> None:
    out = exported(place, kind)
    home = new_home(place / "again")
    code, said = back(place, "--home", str(home))
    assert code == 0, said
    assert accounts(place / "to") == accounts(out)
    code, said = run("verify", "--files", str(place / "home"), str(home), "--old-profile", "rfc1939")
    assert code == 0, said
    boxes = sorted(path.relative_to(place / "home") for path in (place / "home/popboxes").rglob("cur/*"))
    assert boxes == sorted(path.relative_to(home) for path in (home / "popboxes").rglob("cur/*"))
    assert boxes
    code, said = back(place, "--home", str(home), "--final")
    assert (code, "copied 0 messages" in said) == (0, True), said


MAIL = "mail/domain.com/joe"
LOST: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut off": ("maildir++", lambda out: (out / "state/ended").unlink(), "state/ended: what is missing here: "),
    "with losses": ("mbox", lambda out: put(out / "state/ended", "2\n"), "2 losses: its output has named them"),
    "a Maildir less": ("dovecot", lambda out: shutil.rmtree(out / MAIL), f"{MAIL}/Maildir: mail of joe@domain.com: "),
    "no uidlist": ("dovecot", lambda out: (out / MAIL / "Maildir/dovecot-uidlist").unlink(), "UIDLs of joe@domain.com"),
    "no sizelist": (
        "courier",
        lambda out: (out / MAIL / "Maildir/courierpop3dsizelist").unlink(),
        "UIDLs of joe@domain.com",
    ),
    "no index": ("mbox", lambda out: (out / f"{MAIL}.mbox.index").unlink(), "UIDLs of joe@domain.com"),
    "an mbox less": ("mbox", lambda out: (out / f"{MAIL}.mbox").unlink(), f"{MAIL}.mbox: mail of joe@domain.com: "),
    "a box more": (
        "maildir++",
        lambda out: shutil.copytree(out / MAIL, out / "mail/domain.com/new"),
        "mail/domain.com/new: mail: accounts.toml has no mailbox for it",
    ),
    "an mbox more": (
        "mbox",
        lambda out: shutil.copy(out / f"{MAIL}.mbox", out / "mail/domain.com/new.mbox"),
        "mail/domain.com/new.mbox: mail: accounts.toml has no mailbox for it",
    ),
    "a login more": (
        "dovecot",
        lambda out: put(out / "users", f"{(out / 'users').read_text()}new:{{CRYPT}}{HASH}:888:888::/x::\n"),
        "users:3: login new: accounts.toml has no mailbox for it",
    ),
    "another scheme": (
        "dovecot",
        lambda out: put(out / "users", (out / "users").read_text().replace("{CRYPT}", "{SHA512}", 1)),
        "accounts.toml: password of aa0001: none there: it comes locked",
    ),
    "a login less": (
        "courier",
        lambda out: put(out / "userdb", (out / "userdb").read_text().replace("aa0001", "#aa0001")),
        "password of aa0001: none there: it comes locked",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_what_is_missing_is_lost_by_name(place: Path, case: str) -> None:
    kind, damage, said = LOST[case]
    damage(exported(place, kind))
    code, output = back(place)
    assert code == 1, output
    assert any(line.startswith("lost: ") and said in line for line in output.splitlines()), output


@pytest.mark.parametrize(("kind", "file"), [("dovecot", "users"), ("courier", "userdb")])
def test_a_password_that_was_changed_there_counts(place: Path, kind: str, file: str) -> None:
    out = exported(place, kind)
    put(out / file, (out / file).read_text().replace(HASH, OTHER, 1))
    code, said = back(place)
    assert code == 0, said
    boxes = accounts(place / "to")["domains"]["domain.com"]["mailboxes"]
    assert {box["crypt"] for box in boxes.values()} == {HASH, OTHER}
    assert "it is another one than in accounts.toml, and counts" in (place / "to/not-carried.txt").read_text()


@pytest.mark.parametrize("kind", ["maildir++", "mbox"])
def test_passwords_that_it_cannot_know_are_said(place: Path, kind: str) -> None:
    exported(place, kind)
    assert back(place)[0] == 0
    assert "passwords: they are those of the export" in (place / "to/not-carried.txt").read_text()


BAD = {
    "": "domains: Field required",
    "[domains": "accounts.toml: cannot be read",
    '[domains."a b"]\n': "'a b' is no domain",
    "[domains.'d.example'.mailboxes.joe]\n": "domains.d.example.mailboxes.joe.crypt: Field required",
    "[domains.'d.example']\nmore = 1\n": "domains.d.example.more: Extra inputs are not permitted",
    "[domains.'d.example'.mailboxes.'../x']\ncrypt = '!'\n": "'../x' is no address",
    "[domains.'d.example'.forwards]\nJoe = ['x@y.example']\n": "'Joe' is no address",
    "[domains.'d.example'.mailboxes.joe]\ncrypt = 'x'\nlogin = 'a b'\n": "'a b' is no login",
}


@pytest.mark.parametrize("text", BAD)
def test_an_accounts_file_that_no_export_wrote_is_refused(place: Path, text: str) -> None:
    put(place / "out/state/source", "an export to maildir++\n")
    put(place / "out/accounts.toml", text)
    with pytest.raises(Exception, match=BAD[text]):
        back(place)


@pytest.mark.parametrize("left", [(), ("lock",), ("lock", ".source.new")])
def test_an_export_that_ended_at_its_first_steps_goes_on(place: Path, left: tuple[str, ...]) -> None:
    """Killed, or the disk was full: its own directory was then refused as that of others."""
    (place / "out/state").mkdir(parents=True)
    for name in left:
        put(place / "out/state" / name, "")
    exported(place, "mbox")
    assert back(place)[0] == 0


def test_a_directory_of_others_is_refused(place: Path) -> None:
    put(place / "out/state/lock", "")
    put(place / "out/state/other", "")
    with pytest.raises(Exception, match="is not empty, and no export has made it"):
        exported(place, "mbox")
