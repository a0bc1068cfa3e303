"""A reader renames messages while a session has them listed: they are found by base name, in every command."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.mailhost.pop3.chain_programs import converse, end, interpreter
from tests.mailhost.pop3.support import Box, Client, Running, owner
from tests.needs import require

from mailhost.pop3.maildrop import names
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.transfer import begin
from mailhost.pop3.protocol.events import Reply, Transmit
from mailhost.pop3.protocol.listing import LARGE

GONE = Reply(b"-ERR gone\r\n", ok=False)


def text(number: int, octets: int = 10) -> bytes:
    return b"Subject: %d\n\n%b\n" % (number, b"x" * octets)


def wire(number: int, octets: int = 10) -> bytes:
    return text(number, octets).replace(b"\n", b"\r\n") + b".\r\n"


def seen(box: Box, flags: str = "S") -> None:
    """What mutt does when it has shown a folder: all goes to cur/ with a flag."""
    for folder in ("new", "cur"):
        for path in list((box.maildir / folder).iterdir()):
            path.rename(box.maildir / "cur" / f"{path.name.partition(':')[0]}:2,{flags}")


@contextmanager
def renamer(box: Box) -> Iterator[None]:
    """Changes flags of all messages all the time, as fast as it can."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            for path in list((box.maildir / "cur").iterdir()):
                flags = "" if path.name.endswith("S") else "S"
                try:
                    path.rename(path.with_name(path.name.partition(":")[0] + ":2," + flags))
                except FileNotFoundError:
                    continue

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def enter(server: Running) -> Client:
    client = server.client()
    assert client.login().startswith(b"+OK")
    return client


def test_retr_and_top_find_it_and_dele_removes_it(box: Box, serve: Callable[..., Running]) -> None:
    for number, octets in ((1, 10), (2, 200_000), (3, 10)):
        box.put(f"{number}.h", text(number, octets), age_s=100 - number)
    client = enter(serve())
    seen(box)
    assert client.lines(b"RETR 1") == wire(1)
    assert client.lines(b"RETR 2") == wire(2, 200_000)
    assert client.lines(b"TOP 3 0") == b"Subject: 3\r\n\r\n.\r\n"
    seen(box, "FRS")
    assert client.lines(b"RETR 1") == wire(1)
    assert client.ask(b"DELE 1").startswith(b"+OK")
    assert client.ask(b"DELE 2").startswith(b"+OK")
    assert client.ask(b"QUIT").startswith(b"+OK")
    assert box.files() == ["cur/3.h:2,FRS"]


def test_a_large_box_looks_in_a_thread(box: Box, serve: Callable[..., Running]) -> None:
    for number in range(LARGE + 10):
        (box.maildir / "new" / f"{number}.h").write_bytes(b"Subject: x\n\n")
    box.put("last.h", text(9), age_s=-10)
    for path in (box.maildir / "new").iterdir():
        os.chown(path, *owner())
    client = enter(serve())
    seen(box)
    assert client.lines(b"RETR %d" % (LARGE + 11)) == wire(9)
    client.send(b"RETR 1\r\nTOP 2 0\r\nNOOP\r\nDELE 3\r\nQUIT\r\n")
    for _ in range(2):
        assert client.line().startswith(b"+OK")
        assert client.rest() == b"Subject: x\r\n\r\n.\r\n"
    assert [client.line()[:3] for _ in range(3)] == [b"+OK"] * 3
    assert len(box.files()) == LARGE + 10


def test_whoever_renames_all_the_time_hides_no_message(box: Box, serve: Callable[..., Running]) -> None:
    many = 40
    for number in range(1, many + 1):
        box.put(f"{number}.h:2,", text(number), age_s=1000 - number, folder="cur")
    server = serve()
    with renamer(box):
        for _ in range(3):
            client = enter(server)
            assert client.lines(b"LIST").count(b"\n") == many + 1, "each is listed, and once"
            for number in range(1, many + 1):
                assert client.lines(b"RETR %d" % number) == wire(number)
                assert client.lines(b"TOP %d 0" % number) == b"Subject: %d\r\n\r\n.\r\n" % number
            assert client.ask(b"QUIT").startswith(b"+OK")
        client = enter(server)
        for number in range(1, many + 1):
            assert client.ask(b"DELE %d" % number).startswith(b"+OK")
        assert client.ask(b"QUIT").startswith(b"+OK")
        assert box.files() == []


def test_what_has_gone_is_an_error_and_costs_one_look(
    box: Box, serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    box.put("1.h", text(1))
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    event = Transmit(drop.listing().messages[0], None, b"+OK\r\n", GONE)
    (box.maildir / "new" / "1.h").unlink()
    looks: list[bytes] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: looks.append(path) or real(path))
    monkeypatch.setattr(names, "RACY_NS", 0)
    for _ in range(1000):
        with pytest.raises(FileNotFoundError):
            begin(drop, event)
        assert drop.search(event) is None
    assert len(looks) == 2, "nothing has changed in new/ and cur/ since"
    drop.close()


def test_a_flood_may_not_read_directories_without_end(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.put("1.h", text(1))
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    event = Transmit(drop.listing().messages[0], None, b"+OK\r\n", GONE)
    (box.maildir / "new" / "1.h").unlink()
    monkeypatch.setattr(names, "FREE_S", 0.0)
    monkeypatch.setattr(names, "SHARE", 0.0)
    looks: list[bytes] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: looks.append(path) or real(path))
    for number in range(100):
        box.put(f"{number}.other", b"")  # each delivery is a reason to look again
        assert drop.search(event) is None
    assert len(looks) == 2
    drop.close()


def test_another_message_under_the_name_is_not_taken_for_it(box: Box) -> None:
    box.put("1.h", text(1), age_s=300)
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    event = Transmit(drop.listing().messages[0], None, b"+OK\r\n", GONE)
    box.put("other", text(2))
    (box.maildir / "new" / "1.h").unlink()
    (box.maildir / "new" / "other").rename(box.maildir / "cur" / "1.h:2,S")
    found = drop.search(event)
    assert found is None or os.pread(found.fd, 100, 0) == text(1)
    drop.close()


def test_a_message_that_moves_during_the_scan_is_listed_once(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        box.put(f"{number}.h", text(number), age_s=100 - number)
    real, moved = Maildrop._read_folder, [0]

    def read(drop: Maildrop, folder: bytes, *others: object) -> Iterator[None]:
        yield from real(drop, folder, *others)  # type: ignore[arg-type]
        if folder == b"new/" and not moved[0]:
            moved[0] = 1
            seen(box)

    monkeypatch.setattr(Maildrop, "_read_folder", read)
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    assert [(message.path, message.uid) for message in drop.listing().messages] == [
        (b"cur/%d.h:2,S" % number, b"%d.h" % number) for number in range(4)
    ]
    drop.close()


def test_a_message_that_moves_before_it_is_measured_is_listed(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        box.put(f"{number}.h:2,", text(number), age_s=100 - number, folder="cur")
    real, moved = Maildrop._measure, [0]

    def look(drop: Maildrop, path: bytes) -> object:
        if not moved[0]:
            moved[0] = 1
            seen(box)
        return real(drop, path)

    monkeypatch.setattr(Maildrop, "_measure", look)
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    assert [message.path for message in drop.listing().messages] == [b"cur/%d.h:2,S" % number for number in range(4)]
    drop.close()


QMAIL = Path("/var/qmail/bin/qmail-pop3d")


@pytest.mark.parametrize("which", ["rfc1939", "qmail", "real qmail"])
def test_pop3d(box: Box, which: str) -> None:
    python = interpreter()
    require(*(("real qmail", "root") if which == "real qmail" else ("popuser's Python",)))
    if which == "real qmail":
        command = [str(QMAIL), str(box.maildir)]
    else:
        command = [python or sys.executable, "-m", "mailhost.pop3.chain.pop3d", str(box.maildir), "--profile", which]
    for number in (1, 2):
        box.put(f"{number}.h", text(number), age_s=100 - number)
    ids = {"user": owner()[0], "group": owner()[1], "extra_groups": []} if os.geteuid() == 0 else {}
    packages = str(Path(__file__).parents[4] / "images" / "mailhost")
    client, process = converse(command, env={"PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}, cwd="/", **ids)
    try:
        assert client.line().startswith(b"+OK")
        seen(box)
        if which == "rfc1939":
            assert client.lines(b"RETR 1") == wire(1)
            assert client.ask(b"DELE 1").startswith(b"+OK")
            assert client.ask(b"QUIT").startswith(b"+OK")
            assert box.files() == ["cur/2.h:2,S"]
        else:
            assert client.ask(b"RETR 1") == b"-ERR unable to open that message\r\n"
            assert client.ask(b"DELE 1").startswith(b"+OK")
            client.send(b"QUIT\r\n")
            assert client.end() == b"-ERR unable to unlink all deleted messages\r\n+OK \r\n"
            assert box.files() == ["cur/1.h:2,S", "cur/2.h:2,S"]
    finally:
        end(client, process)
