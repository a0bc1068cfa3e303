"""From an old host to a new one, and the POP3 sessions on both: the same UIDLs in the same order, the same octets.

The old side is real qmail-pop3d where /var/qmail has it, and our server in its qmail profile; the new side is
`mailhost serve pop3` on the home that `mailhost apply` made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from passlib.hash import sha512_crypt
from tests.popbox.migrate.oldhosts import HASH, HOSTS, maildir, message

from popbox.cli.migrate import migrate
from popbox.clients.pop3 import Pop3
from popbox.clients.wire import Address

POP3D = Path("/var/qmail/bin/qmail-pop3d")
PASSWORD = "testpw"
MAIL_UID = 888 if os.geteuid() == 0 else os.geteuid()


def mailhost(home: Path, *argv: str) -> None:
    """Run it to its end."""
    done = subprocess.run([sys.executable, "-m", "mailhost", "--home", home, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextmanager
def serving(home: Path, profile: str = "rfc1939") -> Iterator[Address]:
    """`mailhost serve pop3` on a home."""
    argv = [sys.executable, "-m", "mailhost", "--home", home, "serve", "pop3", "--listen", "127.0.0.1:0"]
    child = subprocess.Popen(
        [*argv, "--profile", profile], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout is not None
    try:
        found = re.search(r"127\.0\.0\.1:(\d+)", child.stdout.readline())
        assert found
        yield Address("127.0.0.1", int(found[1]))
    finally:
        child.terminate()
        child.wait(60)


Session = list[tuple[str, bytes]]


def by_server(home: Path, login: str, profile: str = "rfc1939") -> Session:
    """UIDL and octets of each message, in order; without QUIT, so nothing moves."""
    with serving(home, profile) as address, Pop3(address) as pop3:
        pop3.login(login, PASSWORD)
        return [(uid, pop3.retrieve(number)) for number, uid in sorted(pop3.listing("UIDL").items())]


def by_real_qmail(box: Path) -> Session:
    """The same from qmail's own program. It ends each message by an empty line of its own (Q-POP3-13)."""
    if os.geteuid() == 0:
        for path in (box, *box.rglob("*")):
            os.chown(path, MAIL_UID, MAIL_UID)
    uids = [line.split(" ", 1)[1] for line in _ask(box, ["UIDL"])[0]]
    texts = _ask(box, [f"RETR {number}" for number in range(1, len(uids) + 1)])
    octets = ["\n".join(line.removeprefix(".") for line in text[:-1]) + "\n" for text in texts]
    return [(uid, text.encode()) for uid, text in zip(uids, octets, strict=True)]


def _ask(box: Path, commands: list[str]) -> list[list[str]]:
    given = "".join(f"{command}\r\n" for command in commands)
    user = {"user": MAIL_UID, "group": MAIL_UID, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run([POP3D, "Maildir"], cwd=box, input=given, capture_output=True, text=True, check=True, **user)  # type: ignore[call-overload]
    replies = done.stdout.replace("\r\n", "\n").removeprefix("+OK \n").split("\n.\n")
    return [reply.removeprefix("+OK \n").split("\n") for reply in replies[: len(commands)]]


@pytest.fixture
def tmp_path(place: Path) -> Path:
    """Popuser must pass through; pytest's own directory is shut again by each session of pytest that starts."""
    return place


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The HOWTO's host, 30 messages in each box in an order that is not that of names, and a password we know."""
    place = tmp_path / "old"
    for part in (tmp_path, place):
        part.mkdir(exist_ok=True)
        part.chmod(0o755)
    crypt = sha512_crypt.using(rounds=5_000).hash(PASSWORD)
    root = HOSTS["howto"](place, 30)
    poppasswd = root / "var/qmail/users/poppasswd"
    poppasswd.write_text(poppasswd.read_text().replace(HASH, crypt))
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A new qmail home."""
    place = tmp_path / "home"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    mailhost(place, "init", "--me", "new.example.net")
    return place


def move(old: Path, to: Path, *options: str) -> None:
    """One pass of the import."""
    argv = ["import", str(old), "--to", str(to), *options]
    result = CliRunner().invoke(migrate, argv, standalone_mode=False)
    assert result.return_value == 0, (result.output, result.exception)


def old_session(old: Path, tmp_path: Path) -> Session:
    """What our server in its qmail profile shows of the old joe."""
    home = tmp_path / "old-served"
    home.mkdir(mode=0o755, exist_ok=True)
    mailhost(home, "init", "--me", "old.example.net")
    mailhost(home, "domain", "add", "domain.com")
    crypt = (old / "var/qmail/users/poppasswd").read_text().split(":")[1]
    mailhost(home, "mailbox", "add", "joe@domain.com", "--login", "aa0001", "--crypt", crypt)
    box = home / "popboxes/domain-com/joe"
    shutil.rmtree(box / "Maildir")
    shutil.copytree(old / "var/qmail/popboxes/domain-com/joe/Maildir", box / "Maildir")
    for path in (box / "Maildir", *box.rglob("Maildir/**/*")):
        if os.geteuid() == 0:
            os.chown(path, MAIL_UID, MAIL_UID)
    return by_server(home, "aa0001", "qmail")


def test_uidls_order_and_octets_survive_the_move(old: Path, home: Path, tmp_path: Path) -> None:
    before = old_session(old, tmp_path)
    assert len(before) == 30
    assert [uid for uid, _ in before] != sorted(uid for uid, _ in before), "the order is not that of names"
    move(old, tmp_path / "move", "--home", str(home))
    after = by_server(home, "aa0001")
    assert [uid for uid, _ in after] == [uid for uid, _ in before]
    assert [(uid, text + b"\n") for uid, text in after] == before, "qmail's way adds an empty line (Q-POP3-13)"
    found = (home / "popboxes/domain-com/joe/Maildir").rglob("*")
    assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {(MAIL_UID, MAIL_UID)}


@pytest.mark.realqmail
@pytest.mark.needs("real qmail")
def test_against_real_qmail_pop3d(old: Path, home: Path, tmp_path: Path) -> None:
    before = by_real_qmail(old / "var/qmail/popboxes/domain-com/joe")
    assert len(before) == 30
    move(old, tmp_path / "move", "--home", str(home))
    assert by_server(home, "aa0001") == before


def test_the_sizes_in_a_large_box_are_there_before_its_client(old: Path, home: Path, tmp_path: Path) -> None:
    maildir(old / "var/qmail/popboxes/domain-com/joe/Maildir", 990, first=30)
    move(old, tmp_path / "move", "--home", str(home))
    assert not (home / "popboxes/domain-com/joe/Maildir/popbox-sizes").exists(), "1,023 and fewer are read soon"
    maildir(old / "var/qmail/popboxes/domain-com/joe/Maildir", 10, first=1_020)
    move(old, tmp_path / "move", "--home", str(home))
    assert (home / "popboxes/domain-com/joe/Maildir/popbox-sizes").stat().st_uid == MAIL_UID
    assert [uid for uid, _ in by_server(home, "aa0001")] == [uid for uid, _ in old_session(old, tmp_path)]


def test_an_order_that_is_lost_would_be_seen(old: Path, home: Path, tmp_path: Path) -> None:
    before = old_session(old, tmp_path)
    move(old, tmp_path / "move", "--home", str(home))
    for path in (home / "popboxes/domain-com/joe/Maildir").glob("[cn]*/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert [uid for uid, _ in by_server(home, "aa0001")] != [uid for uid, _ in before]


def test_without_home_the_parts_are_put_together_by_hand(old: Path, home: Path, tmp_path: Path) -> None:
    """The commands of the README."""
    move(old, tmp_path / "move")
    mailhost(home, "apply", "--no-delete", str(tmp_path / "move/accounts.toml"))
    subprocess.run(["cp", "-a", f"{tmp_path}/move/popboxes/.", f"{home}/popboxes/"], check=True)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "888:888", f"{home}/popboxes"], check=True)
    mailhost(home, "mailbox", "measure")
    assert [uid for uid, _ in by_server(home, "aa0001")] == [uid for uid, _ in old_session(old, tmp_path)]


def test_a_move_with_mail_arriving_on_both_sides(old: Path, home: Path, tmp_path: Path) -> None:
    options = ("--home", str(home))
    move(old, tmp_path / "move", *options)
    old_box = old / "var/qmail/popboxes/domain-com/joe/Maildir"
    new_box = home / "popboxes/domain-com/joe/Maildir"
    message(old_box, "1100000000.1.old.example.net", 400)
    (old_box / "new/1000000000.0.old.example.net").unlink()
    arrived = message(new_box, "1200000000.1.new.example.net", 500)
    os.chown(arrived, MAIL_UID, MAIL_UID)
    move(old, tmp_path / "move", *options, "--final")
    uids = [uid for uid, _ in by_server(home, "aa0001")]
    assert uids == [uid for uid, _ in old_session(old, tmp_path)] + ["1200000000.1.new.example.net"]
    assert "1100000000.1.old.example.net" in uids
    assert "1000000000.0.old.example.net" not in uids
    maildir(old_box, 1)
    move(old, tmp_path / "move", *options)
    assert arrived.exists()
