"""``--log-messages``: a line for each message sent whole and for each one removed, and none without the option."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.mailhost.pop3.support import Box, Client, Running, eventually, full

LARGE = b"Subject: large\n\n" + (b"y" * 99_999 + b"\n") * 190
"""19 MB: more than a socket holds, so it is sent in pieces, and stays unsent while its client does not read."""

Serve = Callable[..., Running]


def session(server: Running) -> dict[str, Any]:
    """The line of the one session, once it has ended."""
    assert eventually(lambda: '"session"' in server.log())
    return next(line for line in lines(server) if line["event"] == "session")


def lines(server: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log().splitlines()]


def told(server: Running) -> list[tuple[str, str, int]]:
    """Event, UIDL and octets of the lines about messages, once the session has ended."""
    found = session(server)
    about = [line for line in lines(server) if "uidl" in line]
    assert all((one["id"], one["login"]) == (found["id"], found["login"]) for one in about)
    return [(one["event"], one["uidl"], one["octets"]) for one in about]


def three(box: Box) -> None:
    box.put("1.a.h", b"Subject: one\n\nhello\n", age_s=300)
    box.put("2.b.h", LARGE, age_s=200)
    box.put("3.c.h", b"Subject: three\n\n", age_s=100)


def logged_in(serve: Serve, *options: str) -> tuple[Running, Client]:
    server = serve(*options)
    client = server.client()
    client.login()
    return server, client


def test_without_the_option_no_line_is_about_a_message(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve)
    client.lines(b"RETR 1")
    client.ask(b"DELE 1")
    client.ask(b"QUIT")
    client.end()
    assert told(server) == []
    assert [line["event"] for line in lines(server)] == ["session"]


@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
def test_whole_messages_and_removals_are_told(box: Box, serve: Serve, profile: str) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages", "--profile", profile)
    sizes = [int(line.split()[1]) for line in client.lines(b"LIST").splitlines()[:-1]]
    client.lines(b"RETR 2")
    client.lines(b"RETR 1")
    client.lines(b"TOP 3 0")
    assert client.ask(b"RETR 9").startswith(b"-ERR")
    client.ask(b"DELE 1")
    client.ask(b"DELE 3")
    client.ask(b"QUIT")
    client.end()
    assert told(server) == [
        ("retrieved", "2.b.h", sizes[1]),
        ("retrieved", "1.a.h", sizes[0]),
        ("removed", "1.a.h", sizes[0]),
        ("removed", "3.c.h", sizes[2]),
    ]
    ended = session(server)
    assert (ended["retrieved"], ended["deleted"]) == (3, 2), "TOP counts there, and is no whole message"


def test_marks_taken_back_and_a_lost_connection_remove_nothing(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages")
    client.ask(b"DELE 1")
    client.ask(b"RSET")
    client.ask(b"DELE 3")
    client.close()
    assert told(server) == []


def test_a_message_that_its_client_does_not_read_to_the_end_is_not_told(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages")
    client.lines(b"RETR 1")
    client.send(b"RETR 2\r\nRETR 3\r\n")
    assert full(client)
    client.close()
    assert [one[:2] for one in told(server)] == [("retrieved", "1.a.h")]


def test_a_message_cut_off_by_its_disk_is_not_told(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages")
    client.send(b"RETR 2\r\n")
    assert full(client)
    os.truncate(box.maildir / "new" / "2.b.h", 500_000)
    assert not client.end().endswith(b"\r\n.\r\n")
    assert told(server) == []


def test_one_packet_with_everything(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages")
    client.send(b"RETR 1\r\nRETR 2\r\nRETR 3\r\nDELE 2\r\nQUIT\r\n")
    client.end()
    assert sorted(one[:2] for one in told(server)) == [
        ("removed", "2.b.h"), ("retrieved", "1.a.h"), ("retrieved", "2.b.h"), ("retrieved", "3.c.h"),
    ]  # fmt: skip


def test_a_renamed_message_is_told_once_by_the_name_that_stays(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages")
    (box.maildir / "new" / "1.a.h").rename(box.maildir / "cur" / "1.a.h:2,S")
    client.lines(b"RETR 1")
    client.ask(b"DELE 1")
    client.ask(b"QUIT")
    client.end()
    assert [one[:2] for one in told(server)] == [("retrieved", "1.a.h"), ("removed", "1.a.h")]


def test_what_could_not_be_removed_is_not_told(box: Box, serve: Serve) -> None:
    three(box)
    server, client = logged_in(serve, "--log-messages")
    client.ask(b"DELE 1")
    client.ask(b"DELE 3")
    (box.maildir / "new" / "3.c.h").unlink()
    assert client.ask(b"QUIT").startswith(b"-ERR")
    client.end()
    assert [one[:2] for one in told(server)] == [("removed", "1.a.h")]


def test_any_name_and_login_stay_in_their_line(box: Box, serve: Serve) -> None:
    name = b'1.\xff"\\\n.h'
    path = Path(os.fsdecode(os.fsencode(box.maildir / "cur") + b"/" + name + b":2,S"))
    box.put("x", b"x\n").rename(path)
    box.passwords({'a"b': "DmIMm9e5Hc8ic"})
    server = serve("--log-messages")
    client = server.client()
    client.login(b'a"b')
    uid = client.ask(b"UIDL 1").split()[2].decode()
    client.lines(b"RETR 1")
    client.ask(b"QUIT")
    client.end()
    found = session(server)
    one = next(line for line in lines(server) if line["event"] == "retrieved")
    assert (one["login"], one["uidl"], one["file"]) == ('a"b', uid, name.decode("latin-1"))
    assert found["login"] == 'a"b'


def test_a_large_removal_in_a_thread_is_told_whole(box: Box, serve: Serve) -> None:
    for number in range(100):
        box.put(f"{number:03}.h", b"x\n")
    server, client = logged_in(serve, "--log-messages")
    client.send(b"".join(b"DELE %d\r\n" % number for number in range(1, 101)) + b"QUIT\r\n")
    client.end()
    assert [one[:2] for one in told(server)] == [("removed", f"{number:03}.h") for number in range(100)]
