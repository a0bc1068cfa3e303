"""qmail's queue as `mailhost queue` reads it, made by hand (Q-QUEUE-5 to 9); tests/parity has the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.needs import require

from mailhost.cli import main
from mailhost.qmail.queue import PARTS, DamagedError, Message, Recipient, load, open_message, read

ARRIVED = 1_700_000_000


class Queue:
    """A queue directory in which a test puts what qmail would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in PARTS:
            (root / part).mkdir(parents=True)
            for split in range(23) if part not in ("bounce", "todo") else ():
                (root / part / str(split)).mkdir()

    def put(self, name: str, octets: bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(octets)
        os.utime(path, (ARRIVED, ARRIVED))
        return path

    def message(self, number: int, **parts: bytes) -> None:
        """One that qmail-send has looked at; ``parts`` are its files by the part's name."""
        for part, octets in ({"mess": b"Subject: x\n\nhello\n", "info": b"Fa@b.org\0"} | parts).items():
            self.put(f"{part}/{number}" if part == "bounce" else f"{part}/{number % 23}/{number}", octets)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue")


def run(queue: Queue, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(queue.root.parent), "queue", *words], catch_exceptions=False)


def test_q_queue_6_7_a_message_as_qmail_send_keeps_it(queue: Queue) -> None:
    queue.message(71, local=b"Djoe@d.com\0Tann@d.com\0", remote=b"T\xff y@far.org\0", bounce=b"<x@y>:\nno\n\n")
    recipients = (Recipient(b"joe@d.com", True, True), Recipient(b"ann@d.com", True, False))
    whole = Message(71, ARRIVED, 18, b"a@b.org", (*recipients, Recipient(b"\xff y@far.org", False, False)))
    assert list(load(queue.root)) == [
        (71, Message(whole.number, whole.arrived, 18, whole.sender, whole.recipients, True, b"<x@y>:\nno\n\n"))
    ]
    with os.fdopen(open_message(queue.root, 71), "rb") as text:
        assert text.read() == b"Subject: x\n\nhello\n"


@pytest.mark.parametrize("place", ["todo/90", "todo/21/90"])  # the second with big todo
def test_q_queue_8_a_message_that_qmail_send_has_not_looked_at(queue: Queue, place: str) -> None:
    queue.message(90, info=b"Fhalf")  # qmail-send is at it
    queue.put(place, b"u0\0p12\0F\0Tjoe@d.com\0Tann@d.com\0")
    unrouted = tuple(Recipient(one, None, False) for one in (b"joe@d.com", b"ann@d.com"))
    assert read(queue.root, 90) == Message(90, ARRIVED, 18, b"", unrouted, processed=False)
    assert [number for number, _ in load(queue.root)] == [90]


@pytest.mark.parametrize("part", ["info", "local", "remote", "bounce"])
def test_a_message_that_ends_while_it_is_read_is_not_there(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Never half of it: qmail-send takes its files away just before one of them is opened, qmail-clean mess later."""
    queue.message(5, local=b"Tjoe@d.com\0", remote=b"Tann@d.com\0", bounce=b"no\n")
    opened = os.open

    def removing(path: Path, flags: int) -> int:
        if path.is_relative_to(queue.root / part):
            for each in ("local/5/5", "remote/5/5", "bounce/5", "info/5/5"):
                (queue.root / each).unlink()
        return opened(path, flags)

    monkeypatch.setattr(os, "open", removing)
    assert list(load(queue.root)) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"info": b"a@b.org\0"}, "info/9/9: the sender is not F"),
        ({"info": b"Fa@b.org"}, "info/9/9: does not end in a NUL"),
        ({"info": b""}, "info/9/9: the sender is not F"),
        ({"local": b"Tjoe@d.com\0Xann@d.com\0"}, "local/9/9: a recipient is neither T nor D"),
        ({"remote": b"Tjoe@d.c"}, "remote/9/9: does not end in a NUL"),
    ],
)
def test_a_damaged_message_is_named_and_hides_no_other(queue: Queue, parts: dict[str, bytes], said: str) -> None:
    queue.message(9, **parts)
    queue.message(10, local=b"Tjoe@d.com\0")
    with pytest.raises(DamagedError, match=said):
        read(queue.root, 9)
    listed = run(queue, "list").stdout
    assert said in listed
    assert "local  waiting   joe@d.com" in listed
    shown = run(queue, "show", "9")
    assert (shown.exit_code, said in shown.output) == (1, True)


def test_a_fifo_in_its_place_is_damage_and_not_waited_for(queue: Queue) -> None:
    queue.message(9)
    (queue.root / "info/9/9").unlink()
    os.mkfifo(queue.root / "info/9/9")
    (queue.root / "info/9/not-a-number").write_text("")
    assert [str(found) for _, found in load(queue.root)] == [f"{queue.root / 'info/9/9'}: no regular file"]


def test_list_says_whose_queue_and_how_old(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: ARRIVED + 7_300.0)
    queue.message(71, local=b"Djoe@d.com\0", remote=b"Tann@far.org\0", bounce=b"no\n")
    (message,) = json.loads(run(queue, "list", "--json").stdout)
    done = {"address": "joe@d.com", "channel": "local", "state": "done", "next_try": None}
    waits = {"address": "ann@far.org", "channel": "remote", "state": "waiting", "next_try": None}
    assert message == {
        "id": 71,
        "queue": "qmail",
        "arrived": ARRIVED,
        "age_s": 7300,
        "octets": 18,
        "sender": "a@b.org",
        "bouncing": True,
        "recipients": [done, waits],
    }
    assert run(queue, "list").stdout.splitlines() == [
        "71  2023-11-14 22:13:20Z  2 h old  18 octets  from <a@b.org>  bouncing",
        "    local  done      joe@d.com",
        "    remote waiting   ann@far.org",
        "1 message in the queue",
    ]


def test_show_has_the_text_and_the_reports(queue: Queue) -> None:
    queue.message(71, local=b"Djoe@d.com\0", bounce=b"<joe@d.com>:\nno \x1b[2J\n\n")
    shown = run(queue, "show", "71").stdout
    assert "    | <joe@d.com>:\n    | no \\x1b[2J\n\nSubject: x\n\nhello\n" in shown
    assert run(queue, "show", "72").exit_code == 1


def test_a_reader_that_goes_is_no_fault_of_the_queue(queue: Queue) -> None:
    queue.message(71)
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "mailhost", "--home", str(queue.root.parent), "queue", "show", "71"]
    done = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, ""), "as click ends a program whose reader has gone"


def test_what_is_qmails_is_not_deleted(queue: Queue) -> None:
    queue.message(71)
    refused = run(queue, "delete", "71")
    assert (refused.exit_code, "only read" in refused.output) == (1, True)
    assert (queue.root / "mess/2/71").exists()


def test_a_home_without_a_queue_and_a_queue_that_is_not_ours(tmp_path: Path, queue: Queue) -> None:
    none = CliRunner().invoke(main, ["--home", str(tmp_path / "other"), "queue", "list"])
    assert (none.exit_code, "no queue" in none.output) == (111, True)


def test_another_user_is_told_who_may_read(queue: Queue) -> None:
    require("root")
    queue.message(71)
    (queue.root / "info").chmod(0o700)
    for path in (queue.root, *queue.root.parents):
        if path != Path("/") and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        done = run(queue, "list")
        os._exit(0 if done.exit_code == 111 and "Permission denied: root reads" in done.output else 1)
    assert os.waitpid(child, 0)[1] == 0
