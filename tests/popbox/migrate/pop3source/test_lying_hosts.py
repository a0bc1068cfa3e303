"""Old hosts that lie: no message is cut off, taken for another one, or left out with exit code 0."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.popbox.migrate.pop3source.liar import Said, liar, sent
from tests.popbox.migrate.pop3source.support import DOMAIN, files, run

from popbox.clients.bulk_pop3 import Garbled
from popbox.migrate.pop3 import listing
from popbox.migrate.pop3.host import Host
from popbox.migrate.verify.mailbox import read_box

A, B, C = (f"Subject: {name}\n\nbody of {name}\n{name * 20 * n}\n" for n, name in enumerate("ABC", start=1))


def texts(place: Path) -> list[str]:
    return [path.read_text() for path in files(place).values()]


@pytest.mark.parametrize("last", [True, False])
def test_a_dot_that_is_not_doubled_cuts_no_message(place: Path, last: bool) -> None:
    """What follows it would be taken for the reply to the next command, or for nothing."""
    bad = Said("bad", b"Subject: b\r\n\r\none\r\n.\r\ntwo\r\n.\r\n")
    good = Said("good", sent(A))
    with liar([good, bad] if last else [bad, good]) as address:
        code, said = run(address, place, ["joe"], "--timeout", "1")
        assert code == 1, said
        number = 2 if last else 1
        assert f"not done: joe@{DOMAIN}: number {number}, UIDL bad: not copied: the session ended 3 times" in said
        assert said.count("not done: ") == 1
        assert texts(place) == [A]
        assert run(address, place, ["joe"], "--timeout", "1")[0] == 1


def test_a_host_that_gives_no_message_is_given_up(place: Path) -> None:
    """Each costs three sessions, and with a host that hangs three timeouts: of 100,000 messages that is months."""
    bad = [Said(f"bad{number}", b"Subject: b\r\n\r\none\r\n.\r\ntwo\r\n.\r\n") for number in range(30)]
    with liar([Said("good", sent(A)), *bad]) as address:
        code, said = run(address, place, ["joe"], "--retry-wait", "0")
    assert code == 3, said
    assert f"not read: joe@{DOMAIN}: the old host ended the session at each of 20 messages in a row: " in said
    assert texts(place) == [A]


def test_a_message_shorter_than_listed_is_named_in_each_pass(place: Path) -> None:
    half = B.partition("\n\n")[0] + "\n"
    messages = [Said("a", sent(A)), Said("cut", sent(half), len(sent(B)))]
    told = f"not done: joe@{DOMAIN}: number 2, UIDL cut: {len(sent(half)) - 3} octets came where LIST says"
    with liar(messages) as address:
        for more in ([], [], ["--final"]):
            code, said = run(address, place, ["joe"], *more)
            assert (code, said.count("not done: "), told in said) == (1, 1, True), said
        assert texts(place) == [A, half]
        messages[1] = Said("cut", sent(B))
        code, said = run(address, place, ["joe"], "--final")
    assert B in texts(place), said


def test_uidls_that_are_numbers_bring_each_message(place: Path) -> None:
    """RFC 1939 forbids it, servers have done it: after a deletion UIDL 1 is another message."""
    messages = [Said("1", sent(A)), Said("2", sent(B)), Said("3", sent(C))]
    with liar(messages) as address:
        assert run(address, place, ["joe"])[0] == 0
        messages[:] = [Said("1", sent(B)), Said("2", sent(C))]
        for more in ([], [], ["--final"]):
            code, said = run(address, place, ["joe"], *more)
            assert code == 1, said
            for number in (1, 2):
                told = f"number {number}, UIDL {number}: the UIDL cannot be kept: in an earlier pass it was that of"
                assert told in said, said
            assert said.count("not done: ") == 2
        assert texts(place) == [B, C]
        code, said = run(address, place, ["joe"], "--final")
        assert (code, texts(place), list(files(place))) == (0, [B, C], ["1", "2"]), "as the first ones are gone"


def test_a_status_line_that_the_server_adds_is_no_other_message(place: Path) -> None:
    """qpopper and UW-IMAP write into the header once a client has read a message: its size is another one then."""
    messages = [Said("a", sent(A)), Said("b", sent(B))]
    with liar(messages) as address:
        assert run(address, place, ["joe"])[0] == 0
        messages[0] = Said("a", sent(A.replace("\n\n", "\nStatus: RO\nX-UIDL: a\n\n", 1)))
        for more in ([], ["--final"]):
            code, said = run(address, place, ["joe"], *more)
            assert (code, "copied 0 messages" in said) == (0, True), said
        assert texts(place) == [A, B]


def test_a_note_that_was_cut_off_is_no_note(place: Path) -> None:
    messages = [Said("a", sent(A)), Said("b", sent(B))]
    with liar(messages) as address:
        assert run(address, place, ["joe"])[0] == 0
        (listed,) = (place / "to/state").rglob("joe.journal.listed")
        listed.write_bytes(listed.read_bytes()[:-20] + b"\xff 1 2 3 4\nx y z\n")
        code, said = run(address, place, ["joe"], "--final")
        assert (code, texts(place)) == (0, [A, B]), said


def test_a_message_without_an_end_is_left_out_of_verify_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SPARE_OCTETS", 100_000)
    endless = Said("endless", b"Subject: x\r\n\r\n" + b"more\r\n" * 100_000 + b".\r\n", 18)
    with liar([Said("good", sent(A)), endless]) as address:
        side = read_box(Host("old", address, wait_s=0.0), "joe", "pw", content=True)
    good, bad = side.messages
    assert (good.read, good.trouble) == (True, "")
    assert "sends more than 100288 octets of a message of 18" in bad.trouble
    assert not bad.read


def test_what_list_does_not_tell_is_bounded_too() -> None:
    with pytest.raises(Garbled, match="octets of a message of no known size"):
        for _ in listing.bounded(itertools.repeat(bytes(1 << 24)), None, "mx:110"):
            pass
