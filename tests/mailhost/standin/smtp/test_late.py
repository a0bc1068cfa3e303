"""Sessions of the stand-in that are open while a new domain comes to the nodes of a mail host."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.mailhost.standin.support import WITHIN_S, Home, Serve

LATE = b"451 this node does not have that address yet, other nodes do (#4.3.0)\r\n"
NO = b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)\r\n"
RCPT = b"RCPT TO:<joe@new.example>\r\n"


class Session:
    """A lock-step session on one connection, after MAIL."""

    def __init__(self, port: int) -> None:
        self.peer = socket.create_connection(("127.0.0.1", port), WITHIN_S)
        self.file = self.peer.makefile("rb")
        assert self.file.readline().startswith(b"220 ")
        assert self.say(b"MAIL FROM:<s@x.example>\r\n").startswith(b"250 ")

    def say(self, line: bytes) -> bytes:
        self.peer.sendall(line)
        return self.file.readline()


@pytest.fixture
def session(home: Home, serve: Serve) -> Iterator[Session]:
    one = Session(serve().port)
    yield one
    one.file.close()
    one.peer.close()


def test_what_begins_to_wait_while_a_session_runs_is_told_so_in_it(home: Home, session: Session) -> None:
    (home.path / "popboxes/.nodes").mkdir()
    assert session.say(RCPT) == NO
    home.control("late", "@new.example\n")
    assert session.say(RCPT) == LATE
    home.control("late", "@other.example\n!x@other.example\n")
    assert session.say(RCPT) == LATE, "it may be served by now, which this session does not know"
    home.control("late", "@new.example\n")
    assert session.say(RCPT) == LATE


def test_a_domain_that_came_while_a_session_ran_is_not_refused_for_good_in_it(home: Home, session: Session) -> None:
    (home.path / "popboxes/.nodes").mkdir()
    home.control("rcpthosts", "d.com\nmx.example.net\nnew.example\n")
    assert session.say(RCPT) == LATE
    assert session.say(b"RCPT TO:<joe@d.com>\r\n") == b"250 ok\r\n"


def test_where_no_nodes_are_a_session_refuses_as_qmail_smtpd_does(home: Home, session: Session) -> None:
    home.control("rcpthosts", "d.com\nmx.example.net\nnew.example\n")
    assert session.say(RCPT) == NO
