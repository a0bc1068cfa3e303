"""The way of single messages, told from the journals: what was said to it, who listed it, had it, and deleted it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_LINES = 40  # our choice: of one message

# A message's own lines, those of its files, and the ends of the sessions that had it.
_WAY = """WITH t AS (SELECT unnest(?) AS token),
  files AS (SELECT DISTINCT c.token, c.box, c.uidl FROM copies c JOIN t USING (token)),
  had AS (SELECT DISTINCT r.token, r.box, r.writer, r.session FROM rows r JOIN t USING (token) WHERE r.event = 'fetch')
SELECT token, box, (at_ns - (SELECT ns FROM zero)) / 1e9, event, uidl, octets, session, writer, note FROM (
  SELECT r.* FROM rows r JOIN t USING (token)
    WHERE r.event IN ('accept', 'refuse', 'unsure', 'fetch', 'bounce')
  UNION ALL SELECT r.* REPLACE (f.token AS token) FROM rows r JOIN files f ON r.box = f.box AND r.uidl = f.uidl
    WHERE r.event IN ('list', 'delete', 'vanish')
  UNION ALL SELECT r.* REPLACE (h.token AS token) FROM rows r JOIN had h
    ON r.writer = h.writer AND r.session = h.session AND r.box = h.box WHERE r.event IN ('commit', 'uncommit'))
ORDER BY token, box, at_ns, seq"""
_WORDS = {
    "accept": "accepted: {note}",
    "refuse": "refused: {note}",
    "unsure": "no reply to it: {note}",
    "list": "listed as {uidl}",
    "fetch": "handed out as {uidl}, {octets} octets, session {session} of {writer}",
    "bounce": "a report of it lay in this box",
    "delete": "DELE {uidl}, session {session} of {writer}",
    "vanish": "{uidl} is there no more",
    "commit": "QUIT was answered with +OK, session {session} of {writer}",
    "uncommit": "session {session} of {writer} ended without that: {note}",
}


def journeys(books: DuckDBPyConnection, tokens: Sequence[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Token and box -> what happened to the message there, in order; times are seconds from the first message."""
    ways: dict[tuple[str, str], list[str]] = {}
    for token, box, at_s, event, uidl, octets, session, writer, note in books.execute(_WAY, [tokens]).fetchall():
        lines = ways.setdefault((token, box), [])
        if len(lines) < MOST_LINES:
            said = _WORDS[event].format(uidl=uidl, octets=octets, session=session, writer=writer, note=note or "-")
            lines.append(f"{at_s:.2f} s: {said}")
    return {key: tuple(lines) for key, lines in ways.items()}
