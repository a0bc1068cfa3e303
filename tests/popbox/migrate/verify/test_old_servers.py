"""Hosts whose servers write their replies in odd ways: read as mail clients read them, and named where none can."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.houses import csv

from popbox.clients.pop3 import Pop3Refused
from popbox.clients.wire import Address
from popbox.migrate.pop3.host import for_now

MAIL = (b"Subject: one\r\n\r\nhello\r\n", b"Subject: two\r\n\r\nworld\r\n")
RIGHT = dict.fromkeys(("login", "uidl", "order", "sizes", "content"), "equal")


@dataclass
class Server:
    """What it says, by the number and the size of a message; ``locked``: so many logins are refused at first."""

    list_line: Callable[[int, int], str] = "{} {}".format
    uidl_line: Callable[[int, str], str] = "{} {}".format
    uidl_more: str = ""
    mail: tuple[bytes, ...] = MAIL
    locked: int = 0
    heard: list[str] = field(default_factory=list)

    def answer(self, verb: str, number: int) -> bytes:
        self.heard.append(verb)
        if verb == "PASS" and self.heard.count("PASS") <= self.locked:
            return b"-ERR joe's mailbox is locked by another POP3 session\r\n"
        if verb in ("USER", "PASS"):
            return b"+OK\r\n"
        numbered = list(enumerate(self.mail, 1))
        if verb == "LIST":
            lines = "".join(self.list_line(at, len(octets)) + "\r\n" for at, octets in numbered)
        elif verb == "UIDL":
            lines = "".join(self.uidl_line(at, f"u{at}") + "\r\n" for at, _ in numbered) + self.uidl_more
        elif verb == "RETR":
            lines = self.mail[number - 1].decode()
        else:
            return b"-ERR\r\n"
        return f"+OK\r\n{lines}.\r\n".encode()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(b"+OK ready\r\n")
            for line in client.makefile("r"):
                words = line.split()
                client.sendall(self.answer(words[0], int(words[1]) if words[0] == "RETR" else 0))

    @contextmanager
    def up(self) -> Iterator[Address]:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            yield Address(*listener.getsockname())
            listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def against(place: Path, verify: Verify) -> Callable[..., tuple[int, dict[str, Any], dict[str, Any]]]:
    """Exit code, joe's box and the report of such an old host, against one that does everything right."""

    def run(old: Server, new: Server, *more: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        with old.up() as before, new.up() as after:
            code, report = verify(before, after, csv(place / "a.csv", ["joe"]), *more)
        return code, report["boxes"][0], report

    return run


Against = Callable[..., tuple[int, dict[str, Any], dict[str, Any]]]
BLANKS = ["{}   {}", "{} {}  ", "{}\t{}", "  {} {}", "{} \t {} \t"]


@pytest.mark.parametrize("line", BLANKS)
def test_blanks_in_listings_are_read_as_clients_read_them(against: Against, line: str) -> None:
    code, box, report = against(Server(line.format, line.format), Server())
    assert (code, box["verdicts"], box["findings"], box["retries"]) == (0, RIGHT, [], 0)
    assert "will download 0 messages" in report["output"]


def test_more_words_behind_a_size_are_passed_over(against: Against) -> None:
    assert against(Server("{} {} octets".format), Server())[0] == 0


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("size", ["12O", "-5", "1.5", "9" * 5000, "²"])
def test_a_size_that_is_no_number_is_a_finding(against: Against, size: str, content: bool) -> None:
    odd = Server(lambda at, octets: f"{at} {size if at == 2 else octets}")
    code, box, _ = against(odd, Server(), *([] if content else ["--no-content"]))
    assert (code, box["unavailable"], box["retries"]) == (1, "", 0)
    assert box["verdicts"]["sizes"] == "different"
    assert [(f["kind"], f["old"]["number"]) for f in box["findings"]] == [("size", 2)]
    assert "which is no number" in box["findings"][0]["said"]


@pytest.mark.parametrize("line", ["2", "two 24", "-2 24", "2:24", "9" * 5000 + " 24"])
def test_a_line_of_list_without_a_number_is_a_finding(against: Against, line: str) -> None:
    code, box, _ = against(Server(lambda at, octets: line if at == 2 else f"{at} {octets}"), Server())
    assert (code, box["unavailable"], box["retries"]) == (1, "", 0)
    assert {"sizes", "content"} <= {aspect for aspect, verdict in box["verdicts"].items() if verdict == "different"}
    assert [f["kind"] for f in box["findings"]] == ["listing", "extra"]
    assert box["findings"][0]["said"].startswith("the old host sent ")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("line", ["2", "2  ", "x u2"])
def test_a_line_of_uidl_without_a_number_or_an_id_is_a_finding(against: Against, line: str, side: int) -> None:
    odd = Server(uidl_line=lambda at, uid: line if at == 2 else f"{at} {uid}")
    code, box, _ = against(*((odd, Server()) if side == 0 else (Server(), odd)))
    assert (code, box["unavailable"], box["retries"]) == (1, "", 0)
    assert box["verdicts"] == RIGHT | {"uidl": "different"}
    assert [f["kind"] for f in box["findings"]] == ["listing", "uidl"]


def test_the_same_malformed_line_on_both_hosts_is_no_equality(against: Against) -> None:
    both = [Server(uidl_line=lambda at, uid: "2" if at == 2 else f"{at} {uid}") for _ in range(2)]
    code, box, _ = against(*both)
    assert (code, box["verdicts"]["uidl"]) == (1, "different")


def test_an_empty_box_is_not_asked_for_ids_and_an_empty_line_is_none(against: Against) -> None:
    empty = Server(mail=())
    code, box, _ = against(empty, Server(mail=()))
    assert (code, box["verdicts"], box["retries"]) == (0, RIGHT, 0)
    assert "UIDL" not in empty.heard
    code, box, _ = against(Server(uidl_more="\r\n"), Server())
    assert (code, box["verdicts"], box["retries"]) == (0, RIGHT, 0)


def test_an_empty_list_of_ids_costs_no_retries(against: Against) -> None:
    code, box, _ = against(Server(uidl_line=lambda *_: ""), Server())
    assert (code, box["verdicts"], box["retries"]) == (1, RIGHT | {"uidl": "different"}, 0)


def test_a_locked_box_is_asked_again(against: Against) -> None:
    code, box, _ = against(Server(locked=2), Server())
    assert (code, box["verdicts"], box["retries"]) == (0, RIGHT, 2)


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        ("-ERR maildrop already locked", True),
        ("-ERR unable to lock maildrop", True),
        ("-ERR Mailbox in use by user joe", True),
        ("-ERR POP3 lock busy! Is another session active?", True),
        ("-ERR [AUTH] locked", False),
        ("-ERR your account is locked", False),
        ("-ERR account joe has been locked", False),
        ("-ERR locked out after 5 failures", False),
        ("-ERR blocked", False),
        ("-ERR authorization failed", False),
    ],
)
def test_which_words_speak_of_the_moment(reply: str, again: bool) -> None:
    assert for_now(Pop3Refused("PASS", reply)) is again


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (b"Status: RO\r\n", "Status"),
        (b"X-UIDL: abc\r\n\tdef\r\nX-Status: A\r\n", "X-UIDL, X-Status"),
        (b"status: R\r\nContent-Length: 7\r\n", "status, Content-Length"),
    ],
)
def test_lines_that_a_server_wrote_into_the_header_are_named_as_that(
    against: Against, lines: bytes, named: str, side: int
) -> None:
    odd = Server(mail=(MAIL[0].replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1), MAIL[1]))
    code, box, _ = against(*((odd, Server()) if side == 0 else (Server(), odd)))
    assert (code, box["verdicts"]) == (0, RIGHT)
    assert [(f["kind"], f["old"]["number"]) for f in box["findings"]] == [("added", 1)]
    assert f"the {('old', 'new')[side]} host has {named} in the header" in box["findings"][0]["said"]


def test_such_lines_hide_no_other_change(against: Against) -> None:
    odd = (b"Status: RO\r\nSubject: One\r\n\r\nhello\r\n", b"Subject: two\r\nStatus: O\r\n\r\nStatus: RO\r\n")
    code, box, _ = against(Server(mail=odd), Server())
    assert (code, box["verdicts"]["content"]) == (1, "different")
    assert [f["kind"] for f in box["findings"]] == ["changed", "changed"]
