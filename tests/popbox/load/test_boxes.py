"""What a reader does in a session: nothing is deleted that it has not had, and mail that stays has a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.errors import PopboxError
from popbox.load.plan.model import AnyReader, Fetcher, Hoarder, Poller
from popbox.load.plan.spec import Box
from popbox.load.users.boxes import Mailbox, handle


class Server:
    """A box, a session of it, and the journal; the connection breaks at the command ``breaks``."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.gone: list[str] = []
        self.breaks = ""
        self.fetched: list[str] = []

    def note(self, event: str, **fields: Any) -> None:
        if event == "fetch":
            self.fetched.append(fields["uidl"])

    def listing(self, _: str) -> list[tuple[int, str]]:
        return list(enumerate(self.there, 1))

    def retrieve(self, number: int) -> Iterator[bytes]:
        self.command(f"RETR {number}")
        yield b"a message\r\n"

    def command(self, line: str) -> None:
        if line == self.breaks:
            self.gone.clear()
            raise PopboxError("broken")
        if line.startswith("DELE "):
            self.gone.append(self.there[int(line[5:]) - 1])
        elif line == "QUIT":
            self.there = [one for one in self.there if one not in self.gone]


def visit(server: Server, box: Mailbox, plan: AnyReader) -> list[str]:
    """What one session fetched."""
    server.fetched = []
    handle(server, cast("BulkPop3", server), box, plan, 1)
    return server.fetched


def mailbox() -> Mailbox:
    return Mailbox(Box("joe@a.example", "joe", "secret"))


@pytest.mark.parametrize(
    ("plan", "fetched", "left"),
    [
        (Poller(kind="poller", every="1s"), "", "abcd"),
        (Fetcher(kind="fetcher", every="1s"), "abcd", ""),
        (Hoarder(kind="hoarder", every="1s"), "abcd", "abcd"),
        (Hoarder(kind="hoarder", every="1s", keep=3), "abcd", "bcd"),
        (Hoarder(kind="hoarder", every="1s", keep=9), "abcd", "abcd"),
    ],
    ids=["poller", "fetcher", "hoarder", "keeps 3", "keeps 9"],
)
def test_each_kind_takes_and_leaves_what_it_should(plan: AnyReader, fetched: str, left: str) -> None:
    server, box = Server(), mailbox()
    server.there = list("abcd")
    assert "".join(visit(server, box, plan)) == fetched
    assert "".join(server.there) == left
    assert box.known == set(left)
    server.there += ["e"]
    assert "".join(visit(server, box, plan)) == ("e" if fetched else "")  # what it has had it takes once


def test_what_a_broken_session_has_not_fetched_is_fetched_before_it_goes() -> None:
    server, box, plan = Server(), mailbox(), Hoarder(kind="hoarder", every="1s", keep=1)
    server.there, server.breaks = list("abc"), "RETR 2"
    with pytest.raises(PopboxError):
        visit(server, box, plan)
    assert server.there == list("abc")
    server.breaks = ""
    assert visit(server, box, plan) == ["b", "c"]
    assert server.there == ["c"]
    assert box.unsure == set()
