"""Where a message is: the MTA's log lines of one message, and what they say about each recipient.

Both MTAs log in qmail-send's line form (qmail-log(5)), so one reader serves.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

TOKEN_FIELD = "X-Popbox-Token"  # noqa: S105 - a header field's name, no secret
QUEUED_AS = re.compile(r"\bqp (\d+)")
INFO = re.compile(r"\binfo msg (\d+): bytes \d+ from <(.*)> qp (\d+) ")
STARTED = re.compile(r"\bstarting delivery (\d+): msg (\d+) to (local|remote) (.*)")
ENDED = re.compile(r"\bdelivery (\d+): (success|failure|deferral): (.*)")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery attempt: the routed address, how it ended (``running`` if not yet) and the MTA's words."""

    recipient: str
    outcome: str
    said: str


def new_token() -> str:
    """A token that is unique to one message."""
    return f"pb-{secrets.token_hex(8)}"


def stamp(message: bytes, token: str) -> bytes:
    """The message with the token as its first header field, and a final newline (SMTP carries whole lines)."""
    stamped = f"{TOKEN_FIELD}: {token}\n".encode() + message
    return stamped if stamped.endswith(b"\n") else stamped + b"\n"


def attempts(log: str, reply: str) -> list[Attempt]:
    """Delivery attempts of the message that was answered with ``reply`` (``250 ok TIME qp PID``), oldest first."""
    queued = QUEUED_AS.search(reply)
    if not queued:
        return []
    number = ""
    started: dict[str, str] = {}
    ended: dict[str, Attempt] = {}
    for line in log.splitlines():
        if (info := INFO.search(line)) and info.group(3) == queued.group(1):
            number = info.group(1)
        elif (start := STARTED.search(line)) and start.group(2) == number:
            started[start.group(1)] = start.group(4)
        elif (end := ENDED.search(line)) and end.group(1) in started:
            ended[end.group(1)] = Attempt(
                started[end.group(1)], end.group(2), end.group(3).replace("_", " ").rstrip("/")
            )
    return [ended.get(one, Attempt(recipient, "running", "")) for one, recipient in started.items()]


def ended(log: str, reply: str) -> bool:
    """Whether the MTA is done with the message: its ``end msg`` line is there."""
    queued = QUEUED_AS.search(reply)
    numbers = [m.group(1) for m in INFO.finditer(log) if queued and m.group(3) == queued.group(1)]
    return bool(numbers) and re.search(rf"\bend msg {numbers[-1]}$", log, re.MULTILINE) is not None


def verdict(log: str, reply: str) -> str:
    """One line that says where the message is, from the MTA's log."""
    tried = attempts(log, reply)
    if not tried:
        return (
            "it is in the queue: the log shows no delivery attempt yet"
            if QUEUED_AS.search(reply)
            else "no queue id in the reply"
        )
    last = tried[-1]
    said = f": {last.said}" if last.said else ""
    return f"delivery to {last.recipient} ended in {last.outcome}{said} ({len(tried)} attempt(s))"
