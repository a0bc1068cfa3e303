"""What the ledger looks at in the boxes of a run, before its mail and after: over files, and over a scripted POP3."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from tests.popbox.fakehost import FakeHost, entry
from tests.popbox.peer import peer

from popbox.clients.wire import Address
from popbox.errors import HostError
from popbox.hosts.base import Found
from popbox.ledger import boxes
from popbox.ledger.boxes import Login, base, is_copy, listed, lying, new_in

GREETED = [b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n"]
LIST = b"+OK\r\n1 10\r\n2 20\r\n3 30\r\n.\r\n"
UIDL = b"+OK\r\n1 aa\r\n2 bb\r\n3 cc\r\n.\r\n"
SUBJECT = b"+OK\r\nSubject: %d\r\n\r\n.\r\n"


def test_what_lies_in_a_maildir_keeps_its_name_when_it_is_read() -> None:
    files = [Found(entry(path), b"") for path in ("new/1.2.mx", "cur/3.4.mx:2,S")]
    assert [base(one) for one in files] == ["1.2.mx", "3.4.mx"]
    assert lying(FakeHost(found=files), "popboxes/c/joe/Maildir") == {"1.2.mx", "3.4.mx"}


def test_a_host_that_shows_no_files_says_nothing_of_what_lies_there() -> None:
    class Blind(FakeHost):
        def find(self, maildir: str, needle: str) -> list[Found]:
            raise HostError("no files here")

    assert lying(Blind(), "popboxes/c/joe/Maildir") is None


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ([*GREETED, UIDL], frozenset({"aa", "bb", "cc"})),
        ([*GREETED[:2], b"-ERR wrong\r\n"], frozenset()),  # the scenario has not made this login yet
        ([*GREETED[:2], b"-ERR [SYS/TEMP] later\r\n"], None),
        ([GREETED[0], b"-ERR no\r\n"], None),
        ([*GREETED, b"-ERR no UIDL\r\n"], None),
        ([*GREETED, b"+OK\r\nx aa\r\n.\r\n"], None),
        ([*GREETED, b"+OK\r\n1 aa\r\n"], None),
    ],
)
def test_the_unique_ids_of_a_box(script: list[bytes], names: frozenset[str] | None) -> None:
    with peer(script) as other:
        assert listed(FakeHost(serves={"pop3": other.address}), "joe", "testpw") == names
    assert other.heard[0] == b"USER joe\r\n"
    assert other.heard[1:2] in ([], [b"PASS testpw\r\n"])


def test_without_a_pop3_nothing_is_known() -> None:
    assert listed(FakeHost(), "joe", "x") is None
    assert "joe over POP3: pop3 has no port" in str(new_in(FakeHost(), "joe", Login("x")))


@pytest.mark.parametrize("before", [None, frozenset({"bb"}), frozenset({"aa", "bb", "cc"})])
def test_what_is_new_is_fetched_newest_first_and_nothing_else_is_asked(before: frozenset[str] | None) -> None:
    wanted = [number for number, name in ((3, "cc"), (2, "bb"), (1, "aa")) if name not in (before or ())]
    asked = [LIST, *([] if before is None else [UIDL]), *(SUBJECT % number for number in wanted)]
    with peer([*GREETED, *asked]) as other:
        got = new_in(FakeHost(serves={"pop3": other.address}), "joe", Login("testpw", before))
    assert isinstance(got, list)
    assert [(one.by, one.login, one.number, one.listed, one.octets) for one in got] == [
        ("popbox", "joe", number, 10 * number, b"Subject: %d\n\n" % number) for number in wanted
    ]
    assert other.heard[2:] == [
        b"LIST\r\n", *([] if before is None else [b"UIDL\r\n"]), *(b"RETR %d\r\n" % number for number in wanted)
    ]  # fmt: skip


def test_only_the_newest_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "MOST_MESSAGES", 2)
    with peer([*GREETED, LIST, SUBJECT % 3, SUBJECT % 2, SUBJECT % 1]) as other:
        got = new_in(FakeHost(serves={"pop3": other.address}), "joe", Login("testpw"))
    assert [one.number for one in got if not isinstance(one, str)] == [3, 2]


def test_a_box_that_cannot_be_looked_at_says_why() -> None:
    with peer([*GREETED, LIST, b"-ERR gone\r\n"]) as other:
        got = new_in(FakeHost(serves={"pop3": other.address}), "joe", Login("testpw"))
    assert got == "joe over POP3: RETR 3: -ERR gone"


@pytest.mark.parametrize("look", ["listed", "new_in"])
def test_a_look_is_over_when_the_server_holds_no_lock_any_more(look: str) -> None:
    """It closes its end some time after ours: until then the next login would be refused."""
    closed: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                for reply in [*GREETED, UIDL if look == "listed" else b"+OK\r\n.\r\n"]:
                    connection.sendall(reply)
                    if not lines.readline():
                        break
                time.sleep(0.05)
                closed.append(time.monotonic())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        host = FakeHost(serves={"pop3": Address(*listener.getsockname())})
        assert (listed(host, "joe", "x") if look == "listed" else new_in(host, "joe", Login("x"))) is not None
        ended = time.monotonic()
        thread.join(60)
    assert closed[0] <= ended


SENT = b"X-Popbox-Token: pb-1\nSubject: One  Thing\n\nalpha\nbeta\ngamma\n"


@pytest.mark.parametrize(
    ("octets", "copy"),
    [
        (SENT, True),
        (b"subject: one thing\nALPHA\n", True),  # two of four
        (b"Subject: one thing\n\nother\n", False),
        (b"X-Popbox-Token: pb-1\nX-Popbox-Token: pb-2\n\nalpha\n", False),  # a token is no line of the message
        (b"", False),
    ],
)
def test_half_of_the_lines_make_a_copy(octets: bytes, copy: bool) -> None:
    assert is_copy(octets, SENT) is copy


def test_of_a_message_without_lines_nothing_is_a_copy() -> None:
    assert not is_copy(b"", b"X-Popbox-Token: pb-1\n\n")
    assert not is_copy(SENT, b"\n")
