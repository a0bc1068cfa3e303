"""HUP goes to whoever holds queue/lock/sendmutex, and to no one else; new domains wait until it has gone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts.change import hup, journal

HOLDER = """
import fcntl, os, signal, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
def seen(number, frame):
    rcpthosts = open(sys.argv[2]).read().split()
    print("HUP", *rcpthosts, flush=True)
signal.signal(signal.SIGHUP, seen)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def running(host: Host) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock as qmail-send does, and tells at each HUP what rcpthosts says then."""
    lock = host.home / hup.LOCK
    lock.touch()
    command = [sys.executable, "-c", HOLDER, str(lock), str(host.home / "control/rcpthosts")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_holder_of_the_lock_is_found(host: Host, running: subprocess.Popen[str]) -> None:
    assert hup.find(host.home) == running.pid


def test_nobody_holds_it(host: Host) -> None:
    assert hup.find(host.home) is None, "no lock file"
    lock = host.home / hup.LOCK
    lock.touch()
    assert hup.find(host.home) is None, "a lock file that no process has locked"
    assert hup.hup(host.home) is None


def test_a_process_that_waits_for_the_lock_is_not_the_sender(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    lock = tmp_path / hup.LOCK
    lock.parent.mkdir(parents=True)
    lock.touch()
    status = lock.stat()
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    locks.write_text(
        f"1: -> FLOCK  ADVISORY  WRITE 77 {name} 0 EOF\n2: POSIX  ADVISORY  WRITE 78 00:00:1 0 EOF\nodd line\n"
    )
    assert hup.find(tmp_path, locks) is None
    locks.write_text(locks.read_text() + f"3: FLOCK  ADVISORY  WRITE 79 {name} 0 EOF\n")
    assert hup.find(tmp_path, locks) == 79


def test_a_sender_that_has_just_died(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hup, "find", lambda home: 2**22 - 7)
    assert hup.hup(host.home) is None


def test_a_new_domain_is_accepted_only_after_the_sender_knows_it(host: Host, running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    started = time.monotonic()
    host.ok("domain", "add", "domain.com")
    assert time.monotonic() - started >= journal.SETTLE_S
    assert running.stdout.readline() == "HUP\n", "at HUP time rcpthosts did not have it yet"
    assert host.text("control/rcpthosts") == "domain.com\n"
    host.ok("domain", "del", "domain.com")
    assert running.stdout.readline() == "HUP\n", "at HUP time rcpthosts did not have it any more"


def test_h20_mailboxes_need_no_hup(howto: Host, running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    running.send_signal(signal.SIGHUP)
    assert running.stdout.readline() == "HUP domain.com\n", "ours is the only one"


def test_a_sender_we_may_not_signal_is_an_error_and_the_domain_stays_closed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(home: Path) -> int:
        raise PermissionError

    monkeypatch.setattr(hup, "hup", refuse)
    done = host.run("domain", "add", "domain.com")
    assert done.exit_code == 1
    assert "send it HUP" in done.stderr
    assert host.text("control/rcpthosts") == ""
    monkeypatch.undo()
    host.ok("rebuild")
    assert host.text("control/rcpthosts") == "domain.com\n"


def test_one_writer_at_a_time(howto: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailhost.accounts.change import transaction

    monkeypatch.setattr(transaction, "LOCK_WAIT_S", 0.1)
    with (howto.home / "users/.mailhost/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another mailhost holds" in howto.refused("domain", "add", "x.example", code=111)
    howto.ok("domain", "add", "x.example")


def test_writers_at_once_make_each_its_change(howto: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailhost.accounts.change.transaction.LOCK_WAIT_S", 300.0)
    names, children = ("ann", "bob", "cat"), []
    for name in names:
        children.append(os.fork())
        if children[-1] == 0:
            code = 1
            try:
                code = howto.run("mailbox", "add", f"{name}@domain.com", "--crypt", HOWTO_CRYPT).exit_code
            finally:
                os._exit(code)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    for name in names:
        assert f"=domain-com-{name}:" in howto.text("users/assign")
        assert f"/domain-com/{name}\n" in howto.text("users/poppasswd")
    howto.ok("lint")


@pytest.mark.parametrize(("holder", "found"), [("1", 1), ("0", None), ("-1", None)])
def test_a_holder_outside_our_process_ids_is_never_signalled(tmp_path: Path, holder: str, found: int | None) -> None:
    """The kernel shows 0 for a process that this namespace does not see; ``kill(0)`` would reach our own group."""
    lock = tmp_path / hup.LOCK
    lock.parent.mkdir(parents=True)
    lock.touch()
    status = lock.stat()
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    (tmp_path / "locks").write_text(f"1: FLOCK  ADVISORY  WRITE {holder} {name} 0 EOF\n")
    assert hup.find(tmp_path, tmp_path / "locks") == found


def test_a_sender_that_tells_when_it_has_read_its_controls_is_not_waited_for_longer(tmp_path: Path) -> None:
    lock = tmp_path / hup.LOCK
    lock.parent.mkdir(parents=True)
    lock.touch()
    future_ns = time.time_ns() + 10**12
    for told_ns in (999, future_ns):  # of an earlier HUP, when the new virtualdomains may not have been there
        os.utime(lock, ns=(told_ns, told_ns))
        started = time.monotonic()
        hup.settle(tmp_path, 1_000, 0.02)
        assert time.monotonic() - started >= 0.02
    os.utime(lock, ns=(1_000, 1_000))
    started = time.monotonic()
    hup.settle(tmp_path, 1_000, 60)
    assert time.monotonic() - started < 30
