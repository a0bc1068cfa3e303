"""The lines of an MTA's log as values. Both MTAs log in qmail-send's line form (qmail-log(5), Q-SEND-17). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

LINE = re.compile(
    r"(?P<info>\binfo msg (?P<i_msg>\d+): bytes (?P<bytes>\d+) from <(?P<sender>.*)> qp (?P<qp>\d+) uid (?P<uid>\d+))"
    r"|(?P<start>\bstarting delivery (?P<s_id>\d+): msg (?P<s_msg>\d+) to (?P<channel>local|remote) (?P<address>.*))"
    r"|(?P<did>\bdelivery (?P<d_id>\d+): (?P<outcome>success|failure|deferral): (?P<said>.*))"
    r"|(?P<end>\bend msg (?P<e_msg>\d+)$)"
    r"|(?P<bounce>\bbounce msg (?P<b_msg>\d+) qp (?P<b_qp>\d+))"
    r"|(?P<new>\bnew msg (?P<n_msg>\d+)$)"
)
KEPT = re.compile(r"\bdid_(\d+)\+(\d+)\+(\d+)/")  # qmail-local(8): files, forwards, programs
FORWARDED_AS = re.compile(r"/qp_(\d+)/")
TAI64N = re.compile(r"@([0-9a-f]{16})([0-9a-f]{8}) ")
WALL = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.\d+)?Z? ")
TAI_OFFSET = (1 << 62) + 10  # tai64nlocal(8) counts so, without leap seconds


@dataclass(frozen=True, slots=True)
class New:
    """``new msg N``: a message left todo/; the number, an inode, may have been another's before."""

    number: str


@dataclass(frozen=True, slots=True)
class Info:
    """``info msg``: ``octets`` is the size of the queue's file, with its own Received line."""

    number: str
    octets: int
    sender: str
    queued_as: str
    uid: int


@dataclass(frozen=True, slots=True)
class Started:
    """``starting delivery``: ``address`` as routed. Delivery numbers count from 1 in each process."""

    delivery: str
    number: str
    channel: str
    address: str


@dataclass(frozen=True, slots=True)
class Did:
    """How a delivery ended. ``kept`` counts the files that it wrote; None where its words do not say so."""

    delivery: str
    outcome: str
    said: str
    kept: int | None = None
    forwards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounced:
    """``bounce msg``: the message was given up for some recipient, and its bounce is in the queue."""

    number: str
    queued_as: str


@dataclass(frozen=True, slots=True)
class Ended:
    """``end msg``: the queue holds nothing of it any more."""

    number: str


Line = New | Info | Started | Did | Bounced | Ended


def parse(text: str) -> Line | None:
    """The value of one line; None for one that is about no message."""
    if "msg " not in text and "delivery " not in text:
        return None
    found = LINE.search(text)
    if found is None:
        return None
    match found.lastgroup:  # the group that ended last: the outermost
        case "info":
            return Info(found["i_msg"], int(found["bytes"]), found["sender"], found["qp"], int(found["uid"]))
        case "start":
            return Started(found["s_id"], found["s_msg"], found["channel"], found["address"])
        case "did":
            return _did(found["d_id"], found["outcome"], found["said"])
        case "end":
            return Ended(found["e_msg"])
        case "bounce":
            return Bounced(found["b_msg"], found["b_qp"])
    return New(found["n_msg"])


def _did(delivery: str, outcome: str, said: str) -> Did:
    words = said.replace("_", " ").rstrip("/")
    if outcome == "success" and (did := KEPT.search(said)):
        return Did(delivery, outcome, words, int(did[1]), tuple(FORWARDED_AS.findall(f"/{said}")))
    return Did(delivery, outcome, words)


def stamp(line: str) -> float | None:
    """Wall clock of a line, in seconds, where the logger put one: TAI64N (multilog) or ISO 8601 in UTC (s6-log)."""
    if line.startswith("@") and (found := TAI64N.match(line)):
        return int(found.group(1), 16) - TAI_OFFSET + int(found.group(2), 16) / 1e9
    if line[:2] == "20" and (found := WALL.match(line)):
        second = datetime.fromisoformat(found.group(1)).replace(tzinfo=UTC)
        return second.timestamp() + float(found.group(2) or 0)
    return None
