"""Each call on the queue and on a Maildir fails in each way: who got 250 gets mail once, who got 451 none, none waits.

The disk heals after each fault, and the same process must serve on: no thread, task or message may be left behind.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from tests.mailhost.standin.support import WITHIN_S, Home, Serve, Server, wait_for

FAULTY = Path(__file__).with_name("faulty.py")
CALLS = ("open", "write", "fsync", "close", "rename", "link", "unlink", "fsync,unlink", "open,write,rename,link,unlink")
ERRNOS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM)
LARGE = b"z" * 300_000 + b"\n"  # spooled before it is complete


class Disk:
    """A server whose disk fails on request."""

    def __init__(self, home: Home, serve: Serve) -> None:
        self._teller = home.path / "fault"
        self.fails()
        home.box("joe")
        home.box("two", {".qmail": "./Maildir/\n&joe@d.com\n"})
        self.home, self.accepted = home, list[str]()
        self.server: Server = serve(prefix=(sys.executable, str(FAULTY), str(self._teller)))
        self._tokens = iter(range(10_000))

    def fails(self, calls: str = "", what: int | str = "") -> None:
        """Fail from now on; without arguments the disk works again."""
        text = f"{calls} {what}" if calls else ""
        fresh = self._teller.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self._teller)

    def send(self, to: str = "joe@d.com", more: bytes = b"") -> bytes:
        """Send one message with its own token; returns the reply."""
        token = f"token-{next(self._tokens)}-"
        reply = self.server.send(to, text=f"Subject: {token}\n\n".encode() + more)
        if b" qp " in reply:  # "250 ok" alone is the answer to RCPT, last heard when we were cut off
            self.accepted.append(token)
        return reply

    def arrived(self) -> list[str]:
        """The tokens in joe's box, one for each copy."""
        found = (re.search(rb"Subject: (token-\d+-)", text) for text in self.home.mail())
        return sorted(one[1].decode() for one in found if one)

    def deliver_all(self) -> None:
        """Wait until every accepted message is there; deferred ones are tried at once."""

        def all_there() -> bool:
            self.server.signal(signal.SIGALRM)
            assert self.server.child.poll() is None, "the process ended"
            return set(self.accepted) <= set(self.arrived())

        wait_for(all_there, "all that got 250", 60)


@pytest.fixture
def disk(home: Home, serve: Serve) -> Disk:
    return Disk(home, serve)


@pytest.mark.parametrize("calls", CALLS)
def test_no_failing_call_loses_or_doubles_a_message_or_ends_the_service(disk: Disk, calls: str) -> None:
    for number in ERRNOS:
        disk.fails(calls, number)
        replies = [disk.send(), disk.send(more=LARGE), disk.send("two@d.com")]
        assert {reply[:3] for reply in replies} <= {b"250", b"451"}, (errno.errorcode[number], replies)
        disk.fails()
        assert disk.send().startswith(b"250"), f"after {errno.errorcode[number]} of {calls}"
        disk.deliver_all()
        assert disk.arrived() == sorted(disk.accepted), errno.errorcode[number]
    assert len(disk.accepted) < len(ERRNOS) * 4 or calls in ("link", "unlink"), "no fault was met"
    assert "internal trouble" not in disk.server.log
    assert "died" not in disk.server.log
    assert disk.server.stop() == 0


def test_a_fault_of_our_own_is_answered_and_the_next_message_taken(disk: Disk) -> None:
    for what in ("ValueError", "MemoryError", "RecursionError"):
        disk.fails("fsync", what)
        assert disk.send() == b"451 qq write error or disk full (#4.3.0)"
        disk.server.wait_log(f"warning: smtp 127.0.0.1: 451 qq_write_error_or_disk_full_\\(#4.3.0\\): .*{what}")
        disk.fails()
        assert disk.send().startswith(b"250")
        disk.deliver_all()
    assert disk.arrived() == sorted(disk.accepted)


def test_the_process_ends_with_its_committing_thread(disk: Disk, serve: Serve) -> None:
    disk.send()
    disk.deliver_all()
    disk.fails("fsync", "SystemExit")
    assert b" qp " not in disk.send()
    assert disk.server.child.wait(WITHIN_S) == 111
    disk.server.wait_log(r"alert: thread commit died, and the process with it: SystemExit\('injected'\) at faulty\.py:")
    disk.fails()
    disk.server = serve()
    assert b" qp " in disk.send()
    disk.deliver_all()


def test_a_message_that_is_delivered_and_cannot_be_removed_is_not_delivered_again(disk: Disk, serve: Serve) -> None:
    disk.fails("unlink", errno.EROFS)
    disk.send()
    disk.server.wait_log(r"delivery 1: success: did_1\+0\+0/")
    disk.server.wait_log("alert: unable to remove msg .*: Read-only file system; trying later")
    assert disk.home.queued()
    disk.server.kill()
    disk.fails()
    again = serve()
    again.wait_log("end msg")
    wait_for(lambda: not disk.home.queued(), "an empty queue")
    assert disk.arrived() == disk.accepted
    assert os.listdir(disk.home.path / "queue/standin/state") == []
