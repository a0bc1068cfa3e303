"""Events in words: every kind has its own, and the log's where the log tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from popbox.journey.lines import line
from popbox.journey.model import Event, Kind

SESSION = {"session": "7", "login": "joe", "uidl": "1.M2", "octets": 9}
FILED = {"path": "d/joe/Maildir/new/1.M2", "size": 9, "uid": 888, "mode": 0o640}
SAID: dict[Kind, tuple[dict[str, Any], str]] = {
    Kind.SENT: (
        {"sender": "", "recipients": ["a@x", "b@x"], "reply": "250 ok"},
        "popbox sent it from <> to <a@x>, <b@x>: 250 ok",
    ),
    Kind.QUEUED: (
        {"number": "5", "bytes": 9, "sender": "s@x", "qp": "4"},
        "info msg 5: bytes 9 from <s@x> qp 4",
    ),
    Kind.TRYING: (
        {"delivery": 3, "channel": "local", "recipient": "d-joe@x"},
        "starting delivery 3: to local d-joe@x",
    ),
    Kind.TRIED: ({"delivery": 3, "outcome": "deferral", "said": "no room"}, "delivery 3: deferral: no room"),
    Kind.BOUNCED: ({"qp": "8"}, "bounce qp 8"),
    Kind.ENDED: ({}, "end msg"),
    Kind.LINKED: ({"relation": "forward", "parent": 1}, "it is a forward of message 1"),
    Kind.FILED: (
        {**FILED, "wrong": "others may read it"},
        "file d/joe/Maildir/new/1.M2: 9 octets, uid 888, mode 0640, others may read it",
    ),
    Kind.RETRIEVED: (SESSION, "RETR by joe, session 7, UIDL 1.M2, 9 octets"),
    Kind.REMOVED: (SESSION, "removed at QUIT by joe, session 7, UIDL 1.M2"),
    Kind.FORETOLD: (
        {"address": "a@x", "outcome": "delivered", "maildirs": ["d/a/Maildir"]},
        "foretold for a@x: delivered d/a/Maildir",
    ),
    Kind.NOTE: ({"what": "send", "who": "token", "outcome": "done"}, "send by token: done"),
    Kind.MISSING: ({"recipient": "a@x", "why": "no file is there"}, "missing: no file is there"),
}


@pytest.mark.parametrize("kind", Kind)
def test_an_event_has_its_words(kind: Kind) -> None:
    fields, words = SAID.get(kind, ({"why": "so it is"}, f"{kind.value}: so it is"))
    assert line(Event(0.0, kind, 1, fields)) == words
