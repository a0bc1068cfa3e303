"""Start, HUP, ALRM and TERM of the program, and what survives them. Facts by id."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from tests.mailhost.standin.support import WITHIN_S, Home, Serve, Server, cli, wait_for

from mailhost.accounts.change.hup import LOCK, find
from mailhost.standin.server import CannotStart, allow_descriptors


def sent_until(server: Server, address: str, pattern: str) -> None:
    """Send again until the log shows that HUP took effect, because nothing else shows it."""

    def told() -> bool:
        server.send(address)
        return re.search(pattern, server.log) is not None

    wait_for(told, pattern)


def test_q_send_6_9_hup_and_e_15_e_16_e_17(home: Home, serve: Serve) -> None:
    home.box("joe")
    home.control("rcpthosts", "d.com\nnew.org\nother.org\nme.org\n")
    server = serve()
    home.control("virtualdomains", "d.com:p\nnew.org:p\nother.org:p\n")
    home.control("locals", "other.org\n")
    server.send("joe@new.org")
    server.wait_log("to remote joe@new.org")
    lock, began_ns = home.path / LOCK, time.time_ns()
    assert lock.stat().st_mtime_ns < began_ns
    server.signal(signal.SIGHUP)
    wait_for(lambda: lock.stat().st_mtime_ns >= began_ns, "the time of the reading on the lock's file")
    server.send("joe@new.org")
    server.wait_log("to local p-joe@new.org")
    server.send("joe@other.org")
    server.wait_log("to local joe@other.org")
    (home.path / "control/locals").unlink()
    home.control("me", "me.org\n")
    server.signal(signal.SIGHUP)
    sent_until(server, "joe@me.org", "to remote joe@me.org")
    assert "remote deferred  joe@new.org" in cli(home, "queue", "list").stdout, "what is queued is not rerouted"


def test_q_send_10_a_failed_reread_keeps_the_tables(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    (home.path / "control/virtualdomains").unlink()
    (home.path / "control/virtualdomains").mkdir()
    before = (home.path / LOCK).stat().st_mtime_ns
    server.signal(signal.SIGHUP)
    server.wait_log("alert: unable to reread control/virtualdomains")
    assert (home.path / LOCK).stat().st_mtime_ns == before, "nothing is told that was not read"
    server.send("joe@d.com")
    server.wait_log("delivery 1: success")


def test_q_send_7_8_it_does_not_start_twice_or_without_controls(home: Home, serve: Serve) -> None:
    first = serve()
    second = serve()
    assert second.child.wait(WITHIN_S) == 111
    assert "alert: cannot start: queue/lock/sendmutex is held" in second.log
    assert first.stop() == 0
    for name in ("me", "locals"):
        (home.path / "control" / name).unlink()
    third = serve()
    assert third.child.wait(WITHIN_S) == 111
    assert "alert: cannot start: unable to read controls" in third.log


def test_too_few_open_files_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 20 it said that it listens, and deferred all mail: users/cdb could not be opened."""
    monkeypatch.setattr("resource.getrlimit", lambda _which: (20, 20))
    monkeypatch.setattr("resource.setrlimit", lambda _which, _limits: None)
    with pytest.raises(CannotStart, match="ulimit -n is 20, at least 32 are needed"):
        allow_descriptors(100)


def test_q_send_12_term_waits_for_what_runs_and_keeps_the_rest(home: Home, serve: Serve) -> None:
    slow = home.box("slow", {".qmail": "|until [ -e go ]; do sleep 0.05; done; touch done\n"})
    home.control("concurrencylocal", "1\n")
    server = serve("--allow-programs")
    server.send("slow@d.com")
    server.send("slow@d.com")
    server.wait_log("starting delivery 1")
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.recv(100)
        server.signal(signal.SIGTERM)
        assert idle.recv(100).startswith(b"421 ")
        (slow / "go").touch()
        assert server.child.wait(WITHIN_S) == 0
    assert (slow / "done").exists()
    assert server.log.endswith("status: exiting\n")
    assert " exitasap" in server.log
    assert len(home.queued()) == 1
    again = serve("--allow-programs")
    again.wait_log("end msg")
    assert home.queued() == []


def test_q_send_11_alrm_and_queue_flush_retry_at_once(home: Home, serve: Serve) -> None:
    box = home.box("joe")
    (box / "Maildir/new").rename(box / "Maildir/away")
    server = serve()
    server.send("joe@d.com")
    server.wait_log("delivery 1: deferral: Temporary_error_on_maildir_delivery._")
    wait_for(lambda: home.queued("state"), "the journal")
    (message,) = json.loads(cli(home, "queue", "list", "--json").stdout)
    (recipient,) = message["recipients"]
    assert recipient["state"] == "deferred"
    # Q-SEND-13; the root grows by one a second on a machine that was slow to try it
    assert recipient["next_try"] - int(message["arrived"]) in [(10 + age) ** 2 for age in range(5)]
    (box / "Maildir/away").rename(box / "Maildir/new")
    done = cli(home, "queue", "flush")
    assert done.returncode == 0, done.stderr
    server.wait_log("delivery 2: success")
    assert len(home.mail()) == 1
    wait_for(lambda: not home.queued() and not home.queued("state"), "an empty queue")


def test_a_hup_while_it_starts_does_not_end_it(home: Home) -> None:
    home.box("joe")
    argv = [sys.executable, "-m", "mailhost", "--home", str(home.path), "serve", "standin", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            lock = home.path / "queue/lock/sendmutex"
            wait_for(lambda: lock.exists() and find(home.path) == child.pid, "the lock")
            child.send_signal(signal.SIGHUP)
            assert child.stdout is not None
            assert child.stdout.readline().startswith(b"listening smtp ")
        finally:
            child.terminate()
        assert child.wait(WITHIN_S) == 0
