"""Control files that change, vanish, or become something else under a running server, compared with a new qmail-smtpd.

qmail-smtpd is a new process for each connection and reads everything then; the stand-in keeps what it has read until a
file changes. The server here is a real one, asked over its socket after each change.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.mailhost.standin.support import Home, Server
from tests.parity.real import HOME, MARKS, privately
from tests.parity.test_smtp import normal

pytestmark = MARKS

CHANGES = 250
NAMES = ("me", "rcpthosts", "badmailfrom", "smtpgreeting", "localiphost", "databytes", "morercpthosts.cdb")
TEXTS = (
    b"d.com\n",
    b"e.org\n",
    b"D.COM",
    b".org\n",
    b"s@x\n",
    b"@x\n\n",
    b"s@x\0\n",
    b"3\n",
    b"4\n",
    b"0",
    b"",
    b"\n",
    b"#d.com\n",
)
TAKES_ALL = "#!/bin/sh\ncat >/dev/null\ncat <&1 >/dev/null\n"  # in qmail-queue's place
ASKED = (
    b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<j@d.com>\r\nMAIL FROM:<s@x>\r\nRCPT TO:<j@d.com>\r\nRCPT TO:<j@e.org>\r\n"
    b"RCPT TO:<j@[127.0.0.1]>\r\nRCPT TO:<nohost>\r\nDATA\r\nabc\r\n.\r\nQUIT\r\n"
)


def rewrite(path: Path, chance: random.Random) -> None:
    with path.open("wb") as file:  # in place, perhaps with as many octets as before
        file.write(chance.choice(TEXTS))


def replace(path: Path, chance: random.Random) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(chance.choice(TEXTS))
    fresh.rename(path)


def backdate(path: Path, chance: random.Random) -> None:
    rewrite(path, chance)
    os.utime(path, (1_000_000_000, 1_000_000_000))


def link(path: Path, chance: random.Random) -> None:
    """A link to a file that changes while the link does not, to a device, to nothing, to itself."""
    target = path.with_name("target")
    target.write_bytes(chance.choice(TEXTS))
    path.symlink_to(chance.choice(("target", "/dev/null", "nowhere", path.name)))


def other_kind(path: Path, chance: random.Random) -> None:
    if chance.random() < 0.5:
        os.mkfifo(path)
    else:
        path.mkdir()


def nothing(_path: Path, _chance: random.Random) -> None:
    """Remove the file."""


CHANGE: tuple[Callable[[Path, random.Random], None], ...] = (
    rewrite, rewrite, rewrite, replace, replace, backdate, backdate, link, other_kind, nothing,
)  # fmt: skip


def change(chance: random.Random) -> str:
    """Change one control file; returns a description of the change."""
    how, name = chance.choice(CHANGE), chance.choice(NAMES)
    path = HOME / "control" / name
    if path.is_dir():
        path.rmdir()
    elif how not in (rewrite, backdate) or not path.is_file():
        path.unlink(missing_ok=True)
    how(path, chance)
    return f"{how.__name__} {name}"


def qmail_smtpd() -> bytes:
    environment = {"TCPREMOTEIP": "127.0.0.1", "QMAILQUEUE": str(HOME / "bin/takes-all")}
    return subprocess.run(
        [HOME / "bin/qmail-smtpd"], input=ASKED, capture_output=True, check=False, env=environment, timeout=20
    ).stdout


class Private(Home):
    """The private copy; a ``Server`` needs only the path of a home."""

    def __init__(self) -> None:
        self.path = HOME


def compare(changes: int) -> list[str]:
    chance, differences, done = random.Random(4711), [], ["at start"]
    shutil.rmtree(HOME / "queue")
    (HOME / "bin/takes-all").write_text(TAKES_ALL)
    (HOME / "bin/takes-all").chmod(0o755)
    for name, text in (("me", b"mx.example.net\n"), ("rcpthosts", b"d.com\n")):
        (HOME / "control" / name).write_bytes(text)
    (HOME / "control/locals").write_text("mx.example.net\n")
    server = Server(Private())
    try:
        for _ in range(changes):
            theirs, mine = normal(qmail_smtpd()), normal(server.talk(ASKED))
            if theirs != mine:
                differences.append(f"after {done[-3:]}:\n  real {theirs!r}\n  ours {mine!r}")
            done.append(change(chance))
            if not (HOME / "control/me").exists() and chance.random() < 0.8:
                replace(HOME / "control/me", chance)
    finally:
        server.close()
    return differences


def test_q_smtp_1_each_connection_is_told_what_the_files_say_now() -> None:
    differences = privately(lambda: compare(CHANGES))
    print(f"{CHANGES} changes of control files under a running server compared with qmail-smtpd")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:4])
