"""A message of a queue, the stand-in's or real qmail's, as a value for JSON and as lines for a person."""

from __future__ import annotations

import time
from typing import Any

from mailhost.qmail.queue import Message
from mailhost.standin.queue.format import Journal, QueueRecord

STANDIN, QMAIL = "stand-in", "qmail"
AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))

Described = dict[str, Any]
"""``queue`` says whose it is; ``state`` of a recipient is a word of ``_state`` or ``_mark``."""


def of_standin(record: QueueRecord, journal: Journal, now: float) -> Described:
    """A message of the stand-in."""
    recipients = [
        {
            "address": _text(one.address),
            "channel": "local" if one.local else "remote",
            "state": _state(record, journal, index),
            "next_try": journal.due.get(b"L" if one.local else b"R"),
        }
        for index, one in enumerate(record.recipients)
    ]
    return _described(STANDIN, record.number, record.birth, now, record.size, record.sender) | {
        "bouncing": bool(journal.failed),
        "recipients": recipients,
    }


def _state(record: QueueRecord, journal: Journal, index: int) -> str:
    if index in journal.failed:
        return "failed"
    if index in journal.done:
        return "delivered"
    letter = b"L" if record.recipients[index].local else b"R"
    return "deferred" if letter in journal.due else "waiting"


def of_qmail(message: Message, now: float) -> Described:
    """A message of real qmail. When it is tried next only qmail-send knows."""
    recipients = [
        {
            "address": _text(one.address),
            "channel": {True: "local", False: "remote", None: None}[one.local],
            "state": "done" if one.done else "waiting" if message.processed else "unprocessed",
            "next_try": None,
        }
        for one in message.recipients
    ]
    return _described(QMAIL, message.number, message.arrived, now, message.octets, message.sender) | {
        "bouncing": bool(message.bounce),
        "recipients": recipients,
    }


def _described(queue: str, number: int, arrived: float, now: float, octets: int, sender: bytes) -> Described:
    return {
        "id": number,
        "queue": queue,
        "arrived": arrived,
        "age_s": max(0, int(now - arrived)),
        "octets": octets,
        "sender": _text(sender),
    }


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def lines(message: Described) -> str:
    """For a person."""
    if "error" in message:
        return f"{message['id']}  cannot be read: {message['error']}"
    arrived = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(message["arrived"]))
    bouncing = "  bouncing" if message["bouncing"] else ""
    head = f"{message['id']}  {arrived}Z  {_age(message['age_s'])} old  {message['octets']} octets"
    said = [f"{head}  from <{message['sender']}>{bouncing}"]
    for one in message["recipients"]:
        due = one["next_try"]
        later = time.strftime("  next try %H:%M:%SZ", time.gmtime(due)) if one["state"] == "deferred" else ""
        said.append(f"    {one['channel'] or '':6} {one['state']:9} {one['address']}{later}")
    return "\n".join(said)


def _age(seconds: int) -> str:
    return next((f"{seconds // each} {unit}" for each, unit in AGES if seconds >= each), f"{seconds} s")
