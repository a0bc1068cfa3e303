"""An event as one line for a reader: in the words of the MTA's log where the log tells of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from popbox.journey.model import Event, Kind

Said = Mapping[str, Any]


def line(event: Event) -> str:
    """What the event says, on one line if its texts are: control characters are still those that were seen."""
    told = _WORDS.get(event.kind)
    return told(event.fields) if told else f"{event.kind}: {event.fields.get('why', '')}"


def _sent(said: Said) -> str:
    to = ", ".join(f"<{one}>" for one in said["recipients"])
    return f"popbox sent it from <{said['sender']}> to {to}: {said.get('reply', '')}"


def _queued(said: Said) -> str:
    return f"info msg {said['number']}: bytes {said['bytes']} from <{said['sender']}> qp {said['qp']}"


def _trying(said: Said) -> str:
    return f"starting delivery {said['delivery']}: to {said['channel']} {said['recipient']}"


def _filed(said: Said) -> str:
    owner = f"{said['size']} octets, uid {said['uid']}, mode {said['mode']:04o}"
    return f"file {said['path']}: {owner}{', ' if said.get('wrong') else ''}{said.get('wrong') or ''}"


def _session(said: Said) -> str:
    return f"by {said['login']}, session {said['session']}, UIDL {said['uidl']}"


def _foretold(said: Said) -> str:
    places = [*said.get("maildirs", ()), *said.get("mboxes", ()), *said.get("elsewhere", ())]
    return f"foretold for {said['address']}: {' '.join((said['outcome'], *places))}"


_WORDS: Mapping[Kind, Callable[[Said], str]] = {
    Kind.SENT: _sent,
    Kind.QUEUED: _queued,
    Kind.TRYING: _trying,
    Kind.TRIED: lambda said: f"delivery {said['delivery']}: {said['outcome']}: {said['said']}",
    Kind.BOUNCED: lambda said: f"bounce qp {said['qp']}",
    Kind.ENDED: lambda _: "end msg",
    Kind.LINKED: lambda said: f"it is a {said['relation']} of message {said['parent']}",
    Kind.FILED: _filed,
    Kind.RETRIEVED: lambda said: f"RETR {_session(said)}, {said.get('octets') or 0} octets",
    Kind.REMOVED: lambda said: f"removed at QUIT {_session(said)}",
    Kind.FORETOLD: _foretold,
    Kind.NOTE: lambda said: f"{said['what']} by {said['who']}: {said['outcome']}",
}
