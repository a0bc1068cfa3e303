"""Finding messages among a million: every filter is an exact key, so an answer is a walk over one index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from popbox.journey.store.schema import Key, folded

PROBE = 1000  # our choice: filters with fewer messages are told apart, and the rarest leads

FIRST = 2**63 - 1  # before this id is each
ALL = "SELECT id AS message FROM messages WHERE id > ? AND id < ?"
LEAD = "SELECT message FROM finds f WHERE kind = ? AND key = ? AND message > ? AND message < ?"
MORE = " AND EXISTS (SELECT 1 FROM finds WHERE kind = ? AND key = ? AND message = f.message)"
OLDEST_FIRST, NEWEST_FIRST = " ORDER BY message LIMIT ?", " ORDER BY message DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class Filters:
    """All that are set must fit. Values match whole, never as parts; addresses and domains without regard to case.

    ``to`` is an address as the envelope or the MTA's log has it, ``queue_id`` the qp of the SMTP reply or the log's
    message number, ``domain`` that of a recipient or of the sender: a space's own.
    """

    to: str | None = None
    sender: str | None = None
    subject: str | None = None
    message_id: str | None = None
    uidl: str | None = None
    queue_id: str | None = None
    domain: str | None = None

    def keys(self) -> Iterator[tuple[Key, str]]:
        """The keys that must all be there."""
        wanted = (
            (Key.TO, self.to and folded(self.to)),
            (Key.FROM, None if self.sender is None else folded(self.sender)),
            (Key.SUBJECT, self.subject),
            (Key.MESSAGE_ID, self.message_id),
            (Key.UIDL, self.uidl),
            (Key.QUEUE_ID, self.queue_id),
            (Key.DOMAIN, self.domain and folded(self.domain)),
        )
        return ((kind, value) for kind, value in wanted if value is not None)


def search(
    db: sqlite3.Connection, filters: Filters, since: int, before: int | None, limit: int, oldest_first: bool
) -> tuple[int, ...]:
    """Ids of the messages that fit, between ``since`` and ``before``, without these."""
    before = FIRST if before is None else before
    wanted = sorted(filters.keys(), key=lambda one: _share(db, one, since))
    order = OLDEST_FIRST if oldest_first else NEWEST_FIRST
    if not wanted:
        return tuple(row[0] for row in db.execute(ALL + order, (since, before, limit)))
    query = LEAD + MORE * (len(wanted) - 1) + order
    values = [*wanted[0], since, before, *(value for one in wanted[1:] for value in one), limit]
    return tuple(row[0] for row in db.execute(query, values))


def _share(db: sqlite3.Connection, one: tuple[Key, str], since: int) -> int:
    """How many messages have a key, up to PROBE."""
    query = "SELECT count(*) FROM (SELECT 1 FROM finds WHERE kind = ? AND key = ? AND message > ? LIMIT ?)"
    return int(db.execute(query, (*one, since, PROBE)).fetchone()[0])
