"""Hosts whose servers write their replies in odd ways: read as mail clients read them, and named where none can."""

from __future__ import annotations

import re
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
    """What it says, by the number and the size of a message; ``locked``: so many logins are refused at first.

    ``instead`` has whole replies by the verb, or by the line. Of lines that come at once it ``forgets`` a part: from
    one to before another.
    """

    list_line: Callable[[int, int], str] = "{} {}".format
    uidl_line: Callable[[int, str], str] = "{} {}".format
    uidl_more: str = ""
    mail: tuple[bytes, ...] = MAIL
    locked: int = 0
    banner: str = "ready"
    instead: dict[str, bytes] = field(default_factory=dict)
    forgets: tuple[int, int] = (0, 0)
    heard: list[str] = field(default_factory=list)

    def answer(self, verb: str, number: int) -> bytes:
        self.heard.append(verb)
        for asked in (f"{verb} {number}", verb):
            if asked in self.instead:
                return self.instead[asked]
        if verb == "PASS" and self.heard.count("PASS") <= self.locked:
            return b"-ERR joe's mailbox is locked by another POP3 session\r\n"
        if verb in ("USER", "PASS"):
            return b"+OK\r\n"
        numbered = list(enumerate(self.mail, 1))
        if verb == "LIST":
            lines = "".join(self.list_line(at, len(octets)) + "\r\n" for at, octets in numbered)
        elif verb == "UIDL":
            lines = "".join(self.uidl_line(at, f"u{at}") + "\r\n" for at, _ in numbered) + self.uidl_more
        elif verb == "RETR" and 1 <= number <= len(self.mail):
            lines = self.mail[number - 1].decode()
        else:
            return b"-ERR\r\n"
        return f"+OK\r\n{lines}.\r\n".encode()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(f"+OK {self.banner}\r\n".encode())
            while came := client.recv(4096):
                lines = came.decode().splitlines()
                del lines[slice(*self.forgets)]
                for words in map(str.split, lines):
                    client.sendall(self.answer(words[0], int(words[1]) if words[0] in ("RETR", "TOP") else 0))

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


def stat(messages: int, octets: int) -> dict[str, bytes]:
    return {"STAT": f"+OK {messages} {octets}\r\n".encode()}


LISTED = b"+OK\r\n1 %d\r\n2 %d\r\n" % tuple(map(len, MAIL))
IDS = b"+OK\r\n1 u1\r\n2 u2\r\n"
BOTH = sum(map(len, MAIL))
WRONG = {
    "stat counts more messages": (stat(3, BOTH), ["content", "sizes"], "counts 3 messages in STAT and 2 in LIST"),
    "stat counts other octets": (stat(2, BOTH + 1), ["content", "sizes"], f"counts {BOTH + 1} octets in STAT"),
    "a number twice": ({"LIST": LISTED + b"2 24\r\n.\r\n"}, ["content", "sizes"], "lists number 2 more than once"),
    "a gap": (
        {"LIST": LISTED.replace(b"2 ", b"4 ") + b".\r\n"},
        ["content", "sizes"],
        "lists 2 messages and no number 2",
    ),
    "a huge number": (
        {"LIST": LISTED.replace(b"\r\n2 ", b"\r\n999999999999999999 ") + b".\r\n"},
        ["content", "sizes"],
        "lists 2 messages and no number 2",
    ),
    "message 0": ({"LIST": LISTED + b"0 5\r\n.\r\n"}, ["content", "sizes"], "no number 3"),
    "an id for no message": ({"UIDL": IDS + b"3 u3\r\n.\r\n"}, ["content", "sizes"], "gives a UIDL to number 3"),
    "two ids for one": ({"UIDL": IDS + b"2 u9\r\n.\r\n"}, ["content", "sizes"], "gives number 2 more than one UIDL"),
    "a carriage return alone": (
        {"LIST": LISTED.replace(b"\r\n2", b"\r2") + b".\r\n"},
        ["content", "sizes"],
        "as a line of",
    ),
    "an id missing": ({"UIDL": b"+OK\r\n1 u1\r\n.\r\n"}, ["uidl"], ""),
    "the same id twice": ({"UIDL": b"+OK\r\n1 u1\r\n2 u1\r\n.\r\n"}, ["uidl"], "gives UIDL u1 to numbers 1, 2"),
    "ids in other letters": ({"UIDL": b"+OK\r\n1 U1\r\n2 u2\r\n.\r\n"}, ["uidl"], ""),
}


ALIKE = "ids in other letters"  # on both hosts that is no fault
CASES = [(case, sides) for case in WRONG for sides in ("old", "new", "both") if (case, sides) != (ALIKE, "both")]


@pytest.mark.parametrize(("case", "sides"), CASES)
def test_a_listing_that_cannot_be_right_is_named_and_never_equal(against: Against, case: str, sides: str) -> None:
    """Also where both hosts are wrong in the same way."""
    instead, wrong, said = WRONG[case]
    servers = [Server(instead=instead if sides in (name, "both") else {}) for name in ("old", "new")]
    code, box, _ = against(*servers)
    assert (code, box["unavailable"], box["retries"]) == (1, "", 0)
    assert {aspect for aspect in wrong if box["verdicts"][aspect] == "different"} == set(wrong)
    assert any(said in f["said"] for f in box["findings"] if f["kind"] in ("listing", "uidl"))


ODD = {
    "another order": ({"LIST": b"+OK\r\n2 %d\r\n1 %d\r\n.\r\n" % tuple(map(len, MAIL[::-1]))}, "another order"),
    "small letters": ({"LIST": b"+ok\r\n" + LISTED[5:] + b".\r\n"}, "in small letters"),
    "stat without numbers": ({"STAT": b"+OK\r\n"}, "no two numbers"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_replies_that_lose_nothing_are_named_and_are_no_difference(against: Against, case: str) -> None:
    instead, said = ODD[case]
    code, box, report = against(Server(instead=stat(2, BOTH) | instead), Server(instead=stat(2, BOTH)))
    assert (code, box["verdicts"]) == (0, RIGHT)
    assert [f["kind"] for f in box["findings"]] == ["reply"]
    assert said in box["findings"][0]["said"]
    assert "1 equal box with notes (reply)" in report["output"]


def test_a_new_host_that_refuses_stat_is_named(against: Against) -> None:
    code, box, _ = against(Server(instead=stat(2, BOTH)), Server())
    assert (code, [f["kind"] for f in box["findings"]]) == (0, ["reply"])
    assert "the new host refuses STAT" in box["findings"][0]["said"]


def test_an_empty_box_whose_listing_is_refused(against: Against) -> None:
    none = {"LIST": b"-ERR no messages\r\n", **stat(0, 0)}
    assert against(Server(instead=none, mail=()), Server(mail=()))[0] == 0
    code, box, _ = against(Server(instead=none | stat(2, BOTH)), Server())
    assert (code, "-ERR no messages" in box["unavailable"]) == (3, True)


def test_top_refused_leaves_names_out_and_says_so(against: Against) -> None:
    code, box, _ = against(Server(), Server(mail=MAIL[:1]), "--no-content")
    assert code == 1
    assert [f["kind"] for f in box["findings"]] == ["missing"]
    assert box["reasons"]["subjects, old"] == "-ERR to TOP 2 0"


UNENDED = {
    "a listing": {"LIST": LISTED},
    "ids": {"UIDL": IDS},
    "a listing in carriage returns": {"LIST": (LISTED + b".\r\n").replace(b"\r\n", b"\r")},
}


@pytest.mark.parametrize("case", UNENDED)
def test_a_listing_without_an_end_cannot_be_judged(against: Against, case: str) -> None:
    code, box, _ = against(Server(instead=UNENDED[case]), Server(), "--timeout", "0.2", "--tries", "2")
    assert code == 3
    assert re.search("timed out|waited|nothing|octets", box["unavailable"])


@pytest.mark.parametrize(
    "retr",
    [b"+OK\r\nSubject: two\r\n\r\nworld\r\n", b"+OK\r\nSubject: two\r\n\r\n.\r\nworld\r\n.\r\n"],
    ids=["no dot at its end", "a dot alone within it"],
)
def test_a_message_that_ends_wrongly_is_named(against: Against, retr: bytes) -> None:
    odd = Server(instead={"RETR 2": retr})
    code, box, _ = against(odd, Server(), "--timeout", "0.2")
    assert (code, box["unavailable"]) == (1, "")
    assert {(f["kind"], f["old"]["number"]) for f in box["findings"]} == {("unreadable", 2)}


def test_a_message_that_always_breaks_is_named_without_ids_too(against: Against) -> None:
    no_ids = {"UIDL": b"-ERR\r\n"}
    odd = Server(instead=no_ids | {"RETR 1": b"+OK\r\nhalf"})
    code, box, _ = against(odd, Server(instead=no_ids), "--timeout", "0.2")
    assert (code, box["unavailable"]) == (1, "")
    assert {f["kind"] for f in box["findings"]} == {"missing", "extra"}


ANNOUNCED = {"instead": {"CAPA": b"+OK\r\nPIPELINING\r\n.\r\n"}}
QMAILS = {"banner": "<4711.1700000000@pop.old.example>"}  # and no CAPA: qmail-popup's, or of something like it


@pytest.mark.parametrize("pipelining", [ANNOUNCED, QMAILS], ids=["announced", "qmail"])
def test_a_host_that_seems_to_do_pipelining_and_cannot_costs_one_wait(
    place: Path, verify: Verify, pipelining: dict[str, Any]
) -> None:
    mail = tuple(b"Subject: %d\r\n\r\nx\r\n" % number for number in range(5))
    old = Server(mail=mail, forgets=(1, 99), **pipelining)
    with old.up() as before, Server(mail=mail).up() as after:
        names = csv(place / "a.csv", ["ann", "bob", "cid"])
        code, report = verify(before, after, names, "--timeout", "1", "--jobs", "1")
    assert (code, [box["retries"] for box in report["boxes"]]) == (0, [1, 0, 0])


def test_replies_that_may_be_to_other_commands_than_they_seem_are_read_again(place: Path, verify: Verify) -> None:
    """It leaves out the second of many commands: what came as the reply to it is that to the third."""
    mail = tuple(b"Subject: %d\r\n\r\nhello\r\n" % number for number in range(10, 20))
    old = Server(mail=mail, forgets=(1, 2), **ANNOUNCED)
    with old.up() as before, Server(mail=mail).up() as after:
        code, report = verify(before, after, csv(place / "a.csv", ["joe"]), "--timeout", "0.5", "--retry-wait", "0")
    assert (code, report["boxes"][0]["verdicts"], report["boxes"][0]["retries"]) == (0, RIGHT, 1)


def test_a_host_that_gives_no_message_is_given_up(against: Against) -> None:
    mail = tuple(b"Subject: %d\r\n\r\nx\r\n" % number for number in range(30))
    odd = Server(mail=mail, instead={"RETR": b"what?\r\n"})
    code, box, _ = against(odd, Server(mail=mail), "--retry-wait", "0")
    assert code == 3
    assert box["unavailable"].startswith("the old host ended the session at each of 20 messages in a row: ")
    assert odd.heard.count("RETR") < 70
