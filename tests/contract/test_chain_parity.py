"""Our pop3d against the real qmail-pop3d: the same Maildir, the same input, the same octets, the same files left."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mailhost.pop3.chain import interpreter, program
from tests.mailhost.pop3.support import Box, new_home, owner, remove

REAL = Path("/var/qmail/bin/qmail-pop3d")
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
    pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="runs both as popuser: needs root"),
    pytest.mark.skipif(interpreter() is None, reason="no Python that the boxes' owner can execute"),
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
