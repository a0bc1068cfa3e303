"""`mailbox measure`: what a server would learn of a large box at its first LIST is in the box before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host
from tests.mailhost.pop3.support import Running, owner

from mailhost.pop3.maildrop.size_cache import SAVED_FROM

JOE = "popboxes/domain-com/joe/Maildir"


@pytest.fixture
def howto(served: Host) -> Host:
    """A large box, joe@domain.com, and a small one, ann@domain.com."""
    served.ok("mailbox", "add", "ann@domain.com", "--login", "second", "--crypt", HOWTO_CRYPT)
    for number in range(SAVED_FROM):
        put(served.home / JOE / "cur" / f"{number:05}.h", b"\n" * (number % 9))
    put(served.home / "popboxes/domain-com/ann/Maildir/new/1.h", b"Subject: x\n\n")
    return served


def put(path: Path, octets: bytes) -> None:
    path.write_bytes(octets)
    os.chown(path, *owner())


def measure(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which gives up root for good."""
    command = [sys.executable, "-m", "mailhost", "--home", str(host.home), "mailbox", "measure", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def settled(host: Host) -> bool:
    """Whether a server can go by the file alone: its first line then has stamps of new/ and cur/ too."""
    return len((host.home / JOE / "popbox-sizes").read_bytes().partition(b"\n")[0].split()) == 12


def test_a_servers_first_list_reads_no_message(howto: Host) -> None:
    done = measure(howto)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"measured {SAVED_FROM} messages in 1 large mailbox; 1 small one not in need of it\n"
    assert settled(howto), "mail came a moment before"
    kept = howto.home / JOE / "popbox-sizes"
    assert (kept.stat().st_uid, kept.stat().st_mode & 0o777) == (owner()[0], 0o600)
    for path in (howto.home / JOE / "cur").iterdir():
        os.chown(path, 0 if os.geteuid() == 0 else -1, -1)
        path.chmod(0)  # a server that has to look into it cannot, and would leave it out
    server = Running(howto.home)
    try:
        client = server.client()
        assert client.login().startswith(b"+OK")
        sizes = sum(number % 9 * 2 for number in range(SAVED_FROM))
        assert client.ask(b"STAT") == b"+OK %d %d\r\n" % (SAVED_FROM, sizes)
        client.ask(b"QUIT")
    finally:
        server.stop()


def test_the_profile_and_the_mailboxes_are_chosen(howto: Host) -> None:
    done = measure(howto, "ann@domain.com")
    assert done.stdout == "measured 0 messages in 0 large mailboxes; 1 small one not in need of it\n"
    assert measure(howto, "joe@domain.com", "--profile", "qmail").returncode == 0
    assert sorted(path.name for path in (howto.home / JOE).iterdir()) == ["cur", "new", "popbox-sizes-qmail", "tmp"]


def test_what_is_no_mailbox_or_has_no_maildir_is_told(howto: Host) -> None:
    assert "nobody@domain.com: is not a mailbox" in howto.refused("mailbox", "measure", "nobody@domain.com")
    (howto.home / "popboxes/domain-com/ann/Maildir/new").rename(howto.home / "popboxes/domain-com/ann/away")
    done = measure(howto)
    assert done.returncode == 1
    assert f"missing: {howto.home}/popboxes/domain-com/ann/Maildir" in done.stderr
    assert done.stdout.startswith(f"measured {SAVED_FROM} messages"), "the others are measured all the same"
