"""Our popup and pop3d against the real ones: the same Maildir, the same input, the same octets, the same files left."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mailhost.pop3.chain_programs import program
from tests.mailhost.pop3.support import Box, new_home, owner, remove

REAL = Path("/var/qmail/bin/qmail-pop3d")
REAL_POPUP = REAL.with_name("qmail-popup")
VERBS = [
    b"STAT",
    b"LIST",
    b"UIDL",
    b"RETR",
    b"TOP",
    b"DELE",
    b"RSET",
    b"NOOP",
    b"LAST",
    b"CAPA",
    b"USER joe",
    b"",
    b"retr",
]
WORDS = [
    b"1",
    b"2",
    b"3",
    b"4",
    b"0",
    b"9",
    b"x",
    b"-1",
    b"007",
    b"2x",
    b"1 1",
    b"2 0",
    b"3 2 1",
    b" 1",
    b"1 x",
    b"99999",
]
MESSAGES = {
    "new/1.a.h": b"Subject: plain\n\none\ntwo\nthree\n",
    "cur/2.b.h:2,S": b"Subject: dots\n\n.\n..\n.x\n",
    "new/3.c.h": b"Subject: no end\n\nlast",
    "new/4.d.h": b"only a header\n",
    "cur/5.e.h:2,": b"",
    "new/6.f.h": b"crlf: yes\r\n\r\nx\r\n\0\xff\rlone\n",
    "new/7.g:odd": b".first octet\n\n\n\n",
}

pytestmark = [
    pytest.mark.realqmail,
    pytest.mark.needs("real qmail", "root", "popuser's Python"),  # both programs run as popuser
]


@pytest.fixture
def boxes() -> Iterator[tuple[Box, Box]]:
    made = Box(new_home()), Box(new_home())
    for box in made:
        for number, (path, text) in enumerate(MESSAGES.items()):
            folder, name = path.split("/")
            box.put(name, text, age_s=1000 - number * 10, folder=folder)
    yield made
    for box in made:
        remove(box.home)


def script(seed: int) -> bytes:
    """A session's commands: mostly sensible, ended by QUIT, by a cut-off QUIT, or by nothing."""
    dice = random.Random(seed)
    lines = [
        dice.choice(VERBS) + (b" " + dice.choice(WORDS) if dice.random() < 0.8 else b"") + dice.choice([b"\r\n", b"\n"])
        for _ in range(dice.randrange(30))
    ]
    return b"".join(lines) + dice.choice([b"QUIT\r\n", b"quit\r\n", b"QUIT", b""])


def serve(command: list[str], box: Box, data: bytes) -> tuple[bytes, int, dict[str, bytes]]:
    """Output, exit code and the files left."""
    uid, gid = owner()
    done = subprocess.run(
        [*command, "Maildir"],
        input=data,
        capture_output=True,
        cwd=box.box,
        user=uid,
        group=gid,
        check=False,
        timeout=30,
    )
    left = {name: (box.maildir / name).read_bytes() for name in box.files()}
    return done.stdout, done.returncode, left


@pytest.mark.parametrize("seed", range(20))
def test_both_say_and_do_the_same(boxes: tuple[Box, Box], seed: int) -> None:
    ours, real = boxes
    data = script(seed)
    assert serve([program(ours.home, "pop3d")], ours, data) == serve([str(REAL)], real, data), data


@pytest.mark.parametrize("vanished", [["cur/2.b.h:2,S"], ["new/1.a.h", "cur/2.b.h:2,S", "new/3.c.h"], ["new/4.d.h"]])
def test_both_say_and_do_the_same_when_messages_vanish(boxes: tuple[Box, Box], vanished: list[str]) -> None:
    """Messages that another session has removed since the login: E-85 for each that was marked."""
    said = []
    for command, box in zip([[program(boxes[0].home, "pop3d")], [str(REAL)]], boxes, strict=True):
        uid, gid = owner()
        pipe = subprocess.PIPE
        with subprocess.Popen([*command, "Maildir"], stdin=pipe, stdout=pipe, cwd=box.box, user=uid, group=gid) as real:
            assert real.stdin is not None
            assert real.stdout is not None
            first = real.stdout.readline()  # the scan is done
            for name in vanished:
                (box.maildir / name).unlink()
            real.stdin.write(b"RETR 1\r\nTOP 2 1\r\nDELE 1\r\nDELE 2\r\nDELE 3\r\nSTAT\r\nLIST\r\nQUIT\r\n")
            real.stdin.close()
            said.append((first + real.stdout.read(), real.wait(10), box.files()))
    assert said[0] == said[1]
    assert said[0][0].count(b"unable to unlink") == len([name for name in vanished if name[4] in "123"])


BEFORE_LOGIN = [b"USER joe", b"USER  jo e ", b"USER", b"user x", b"NOOP", b"STAT", b"CAPA", b"", b"XTND x", b"APOP joe"]
ENDS = [
    b"PASS pw",
    b"PASS  p w ",
    b"pass x",
    b"APOP joe digest",
    b"APOP  a b c ",
    b"APOP joe ",
    b"QUIT",
    b"PASS",
    b"PASS " + b"x" * 300,
]


@pytest.mark.parametrize("seed", range(30))
def test_both_popups_say_the_same_and_hand_the_same_on(boxes: tuple[Box, Box], seed: int) -> None:
    """Replies, descriptor 3, and what is left on descriptor 0 for the next program when all came in one packet."""
    dice = random.Random(seed)
    lines = [*dice.choices(BEFORE_LOGIN, k=dice.randrange(6)), dice.choice(ENDS), b"STAT", b"LIST " + b"1" * 200]
    data = b"".join(line + dice.choice([b"\r\n", b"\n"]) for line in lines)
    box, (verdict, code) = boxes[0], dice.choice([("exit 0", 1), ("exit 3", 1), ("kill -9 $$", 1)])
    probe = ["sh", "-c", f"cat <&3; echo; cat; {verdict}"]
    said = []
    for popup in (program(box.home, "popup"), str(REAL_POPUP)):
        done = subprocess.run([popup, "mx", *probe], input=data, capture_output=True, check=False, timeout=30)
        said.append((re.sub(rb"<\d+\.\d+@mx>", b"<stamp>", done.stdout), done.returncode))
    assert said[0] == said[1], data
    assert said[0][1] == code
