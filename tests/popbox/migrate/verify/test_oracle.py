"""``verify --oracle``: what a mail program is given and allowed, which boxes it is tried on, and how it fails.

The program is one of ours under getmail's name, found on a PATH of its own; ``test_matrix.py`` has the real ones.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.popbox.peer import Peer, peer

from popbox.migrate.pop3.accounts import Account, Unusable
from popbox.migrate.pop3.host import Host
from popbox.migrate.verify import oracle
from popbox.migrate.verify.result import Box, Count, Downloads, Verdict
from popbox.migrate.verify.work import Work

ANN = Account("ann", "ann.new", "old-secret", "new-secret")
FETCHES = """
import os, re, socket, sys
place, rc = sys.argv[2], open(sys.argv[4]).read()
known = open(place + "/seen").read().split() if os.path.exists(place + "/seen") else []
lines = socket.create_connection(("127.0.0.1", int(re.search(r"port = (\\d+)", rc)[1])), 10).makefile("rwb")
def ask(line):
    lines.write(line.encode() + b"\\r\\n"); lines.flush()
    return lines.readline().decode().strip()
def rest():
    found = []
    while (line := lines.readline()) not in (b"", b".\\r\\n"):
        found.append(line.decode().split())
    return found
greeting = lines.readline()
said = [ask("USER x"), ask("PASS x"), ask("UIDL")]
for number, uidl in rest():
    if uidl not in known:
        said.append(ask("RETR " + number)); rest()
        said.append(ask("DELE " + number))
        known.append(uidl)
said.append(ask("QUIT"))
open(place + "/seen", "w").write(" ".join(known))
import json
with open(LOG, "a") as log:
    print(json.dumps({"said": said, "rc": rc, "environment": sorted(os.environ), "place": place}), file=log)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of programs on PATH that is not one of the system's."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    return place


def client(place: Path, program: str) -> Path:
    """Install it; the path of its log."""
    log, code = place.parent / "log", place.parent / "program.py"
    code.write_text(f"LOG = {str(log)!r}\n{program}")
    python = shlex.join([sys.executable, "-SE", str(code)])  # a line with #! takes no name with a space
    (place / "getmail").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (place / "getmail").chmod(0o755)
    return log


def box_of(*uidls: str) -> list[bytes]:
    """What a host says to a login, UIDL, and a RETR for each message."""
    listed = "".join(f"{number} {uidl}\r\n" for number, uidl in enumerate(uidls, 1))
    return [b"+OK hello\r\n", b"+OK\r\n", b"+OK\r\n", f"+OK\r\n{listed}.\r\n".encode(), *[b"+OK\r\nx\r\n.\r\n"] * 4]


def ask(stack: ExitStack, old: list[bytes], new: list[bytes]) -> tuple[oracle.Oracle, list[Peer]]:
    hosts = [stack.enter_context(peer(script)) for script in (old, new)]
    work = Work(*(Host(side, one.address) for side, one in zip(("old", "new"), hosts, strict=True)), content=True)
    return oracle.ask("getmail", work, ANN, 1), hosts


def test_it_fetches_with_its_memory_and_changes_nothing(installed: Path) -> None:
    """Two messages, then the one that it does not know; no password reaches it, no DELE and no QUIT the hosts."""
    log = client(installed, FETCHES)
    with ExitStack() as stack:
        found, hosts = ask(stack, box_of("a", "b"), box_of("a", "c"))
    assert found == oracle.Oracle(client="getmail", login="ann", first=2, again=1, expected=1)
    assert [[line.split()[0] for line in host.heard] for host in hosts] == [
        [b"USER", b"PASS", b"UIDL", b"RETR", b"RETR"],
        [b"USER", b"PASS", b"UIDL", b"RETR"],
    ]
    assert [host.heard[:2] for host in hosts] == [
        [b"USER ann\r\n", b"PASS old-secret\r\n"],
        [b"USER ann.new\r\n", b"PASS new-secret\r\n"],
    ]
    first, again = map(json.loads, log.read_text().splitlines())
    assert [one for one in first["said"] if one.startswith("-ERR")] == ["-ERR not through this read-only proxy"] * 2
    assert "secret" not in first["rc"] + again["rc"]
    of_the_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert set(first["environment"]) - of_the_shell <= {"PATH", "HOME", "LC_ALL", "LC_CTYPE"}
    assert not Path(first["place"]).exists()


@pytest.mark.parametrize(
    ("program", "old", "rule"),
    [
        ("import sys; sys.exit('no such box')", box_of("a"), "ann on the old host: exit 1: no such box"),
        ("print('said so'); raise SystemExit(7)", box_of("a"), "ann on the old host: exit 7: said so"),
        (FETCHES, [b"+OK hello\r\n", b"+OK\r\n", b"-ERR wrong\r\n"], "ann on the old host: exit 1: .*-ERR wrong"),
        (FETCHES, box_of("a")[:4], "ann on the old host: exit"),
        ("import time; time.sleep(60)", box_of("a"), r"oracle getmail: took more than 0\.5 s on the old host"),
    ],
)
def test_one_that_does_not_end_well_is_named(
    installed: Path, monkeypatch: pytest.MonkeyPatch, program: str, old: list[bytes], rule: str
) -> None:
    monkeypatch.setattr(oracle, "RUN_S", 0.5 if "sleep" in program else 60)
    client(installed, program)
    with ExitStack() as stack, pytest.raises(Unusable, match=rule) as refused:
        ask(stack, old, box_of("a"))
    assert "secret" not in str(refused.value)


def a_box(login: str, messages: int, verdict: Verdict, unavailable: str = "") -> Box:
    return Box(
        login=login, new_login=login, verdicts={"uidl": verdict}, old=Count(messages=messages),
        downloads=Downloads(uidl=messages), unavailable=unavailable,
    )  # fmt: skip


def test_boxes_that_differ_are_tried_first_and_no_more_than_asked_for(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(installed, "")
    boxes = [
        a_box("equal", 3, Verdict.EQUAL),
        a_box("empty", 0, Verdict.DIFFERENT),
        a_box("gone", 3, Verdict.DIFFERENT, "no answer"),
        a_box("differs", 5, Verdict.DIFFERENT),
        a_box("equal too", 3, Verdict.EQUAL),
    ]
    accounts = [Account(box.login, box.login, "p", "p") for box in boxes]
    monkeypatch.setattr(oracle, "ask", lambda client, _work, account, expected: (client, account.old_login, expected))
    work = Work(Host("old", Peer, "none"), Host("new", Peer, "none"), content=True)  # type: ignore[arg-type]
    assert list(oracle.run(work, ["getmail"], accounts, boxes, 2)) == [
        ("getmail", "differs", 5),
        ("getmail", "equal", 3),
    ]


def test_a_client_that_is_not_installed_is_unusable_input(installed: Path) -> None:
    work = Work(Host("old", Peer, "none"), Host("new", Peer, "none"), content=True)  # type: ignore[arg-type]
    with pytest.raises(Unusable, match="--oracle fetchmail: fetchmail is not installed"):
        list(oracle.run(work, ["fetchmail"], [], [], 1))
