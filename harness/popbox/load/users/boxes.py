"""A box as a client of POP3 sees it: what is new, what has vanished, and what each message is. No Locust here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.load.books.journal import one_line
from popbox.load.books.message import reported, seen
from popbox.load.plan.model import AnyReader
from popbox.load.plan.spec import Box


class Noter(Protocol):
    """What keeps lines for the books."""

    def note(self, event: str, **fields: Any) -> None:
        """A line, see ``popbox.load.books.journal``."""


@dataclass
class Mailbox:
    """A box that this process alone opens, and what it knows of it: UIDLs that lie there, as far as known."""

    box: Box
    known: set[str] = field(default_factory=set)  # listed, and not deleted by us
    had: set[str] = field(default_factory=set)  # fetched whole, and there when last looked
    unsure: set[str] = field(default_factory=set)  # deleted in a session whose end is unknown


def clean(value: str) -> str:
    """What a server calls a message, fit for a journal."""
    return value if value.isascii() and value.isprintable() else one_line(value)


def since(began: float) -> int:
    """Microseconds since a monotonic moment."""
    return int((time.monotonic() - began) * 1e6)


def look(notes: Noter, session: BulkPop3, box: Mailbox, number: int) -> list[tuple[int, str]]:
    """UIDL: message numbers and unique-ids. What is new, and what vanished though it was not deleted, is noted."""
    began = time.monotonic()
    rows = [(at, clean(uidl)) for at, uidl in session.listing("UIDL")]
    notes.note("verb", note="UIDL", box=box.box.address, session=number, took_us=since(began))
    there = {uidl for _, uidl in rows}
    for uidl in sorted(there - box.known - box.unsure):
        notes.note("list", box=box.box.address, uidl=uidl, session=number)
    box.unsure &= there  # what is gone was deleted
    for uidl in sorted(box.known - there):
        notes.note("vanish", box=box.box.address, uidl=uidl, session=number)
    box.known = there - box.unsure
    return rows


def fetch(
    notes: Noter, session: BulkPop3, box: Mailbox, at: int, uidl: str, number: int, *, reports: bool = False
) -> None:
    """RETR, and what the message is: one of ours, a stranger's (an empty token), or where they come to, a report."""
    began = time.monotonic()
    octets = b"".join(session.retrieve(at)).replace(b"\r\n", b"\n")
    took_us, common = since(began), {"box": box.box.address, "uidl": uidl, "session": number}
    found = seen(octets)
    if found:
        said = {"token": clean(found.token), "digest": found.digest, "octets": found.octets}
        notes.note("fetch", took_us=took_us, **said, **common)
    elif reports and (report := reported(octets)):
        for address in report.addresses:
            notes.note("bounce", token=clean(report.token), note=address, **common)
    else:
        notes.note("fetch", took_us=took_us, octets=len(octets), **common)


def handle(notes: Noter, session: BulkPop3, box: Mailbox, plan: AnyReader, number: int) -> None:
    """What a reader of this plan does in a session, to the reply to QUIT.

    A hoarder fetches what it has not had whole, also where an earlier session broke off: nothing goes unseen.
    """
    rows = look(notes, session, box, number)
    box.had &= {uidl for _, uidl in rows}
    leaving = _leaving(plan, len(rows))
    for nth, (at, uidl) in enumerate(rows):
        if plan.kind == "fetcher" or (plan.kind == "hoarder" and uidl not in box.had):
            fetch(notes, session, box, at, uidl, number)
            box.had.add(uidl)
        if nth < leaving:
            asked = time.monotonic()
            session.command(f"DELE {at}")
            notes.note("delete", box=box.box.address, uidl=uidl, session=number, took_us=since(asked))
            box.known.discard(uidl)
            box.unsure.add(uidl)  # until QUIT is answered
    asked = time.monotonic()
    session.command("QUIT")
    notes.note("verb", note="QUIT", box=box.box.address, session=number, took_us=since(asked))
    box.unsure.clear()


def _leaving(plan: AnyReader, there: int) -> int:
    """How many of the messages in a box its reader deletes: the oldest, which POP3 lists first."""
    if plan.kind == "fetcher":
        return there
    keep = plan.keep if plan.kind == "hoarder" else None
    return 0 if keep is None else max(0, there - keep)
