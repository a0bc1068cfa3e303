"""``verify --files``: what two servers would hand out, from their trees; the same verdicts as by logging in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.damage import DAMAGES, lost
from tests.popbox.migrate.houses import box, csv, logins, moved, ours, put
from tests.popbox.migrate.oldhosts import HOSTS, message, tree_of
from tests.popbox.migrate.programs import mailhost

from popbox.cli.migrate import migrate
from popbox.migrate.verify.files.wire import sent

Files = Callable[..., tuple[int, dict[str, Any]]]
JUDGED = {"login": "not judged"} | dict.fromkeys(("uidl", "order", "sizes", "content"), "equal")
JOE = "popboxes/domain-com/joe/Maildir"


@pytest.fixture
def files(place: Path) -> Files:
    """Exit code and report."""

    def run(old: Path, new: Path, *more: str) -> tuple[int, dict[str, Any]]:
        file = place / "files.json"
        file.unlink(missing_ok=True)
        argv = ["verify", "--files", str(old), str(new), "--json", str(file), *more]
        done = CliRunner().invoke(migrate, argv, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return int(done.return_value), json.loads(file.read_text()) | {"output": done.output}

    return run


def imported(old: Path, place: Path) -> Path:
    """A home with all of it."""
    home = place / "home"
    home.mkdir(mode=0o755)
    mailhost(home, "init", "--me", "new.example.net")
    argv = ["import", str(old), "--to", str(place / "move"), "--home", str(home)]
    assert CliRunner().invoke(migrate, argv, standalone_mode=False).exception is None
    return home


def by_login(report: dict[str, Any]) -> dict[str, Any]:
    return {found["login"]: found for found in report["boxes"]}


@pytest.mark.parametrize("dialect", HOSTS)
def test_an_import_is_equal_in_every_dialect(place: Path, files: Files, dialect: str) -> None:
    old = HOSTS[dialect](place / "old", 5)
    home = imported(old, place)
    before = tree_of(old), tree_of(home)
    code, report = files(old, home)
    assert code == 0, report["output"]
    assert (report["way"], report["totals"]["messages_old"]) == ("files", report["totals"]["messages_new"])
    assert report["totals"]["messages_old"] > 0
    assert {found["verdicts"]["login"] for found in report["boxes"]} == {"not judged"}
    assert "is NOT proved" in report["output"]
    assert (tree_of(old), tree_of(home)) == before
    assert files(old, home, "--no-content")[0] == 0


@pytest.mark.parametrize("profiles", [("qmail", "rfc1939"), ("rfc1939", "qmail")])
def test_it_says_what_logging_in_says(place: Path, files: Files, verify: Verify, profiles: tuple[str, str]) -> None:
    """Each kind of damage, odd ends of files, and clean boxes: all verdicts, findings and sizes are the same."""
    for name in ("clean", "odd", *DAMAGES):
        box(place / "old", name.replace(" ", "-"), 6)
    ends = [b"", b"\n", b"no end", b"Subject: crlf\r\n\r\nbody\r\n", b"a\r", b".dot\n\n..\n\n\n", b"\n\n"]
    for number, octets in enumerate(ends):
        put(place / "old" / "odd", f"1700009{number:03}.odd", octets, 100 + number)
    put(place / "old" / "odd", "a name that is no id", b"Subject: x\n\ny\n", 200)
    put(place / "old" / "odd", ".hidden", b"no message", 201)
    new = moved(place / "old", place / "new")
    for name, (damage, *_) in DAMAGES.items():
        damage(new / name.replace(" ", "-"), Random(name))
    with ours(place, place / "old", profiles[0]) as old, ours(place, new, profiles[1]) as there:
        names = logins(place / "old")
        sides = ["--old-profile", profiles[0], "--new-profile", profiles[1]]
        code, by_pop3 = verify(old, there, csv(place / "a.csv", names), *sides)
    assert code == 1
    code, report = files(place / "old.qmail", place / "new.qmail", *hosts_at(place), *sides)
    assert code == 1
    for name, due in by_login(by_pop3).items():
        found = by_login(report)[name]
        assert {**found["verdicts"], "login": "equal"} == due["verdicts"], name
        assert found["findings"] == due["findings"], name
        assert (found["old"], found["new"], found["downloads"]) == (due["old"], due["new"], due["downloads"]), name


def hosts_at(place: Path) -> list[str]:
    """Both roots lie beside their homes: each home is given as a root of its own."""
    for side in ("old", "new"):
        home = place / f"{side}.qmail"
        rows = (home / "users/poppasswd").read_text()
        (home / "popboxes").mkdir()
        for name in logins(place / side):
            shutil.move(place / side / name, home / "popboxes" / name)
            rows = rows.replace(f":{place / side / name}\n", f":/var/qmail/popboxes/{name}\n")
        (home / "users/poppasswd").write_text(rows)
        names = sorted(entry.name for entry in (home / "popboxes").iterdir())
        lines = [f"=d-{name}:popuser:888:888:/var/qmail/popboxes/{name}:::\n" for name in names]
        (home / "users/assign").write_text("".join(lines) + ".\n")
        (home / "control/virtualdomains").write_text("d.example:d\n")
        (home / "control/rcpthosts").write_text("d.example\n")
        for name in names:
            (home / "popboxes" / name / ".qmail").write_text("./Maildir/\n")
    return []


def test_losses_are_named(place: Path, files: Files) -> None:
    old = HOSTS["howto"](place / "old", 5)
    home = imported(old, place)
    gone = lost((home / JOE).parent, Random(1))
    rows = home / "users/poppasswd"
    kept = rows.read_text()
    rows.write_text("".join(line for line in kept.splitlines(keepends=True) if not line.startswith("aa0002:")))
    code, report = files(old, home)
    joe, ann = by_login(report)["aa0001"], by_login(report)["aa0002"]
    assert code == 1
    assert [(f["kind"], f["old"]["uidl"]) for f in joe["findings"]] == [("missing", gone)]
    assert ann["verdicts"]["login"] == "different"
    assert ann["findings"][0]["said"] == "the new host has no such login"
    assert [f["kind"] for f in ann["findings"]].count("missing") == ann["old"]["messages"] > 0
    rows.write_text("".join(line.replace(line.split(":")[1], "!x", 1) for line in kept.splitlines(keepends=True)))
    code, report = files(old, home)
    assert (code, by_login(report)["aa0002"]["findings"][0]["said"]) == (
        1,
        "the login is locked on the new host, and not on the old one",
    )


def test_a_mailbox_whose_address_is_the_login_of_another_one_is_compared_too(place: Path, files: Files) -> None:
    """Two pairs under one name: the second took the place of the first."""
    old = HOSTS["howto"](place / "old", 3)
    rows = old / "var/qmail/users/poppasswd"
    rows.write_text(rows.read_text().splitlines()[1].replace("aa0002", "joe@domain.com") + "\n")
    home = imported(old, place)
    code, report = files(old, home)
    assert (code, sorted(by_login(report))) == (0, ["joe@domain.com", "joe@domain.com (mailbox)"])
    gone = lost((home / JOE).parent, Random(1)), lost((home / JOE).parents[1] / "ann", Random(1))
    code, report = files(old, home)
    assert code == 1
    assert {f["old"]["uidl"] for found in report["boxes"] for f in found["findings"]} == set(gone)


def test_messages_of_one_second_have_no_order_of_their_own_on_qmail(place: Path, files: Files) -> None:
    """qmail-pop3d leaves it open (Q-POP3-5), ours goes by nanoseconds: no difference can be told."""
    old = HOSTS["howto"](place / "old", 0)
    for number, name in enumerate(("1.c", "1.a", "1.b")):
        path = message(old / "var/qmail" / JOE, name, 1)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    os.utime(message(old / "var/qmail" / JOE, "2.later", 2), ns=(15 * 10**17, 15 * 10**17))
    home = imported(old, place)
    assert files(old, home)[0] == 0
    os.utime(home / JOE / "new/1.c", ns=(16 * 10**17, 16 * 10**17))
    code, report = files(old, home)
    assert (code, by_login(report)["aa0001"]["verdicts"]["order"]) == (1, "different")


def test_hostile_trees(place: Path, files: Files) -> None:
    """Links out, FIFOs, directories and odd names on both sides: nothing blocks, nothing is followed."""
    old = HOSTS["howto"](place / "old", 3)
    home = imported(old, place)
    secret = place / "secret"
    secret.write_text("Subject: secret\n\nkept\n")
    (old / "var/qmail" / JOE / "new/1.link").symlink_to(secret)
    os.utime(old / "var/qmail" / JOE / "new/1.link", (1, 1), follow_symlinks=False)  # before this second: Q-POP3-4
    os.mkfifo(old / "var/qmail" / JOE / "new/2.fifo")
    (home / JOE / "cur/3.link").symlink_to(secret)
    os.mkfifo(home / JOE / "cur/4.fifo")
    (home / JOE / "new/5.dir").mkdir()
    code, report = files(old, home)
    joe = by_login(report)["aa0001"]
    assert code == 1
    assert [(f["kind"], f["old"]["uidl"]) for f in joe["findings"] if f["old"]] == [("missing", "1.link")]
    assert [f["kind"] for f in joe["findings"]].count("reply") == 4
    assert "kept" not in json.dumps(report)
    shutil.rmtree(home / JOE)
    (home / JOE).symlink_to("/etc")
    code, report = files(old, home)
    assert code in (1, 3)
    assert by_login(report)["aa0001"]["verdicts"]["content"] != "equal"


def test_control_characters_in_names_reach_no_terminal(place: Path, files: Files) -> None:
    old = HOSTS["howto"](place / "old", 0)
    message(old / "var/qmail" / JOE, "1.\x1b[2Jevil", 1)
    home = imported(old, place)
    (home / JOE / "new/1.\x1b[2Jevil").unlink()
    code, report = files(old, home)
    assert (code, "\x1b" in report["output"]) == (1, False)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--files", "{old}", "{place}"], "no mailhost home"),
        (["--files", "{place}/nothing", "{home}"], "is no directory"),
        (["--files", "{old}", "{home}", "--old", "h:110"], "without --old"),
        (["--files", "{old}", "{home}", "--old-profile", "dovecot"], "verify it by POP3"),
        (["--old", "h:110"], "give --new, --accounts, or --files"),
    ],
)
def test_what_cannot_be_used(place: Path, argv: list[str], said: str) -> None:
    old = HOSTS["howto"](place / "old", 1)
    home = imported(old, place)
    filled = [word.format(old=old, home=home, place=place) for word in argv]
    done = CliRunner().invoke(migrate, ["verify", *filled])
    assert done.exit_code == 2
    assert said in done.output


def test_it_goes_on_where_it_was(place: Path, files: Files) -> None:
    old = HOSTS["howto"](place / "old", 2)
    home, state = imported(old, place), place / "state"
    assert files(old, home, "--state", str(state))[0] == 0
    kept = state.read_text().splitlines(keepends=True)
    state.write_text("".join(kept[:3]))  # header, how many, one box
    code, report = files(old, home, "--state", str(state))
    assert (code, report["resumed"]) == (0, 1)


@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\r\nb\r\n", b"a\r", b"\r\n", b"a\r\r\nb", b"\r\r"])
def test_a_file_as_it_is_sent_however_it_is_read(text: bytes) -> None:
    due = {
        "rfc1939": (text + (b"\n" if text and not text.endswith(b"\n") else b"")).replace(b"\r\n", b"\n"),
        "qmail": text + (b"\n" if text and not text.endswith(b"\n") else b"") + b"\n",
    }
    due["rfc1939"] = text.replace(b"\r\n", b"\n") + (b"\n" if text and not text.endswith(b"\n") else b"")
    for profile, lines in due.items():
        wire = lines.replace(b"\n", b"\r\n")
        assert b"".join(sent([text], profile)) == wire
        assert b"".join(sent([bytes([octet]) for octet in text], profile)) == wire


def test_a_name_that_is_no_utf8_is_in_every_report(place: Path, files: Files) -> None:
    """JSON, the state file and parts cannot hold a lone surrogate: --json ended with a traceback."""
    old = HOSTS["howto"](place / "old")
    new = imported(old, place)
    odd = os.fsencode(old / "var/qmail" / JOE / "cur") + b"/1.\xff:2,S"
    Path(os.fsdecode(odd)).write_bytes(b"Subject: odd\n\n")
    os.utime(odd, (1, 1))
    lines, state, table = (str(place / name) for name in ("part", "state", "csv"))
    code, found = files(
        old, new, "--old-profile", "qmail", "--shard", "1/1", "--json-lines", lines, "--state", state, "--csv", table
    )
    assert code == 1
    assert "xff" in str(by_login(found)["aa0001"]["findings"])
