"""What a reader does in a session: it deletes nothing that it has not had. And where the last fetch ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.clients.wire import Address
from popbox.errors import PopboxError
from popbox.load.books.journal import Journal
from popbox.load.plan.model import AnyReader, Fetcher, Hoarder, Poller
from popbox.load.plan.spec import Box, Spec
from popbox.load.stage import drain
from popbox.load.stage.drain import GIVES_UP, Drain
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


@pytest.mark.parametrize(("opens", "unread"), [("", True), ("@load-5.", False)], ids=["none opens", "some open"])
def test_the_last_fetch_ends_where_no_box_opens_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: str, unread: bool
) -> None:
    """Twenty rude users had 200 boxes wait for half a minute each, and the run was not judged anyway."""
    nowhere, table = Address("127.0.0.1", 1), {"title": "t", "for": "1s", "user": {"a": {"kind": "sender", "rate": 1}}}
    accounts = {"domains": 20, "mailboxes": 10}
    spec = Spec("r", {**table, "accounts": accounts}, nowhere, nowhere, "secret", str(tmp_path), 1)

    def visit(_: Drain, box: Mailbox, __: object) -> None:
        if not opens or opens not in box.box.address:
            raise PopboxError("waited 30.0 s")

    monkeypatch.setattr(Drain, "_visit", visit)
    monkeypatch.setattr(drain, "PARALLEL", 1)  # else a thread that has to wait decides how many fail in a row
    with Journal(tmp_path, "drain") as journal:
        told = Drain(spec, journal, lambda: None).run(tmp_path, 0.0)
    tried = [one for one in told if one.endswith("waited 30.0 s")]
    if unread:
        assert len(tried) == GIVES_UP
        assert told[-1] == f"{201 - GIVES_UP} boxes were not read any more, as {GIVES_UP} in a row could not be"
    else:
        assert len(told) == len(tried) == 191
