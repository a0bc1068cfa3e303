"""`mailhost queue list` against the real qmail-qread, on a queue that qmail has made and on one made at random."""

from __future__ import annotations

import os
import pwd
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.parity.real import HOME, MARKS, own, privately

from mailhost.qmail.queue import DamagedError, Message, load

pytestmark = MARKS

WITHIN_S = 60
MESSAGES = 60
RULES = {"ok": "./Maildir/\n", "later": "|exit 111\n", "never": "|echo no; exit 100\n"}
QUEUE = HOME / "queue"


def as_qread_prints(message: Message) -> list[str]:
    """Q-QUEUE-9, with the bytes that qmail-qread hides."""
    moment = time.gmtime(message.arrived)
    date = f"{moment.tm_mday} {time.strftime('%b %Y %H:%M:%S', moment)} GMT"
    head = f"{date}  #{message.number}  {message.octets}  <{hidden(message.sender)}> "
    lines = [
        f"{'  done' if one.done else ''}\t{'local' if one.local else 'remote'}\t{hidden(one.address)}"
        for one in message.recipients
    ]
    return [head + (" bouncing" if message.bounce else ""), *lines]


def hidden(octets: bytes) -> str:
    return "".join(chr(one) if 32 <= one <= 126 else "_" for one in octets)


def compared() -> tuple[set[str], set[str], int]:
    """The messages as qmail-qread and we show them, and how many we show that it does not: those in todo."""
    printed = subprocess.run([HOME / "bin/qmail-qread"], capture_output=True, check=True, timeout=60).stdout.decode()
    theirs: list[str] = []
    for line in printed.splitlines():
        if line.startswith(("\t", "  done\t")):
            theirs[-1] += "\n" + line
        else:
            theirs.append(line)
    found = [one for _, one in load(QUEUE) if not isinstance(one, DamagedError)]
    ours = {"\n".join(as_qread_prints(one)) for one in found if one.processed}
    return set(theirs), ours, sum(not one.processed for one in found)


def hand_in(sender: bytes, recipients: list[bytes]) -> None:
    """By qmail-queue: the message on 0, the envelope on 1 (Q-QUEUE-1)."""
    envelope = b"F" + sender + b"\0" + b"".join(b"T" + one + b"\0" for one in recipients) + b"\0"
    (message, put), (read, write) = os.pipe(), os.pipe()
    for fd, octets in ((put, b"Subject: x\n\nhello\n"), (write, envelope)):
        os.write(fd, octets)
        os.close(fd)
    subprocess.run([HOME / "bin/qmail-queue"], stdin=message, stdout=read, check=True, timeout=60)
    os.close(message)
    os.close(read)


def set_up() -> None:
    lines = ""
    for name, rule in RULES.items():
        box = HOME / "popboxes" / name
        for folder in ("new", "cur", "tmp"):
            (box / "Maildir" / folder).mkdir(parents=True)
        (box / ".qmail").write_text(rule)
        own(box)
        lines += f"={name}:popuser:888:888:{box}:::\n"
    (HOME / "users/assign").write_text(lines + ".\n")
    for name, text in {"me": "m.example\n", "locals": "m.example\n", "concurrencyremote": "0\n"}.items():
        (HOME / "control" / name).write_text(text)
    subprocess.run([HOME / "bin/qmail-newu"], check=True)


def of_a_running_qmail() -> list[tuple[set[str], set[str], int]]:
    set_up()
    to = [b"ok@m.example", b"later@m.example", b"never@m.example", b"x y@far.example", b"n\nl\xe9@far.example"]
    hand_in(b"a@b.example", to)
    hand_in(b"", [b"later@m.example"])
    hand_in(b"list-@b.example-@[]", [b"x@far.example"])
    seen = [compared()]
    log = Path("/var/tmp/qmail-send.log")
    with log.open("wb") as out:
        sender = subprocess.Popen(
            [HOME / "bin/qmail-start", "./Mailbox"],
            stdout=out,
            stderr=out,
            env={"PATH": f"{HOME}/bin:/usr/bin:/bin"},
        )
    deadline = time.monotonic() + WITHIN_S
    while log.read_bytes().count(b"\ndelivery ") < 4:
        assert time.monotonic() < deadline, log.read_bytes()
        time.sleep(0.05)
    seen.append(compared())
    sender.send_signal(signal.SIGTERM)
    sender.wait(WITHIN_S)
    return [*seen, compared()]


def test_a_queue_that_qmail_works_on() -> None:
    (nothing, none, before), *worked = privately(of_a_running_qmail)
    assert (nothing, none, before) == (set(), set(), 3), "qmail-qread does not show what lies in todo"
    for theirs, ours, waiting in worked:
        assert ours == theirs
        assert (len(ours), waiting) == (3, 0)
        assert any("bouncing\n  done\tlocal\tok@m.example\n\tlocal\tlater@m.example\n  done" in one for one in ours)


def of_a_random_queue() -> tuple[set[str], set[str], int]:
    chance, users = random.Random(1), [pwd.getpwnam(name) for name in ("qmails", "qmailq")]
    letters = b"ab @<>\t\n\r\x01\x1b\x7f\x80\xff_#"

    def address() -> bytes:
        return bytes(chance.choices(letters, k=chance.randrange(0, 30)))

    def put(place: str, octets: bytes, user: pwd.struct_passwd) -> None:
        path = QUEUE / place
        path.write_bytes(octets)
        os.chown(path, user.pw_uid, user.pw_gid)
        moment = chance.randrange(0, 2_000_000_000)
        os.utime(path, (moment, moment))

    for number in chance.sample(range(1, 10**9), MESSAGES):
        split = f"{number % 23}/{number}"
        put(f"mess/{split}", b"x" * chance.randrange(0, 5_000), users[1])
        put(f"info/{split}", b"F" + address() + b"\0", users[0])
        for part in chance.sample(("local", "remote"), chance.randrange(0, 3)):
            rows = b"".join(chance.choice((b"T", b"D")) + address() + b"\0" for _ in range(chance.randrange(0, 5)))
            put(f"{part}/{split}", rows, users[0])
        if chance.random() < 0.3:
            put(f"bounce/{number}", b"<x>:\nno\n\n", users[0])
    return compared()


def test_a_queue_of_random_messages() -> None:
    theirs, ours, _ = privately(of_a_random_queue)
    assert ours == theirs
    assert len(ours) == MESSAGES
