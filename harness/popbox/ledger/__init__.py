"""The ledger: each message carries a token, and popbox finds out what became of each.

``reconcile`` makes the proofs. Steps ask this module while a scenario runs: for tokens, and where a message is
by the MTA's log.
"""

from __future__ import annotations

import re
import secrets

from popbox.ledger.log import Attempt, family, stories

__all__ = ["TOKEN_FIELD", "Attempt", "attempts", "ended", "new_token", "queued_as", "stamp", "verdict"]

TOKEN_FIELD = "X-Popbox-Token"  # noqa: S105 - a header field's name, no secret
QUEUED_AS = re.compile(r"\bqp (\d+)")


_TOKEN_LINE = re.compile(rb"\n%b: ([^\n]*)\n" % TOKEN_FIELD.encode())
_issued: set[str] = set()  # by this process: scenarios run side by side, and may share a box


def new_token() -> str:
    """A token that is unique to one message."""
    token = f"pb-{secrets.token_hex(8)}"
    _issued.add(token)
    return token


def issued(header: bytes) -> bool:
    """Whether a header, between two newlines, carries a token that this process gave to a message."""
    return any(token.decode("ascii", "replace") in _issued for token in _TOKEN_LINE.findall(header))


def stamp(message: bytes, token: str) -> bytes:
    """The message with the token as its first header field, and a final newline (SMTP carries whole lines)."""
    stamped = f"{TOKEN_FIELD}: {token}\n".encode() + message
    return stamped if stamped.endswith(b"\n") else stamped + b"\n"


def queued_as(reply: str) -> str:
    """The qp of the reply ``250 ok TIME qp PID``; empty where it names none."""
    found = QUEUED_AS.search(reply)
    return found.group(1) if found else ""


def attempts(log: str, reply: str) -> list[Attempt]:
    """Delivery attempts of the message that was answered with ``reply``, oldest first."""
    return [attempt for story in list(family(stories(log), queued_as(reply)))[:1] for attempt in story.attempts]


def ended(log: str, reply: str) -> bool:
    """Whether the MTA is done with the message: its ``end msg`` line is there."""
    return any(story.ended for story in list(family(stories(log), queued_as(reply)))[:1])


def verdict(log: str, reply: str) -> str:
    """One line that says where the message is, from the MTA's log."""
    tried = attempts(log, reply)
    if not tried:
        queued = "it is in the queue: the log shows no delivery attempt yet"
        return queued if queued_as(reply) else "no queue id in the reply"
    last = tried[-1]
    said = f": {last.said}" if last.said else ""
    return f"delivery to {last.recipient} ended in {last.outcome}{said} ({len(tried)} attempt(s))"
