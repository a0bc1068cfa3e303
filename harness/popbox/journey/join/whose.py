"""Which lines of a log are about one test's or run's own messages and sessions, on a host that others use too. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from popbox.journey.join.maillog import Bounced, Did, Ended, Info, New, Started, parse

STATUS = re.compile(r"(^|\s)status: local \d")  # qmail-send's, and the stand-in's


@dataclass(eq=False, slots=True)
class _Queued:
    """One message of the MTA's log, from ``new msg`` to ``end msg``: a number is used again after that."""

    qp: str = ""
    ours: bool = False
    children: set[str] = field(default_factory=set)  # queue ids of its bounce and its forwarded copies


def mail_lines(log: str, domains: Collection[str], queue_ids: Collection[str]) -> list[str]:
    """The lines of the MTA's log about messages to ``domains``, those of ``queue_ids``, and what became of these.

    Lines about no message stay (warnings, alerts), but not the counts of deliveries that run.
    """
    said = [(line, *_about(line, reading)) for reading in [_Reading()] for line in log.splitlines()]
    messages = {message: None for _, message, _ in said if message}
    for _, message, address in said:
        if message and (message.qp in queue_ids or address.rpartition("@")[2].lower() in domains):
            message.ours = True
    ours = {qp for message in messages if message.ours for qp in message.children}
    while more := [message for message in messages if message.qp in ours and not message.ours]:
        for message in more:
            message.ours = True
            ours |= message.children
    return [line for line, message, _ in said if (message.ours if message else not STATUS.search(line))]


@dataclass(slots=True)
class _Reading:
    """Which message has which number now."""

    queued: dict[str, _Queued] = field(default_factory=dict)
    running: dict[str, _Queued] = field(default_factory=dict)


def _about(line: str, reading: _Reading) -> tuple[_Queued | None, str]:
    """The message of a line, and the address that the line names."""
    match parse(line):
        case New(number):
            reading.queued[number] = _Queued()
            return reading.queued[number], ""
        case Info(number, _, sender, queued_as):
            message = reading.queued.setdefault(number, _Queued())
            message.qp = queued_as
            return message, sender
        case Started(delivery, number, _, address):
            reading.running[delivery] = reading.queued.setdefault(number, _Queued())
            return reading.running[delivery], address
        case Did(delivery, _, _, _, forwards):
            message = reading.running.pop(delivery, _Queued())
            message.children |= set(forwards)
            return message, ""
        case Bounced(number, queued_as):
            message = reading.queued.setdefault(number, _Queued())
            message.children.add(queued_as)
            return message, ""
        case Ended(number):
            return reading.queued.pop(number, _Queued()), ""
    return None, ""


def pop3_lines(log: str, logins: Collection[str]) -> list[str]:
    """The lines of the POP3 server's log about sessions of these logins; what is about no login stays."""
    lines = [(line, _record(line)) for line in log.splitlines()]
    others = {one.get("id") for _, one in lines if one.get("login") and one["login"] not in logins}
    return [
        line for line, one in lines if one.get("login") in logins or not (one.get("login") or one.get("id") in others)
    ]


def _record(line: str) -> dict[str, object]:
    try:
        read = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
