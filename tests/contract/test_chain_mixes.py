"""The chain's contract: each of popup, checkpassword and pop3d swaps with anybody's, 8 mixes of ours and the real."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import needs
from tests.mailhost.pop3.chain_programs import converse, end, program
from tests.mailhost.pop3.support import Box, new_home, owner, remove

REAL = Path("/var/qmail/bin")
OURS, THEIRS = "ours", "real"
needs_owner = pytest.mark.needs("popuser's Python")
needs_root = pytest.mark.needs("root")  # the real programs change their uid


@pytest.fixture
def box() -> Iterator[Box]:
    home = new_home()
    yield Box(home)
    remove(home)


def checker(box: Box, whose: str) -> list[str]:
    """A checkpassword: ours, or one that is not ours."""
    if whose == OURS:
        return [program(box.home, "checkpoppasswd"), "--file", str(box.home / "users" / "poppasswd")]
    return [str(reference(box.home))]


def reference(folder: Path) -> Path:
    """A checkpassword that is not ours: bench/pop3/checkpw.c, compiled; it knows poppasswd files."""
    compiler = needs.program("C compiler")
    source = Path(__file__).parents[1] / "bench" / "pop3" / "checkpw.c"
    path = folder / "reference"
    subprocess.run([compiler, "-o", str(path), str(source), "-lcrypt"], check=True)
    wrapper = folder / "checkpassword"
    wrapper.write_text(f'#!/bin/sh\nexec {path} {folder}/users/poppasswd "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def part(box: Box, name: str, whose: str) -> str:
    """popup or pop3d of either house."""
    if whose == OURS:
        return program(box.home, name)
    needs.require("real qmail")
    return str(REAL / f"qmail-{name}")


@needs_owner
@needs_root
@pytest.mark.realqmail
@pytest.mark.parametrize(("front", "middle", "back"), list(itertools.product([OURS, THEIRS], repeat=3)))
def test_every_mix_serves_the_howtos_session(box: Box, front: str, middle: str, back: str) -> None:
    box.put("1.a.h", b"Subject: one\n\n.dot\nhello\n", age_s=30)
    box.put("2.b.h", b"Subject: two\n\nno end", age_s=20)
    chain = [part(box, "popup", front), "mx.example.net", *checker(box, middle), part(box, "pop3d", back), "./Maildir"]
    client, process = converse(chain)
    assert client.line().endswith(b"@mx.example.net>\r\n")
    assert client.login() == b"+OK \r\n"
    assert client.ask(b"STAT") == b"+OK 2 45\r\n"
    assert client.lines(b"LIST") == b"1 25\r\n2 20\r\n.\r\n"
    assert client.lines(b"UIDL") == b"1 1.a.h\r\n2 2.b.h\r\n.\r\n"
    assert client.lines(b"RETR 1") == b"Subject: one\r\n\r\n..dot\r\nhello\r\n\r\n.\r\n"
    assert client.lines(b"TOP 2 0") == b"Subject: two\r\n\r\n\r\n.\r\n"
    assert client.ask(b"DELE 1") == b"+OK \r\n"
    assert client.ask(b"STAT") == b"+OK 2 20\r\n"
    assert client.ask(b"LAST") == b"+OK 1\r\n"
    assert client.ask(b"XTND") == b"-ERR unimplemented\r\n"
    assert client.ask(b"QUIT") == b"+OK \r\n"
    assert client.end() == b""
    assert end(client, process)[0] == 1, "popup's exit code, whatever the session was"
    assert box.files() == ["cur/2.b.h:2,"]
    assert (box.maildir / "cur" / "2.b.h:2,").stat().st_uid == owner()[0]


@needs_owner
@needs_root
@pytest.mark.realqmail
@pytest.mark.parametrize(("front", "middle"), list(itertools.product([OURS, THEIRS], repeat=2)))
def test_every_mix_refuses_a_wrong_password(box: Box, front: str, middle: str) -> None:
    chain = [part(box, "popup", front), "mx", *checker(box, middle), "/bin/true"]
    client, process = converse(chain)
    client.line()
    assert client.login(password=b"wrong") == b"-ERR authorization failed\r\n"
    assert client.end() == b""
    assert end(client, process)[0] == 1


@needs_owner
@needs_root
@pytest.mark.realqmail
@pytest.mark.parametrize("back", [OURS, THEIRS])
@pytest.mark.parametrize("front", [OURS, THEIRS])
def test_debians_checkpw_fits_too(box: Box, front: str, back: str) -> None:
    """checkpw looks a system account up and compares with ``.password`` in its Maildir, in the clear."""
    checkpw = needs.program("checkpw")
    (box.maildir / ".password").write_text("testpw")
    (box.maildir / ".password").chmod(0o600)
    os.chown(box.maildir / ".password", *owner())
    chain = [part(box, "popup", front), "mx", checkpw, part(box, "pop3d", back), "./Maildir"]
    client, process = converse([*with_account(box), *chain])
    client.line()
    assert client.login(b"popuser") == b"+OK \r\n"
    assert client.ask(b"STAT") == b"+OK 0 0\r\n"
    assert client.ask(b"QUIT") == b"+OK \r\n"
    assert end(client, process)[0] == 1


def with_account(box: Box) -> list[str]:
    """The words that run a command where the system has an account popuser with the box as its home."""
    needs.require("mount namespace")
    uid, gid = owner()
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("popuser:")]
    accounts = box.home / "passwd"
    accounts.write_text("\n".join([*others, f"popuser:x:{uid}:{gid}::{box.box}:/bin/sh"]) + "\n")
    accounts.chmod(0o644)
    return ["unshare", "-m", "sh", "-c", f'mount --bind {accounts} /etc/passwd && exec "$@"', "sh"]
