"""`mailbox rehash`, and `--upgrade-hashes-on-login` which runs it: a weak hash goes when its password is typed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host
from tests.mailhost.pop3.support import Running, eventually

from mailhost.poppasswd import crypt as hashing

WITHIN_S = 60


@pytest.fixture
def howto(served: Host) -> Host:
    """Where the root helper and checkpoppasswd can work."""
    return served


def stored(host: Host) -> str:
    return host.text("users/poppasswd").split(":")[1]


def strong_within(host: Host, seconds: float) -> bool:
    """Whether the HOWTO's login has a strong hash of the same password before the time is up."""
    deadline = time.monotonic() + seconds
    while hashing.weak(stored(host).encode()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return stored(host).startswith("$6$") and hashing.verify(b"testpw", stored(host).encode())


def test_a_weak_hash_becomes_a_strong_one_of_the_same_password(howto: Host) -> None:
    said = howto.ok("mailbox", "rehash", "testid", "--password-stdin", stdin="testpw")
    assert said == "changed login testid: its des hash is now a sha512 one of the same password\n"
    assert strong_within(howto, 0)
    strong = stored(howto)
    assert howto.ok("mailbox", "rehash", "testid", "--password-stdin", stdin="testpw") == "nothing to change\n"
    assert stored(howto) == strong


def test_dry_run(howto: Host) -> None:
    assert "would change login" in howto.ok(
        "mailbox", "rehash", "testid", "--password-stdin", "--dry-run", stdin="testpw"
    )
    assert stored(howto) == HOWTO_CRYPT


@pytest.mark.parametrize(
    ("login", "password", "rule"),
    [
        ("testid", "wrong", "this is not its password"),
        ("nobody", "testpw", "is not in the file"),
        ("a:b", "testpw", "printable ASCII"),
        ("testid", "testpw\nx", "more than one line"),
    ],
)
def test_what_cannot_be_rehashed(howto: Host, login: str, password: str, rule: str) -> None:
    said = howto.refused("mailbox", "rehash", login, "--password-stdin", stdin=password)
    assert rule in said
    assert "testpw" not in said


def test_a_locked_login_stays_locked(howto: Host) -> None:
    howto.ok("mailbox", "disable", "joe@domain.com")
    assert "not its password" in howto.refused("mailbox", "rehash", "testid", "--password-stdin", stdin="testpw")


def test_q_cpw_7_what_des_never_checked_does_not_become_the_password(howto: Host) -> None:
    crypt = hashing.make(b"eight888", "des")
    howto.ok("mailbox", "passwd", "joe@domain.com", "--crypt", crypt)
    assert hashing.verify(b"eight888-and a slip", crypt.encode()), "DES takes any tail"
    said = howto.refused("mailbox", "rehash", "testid", "--password-stdin", stdin="eight888-and a slip")
    assert "DES checked the first 8 octets" in said
    howto.ok("mailbox", "rehash", "testid", "--password-stdin", stdin="eight888")
    assert stored(howto).startswith("$6$")


def wait_for_rehash(host: Host) -> None:
    """Until no upgrade runs any more: each holds a lock on users/, which it has before checkpoppasswd goes on."""
    place = os.open(host.home / "users", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
    finally:
        os.close(place)


def check(host: Host, *options: str, password: bytes = b"testpw") -> int:
    """checkpoppasswd with a login on descriptor 3; its exit code."""
    command = [sys.executable, "-m", "mailhost.pop3.chain.checkpoppasswd", "--file", str(host.home / "users/poppasswd")]
    shell = ["sh", "-c", 'exec 3<&0 </dev/null; exec "$@"', "sh", *command, *options, "/bin/true"]
    return subprocess.run(shell, input=b"testid\0" + password + b"\0<1@mx>\0", check=False, timeout=WITHIN_S).returncode


def test_checkpoppasswd_upgrades_where_asked(howto: Host) -> None:
    assert check(howto, "--upgrade-hashes-on-login", password=b"wrong") == 1
    assert check(howto) == 0
    wait_for_rehash(howto)
    assert stored(howto) == HOWTO_CRYPT, "off by default, and never by a wrong password"
    assert check(howto, "--upgrade-hashes-on-login") == 0
    assert strong_within(howto, WITHIN_S)
    assert check(howto, "--upgrade-hashes-on-login") == 0


def test_checkpoppasswd_needs_a_hosts_own_file(howto: Host, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(howto.text("users/poppasswd"))
    assert check(howto, "--file", str(tmp_path / "other"), "--upgrade-hashes-on-login") == 2


def opens(server: Running) -> bool:
    """Whether the HOWTO's login gets into its box; leaves it again."""
    client = server.client()
    entered = client.login().startswith(b"+OK")
    client.ask(b"QUIT")
    client.close()
    return entered


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_the_server_upgrades_where_asked(howto: Host, options: tuple[str, ...]) -> None:
    for asked in ((), ("--upgrade-hashes-on-login",)):
        server = Running(howto.home, *options, *asked)
        try:
            assert opens(server)
            assert opens(server)
            upgraded = strong_within(howto, WITHIN_S if asked else 0.5)
            assert upgraded == bool(asked), server.log()
            assert opens(server), "the same password opens the box"
            assert "testpw" not in server.log()
        finally:
            server.stop()
            server.errors.close()


def test_a_host_that_cannot_be_written_still_lets_its_people_in(howto: Host) -> None:
    """As in the reference deployment, where the POP3 side has users/ read-only."""
    (howto.home / "control/rcpthosts").unlink()  # the one thing without which no change is made
    server = Running(howto.home, "--upgrade-hashes-on-login")
    try:
        assert opens(server)
        assert eventually(lambda: "control/rcpthosts: missing" in server.log()), "the log says why"
    finally:
        server.stop()
        server.errors.close()
    assert stored(howto) == HOWTO_CRYPT
