"""Full disks and mailboxes that cannot be written: nothing is lost, and the log names the cause. Facts by id."""

from __future__ import annotations

import signal
import subprocess

import pytest
from tests.mailhost.standin.support import Home, Serve, cli, wait_for


def test_h_34_a_read_only_mailbox_defers_and_a_restart_keeps_the_schedule(home: Home, serve: Serve) -> None:
    box = home.box("joe")
    (box / "Maildir/tmp").chmod(0o500)
    server = serve()
    server.send("joe@d.com")
    server.wait_log(r"warning: delivery 1: \S+/Maildir/tmp/\S+: Permission denied\ndelivery 1: deferral")
    wait_for(lambda: home.queued("state"), "the journal")
    server.kill()
    home.box("ann")
    again = serve()
    again.send("ann@d.com")
    again.wait_log("delivery 1: success")
    assert again.log.count("starting delivery") == 1, "ann's alone: joe's has its time, and was in the queue before her"
    (box / "Maildir/tmp").chmod(0o700)
    again.signal(signal.SIGALRM)
    again.wait_log("delivery 2: success")
    assert len(home.mail()) == 1


def test_q_data_10_a_full_disk_gives_451_and_loses_nothing(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve(prefix=("prlimit", "--fsize=200000", "--"))
    assert server.send("joe@d.com", text=b"x" * 90 + b"\n" + b"y" * 300_000 + b"\n") == (
        b"451 qq write error or disk full (#4.3.0)"
    )
    assert home.queued() == []
    assert home.queued("tmp") == []
    assert server.send("joe@d.com").startswith(b"250 ok")
    server.wait_log("end msg")
    assert len(home.mail()) == 1


@pytest.mark.needs("mount namespace")
def test_a_full_file_system_gives_4xx_and_what_was_accepted_arrives(home: Home, serve: Serve) -> None:
    box = home.box("joe")
    argv = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=512k,mode=0755 none "$1" && shift && exec "$@"', "sh"]
    server = serve(prefix=(*argv, str(home.path / "queue")))
    (box / "Maildir/new").rename(box / "Maildir/away")
    replies = [server.send("joe@d.com", text=b"z" * 60_000 + b"\n")[:3] for _ in range(12)]
    assert replies.count(b"250") >= 3
    assert set(replies) == {b"250", b"451"}
    server.wait_log(
        r"warning: smtp 127\.0\.0\.1: 451 qq_write_error_or_disk_full_\S+: \S+/tmp/\d+: No space left on device"
    )
    server.wait_log(f"(?s)(deferral.*){{{replies.count(b'250')}}}")
    server.wait_log(r"warning: delivery 1: \S+/Maildir/\S+: No such file or directory\ndelivery 1: deferral: ")
    (box / "Maildir/away").rename(box / "Maildir/new")

    def flushed() -> bool:
        server.signal(signal.SIGALRM)  # which some may not be deferred for yet
        return len(home.mail()) >= replies.count(b"250")

    wait_for(flushed, "all that got 250")
    assert server.send("joe@d.com").startswith(b"250")


@pytest.mark.needs("mount namespace")
def test_a_read_only_mailbox_and_a_full_one_defer_and_later_deliver(home: Home, serve: Serve) -> None:
    """Faults as a harness makes them: the mailbox's file system is read-only, then full, then works again."""
    box = home.box("joe", {".qmail": "./Maildir/\n./Mailbox\n"})
    script = (
        'mount -t tmpfs -o size=64k,mode=0755 none "$1/Maildir" && mkdir -m 777 "$1/Maildir/new" "$1/Maildir/tmp" '
        '&& mount -o remount,ro "$1/Maildir" && shift && exec "$@"'
    )
    server = serve(prefix=("unshare", "-m", "sh", "-c", script, "sh", str(box)))

    def inside(*argv: str) -> None:
        subprocess.run(["nsenter", f"--mount=/proc/{server.child.pid}/ns/mnt", *argv], check=True)

    def again() -> None:
        wait_for(lambda: "next try" in cli(home, "queue", "list").stdout, "its place in the schedule")
        server.signal(signal.SIGALRM)

    server.send("joe@d.com")
    cause = r"warning: delivery %d: \S+/Maildir/tmp/\S+: %s\ndelivery %d: deferral: Temporary_"
    server.wait_log(cause % (1, "Read-only file system", 1))
    inside("mount", "-o", "remount,rw", str(box / "Maildir"))
    inside("sh", "-c", f"head -c 100000 /dev/zero > {box}/Maildir/filler || true")
    again()
    server.wait_log(cause % (2, "No space left on device", 2))
    inside("rm", str(box / "Maildir/filler"))
    again()
    server.wait_log("delivery 3: success: did_2")
    inside("sh", "-c", f'test $(ls {box}/Maildir/new | wc -l) = 1 && test -z "$(ls {box}/Maildir/tmp)"')
    wait_for(lambda: not home.queued(), "an empty queue")
