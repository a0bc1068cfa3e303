"""What a space shows of a journey that others have a part in."""

from __future__ import annotations

from popbox.journey.derive import derive
from popbox.journey.model import Disposition, Event, Journey, Kind
from popbox.serve.mail.arrivals import arrivals_of
from popbox.serve.space import Space
from popbox.serve.view import seen

OURS, THEIRS = "a@one.example", "b@two.example"


def events() -> list[Event]:
    """To a box of ours, which is delivered, and to one of theirs, which bounces; ours is forwarded to theirs too."""
    tried = {"delivery": "1", "outcome": "success", "said": "did_1+1+0/qp 8", "kept": 1, "forwards": ["8"]}
    failed = {"delivery": "2", "outcome": "failure", "said": "no such user secret", "kept": 0, "forwards": []}
    told: list[tuple[Kind, int, dict[str, object]]] = [
        (Kind.QUEUED, 1, {"qp": "7", "number": "70", "sender": "s@x.example", "bytes": 9, "uid": 1}),
        (Kind.TRYING, 1, {"delivery": "1", "channel": "local", "recipient": "u-a@one.example", "address": OURS}),
        (Kind.TRYING, 1, {"delivery": "2", "channel": "local", "recipient": THEIRS, "address": THEIRS}),
        (Kind.TRIED, 1, {**tried, "recipient": "u-a@one.example"}),
        (Kind.TRIED, 1, {**failed, "recipient": THEIRS}),
        (Kind.QUEUED, 6, {"qp": "8", "number": "80", "sender": "s@x.example", "bytes": 9, "uid": 1}),
        (Kind.LINKED, 6, {"parent": 1, "relation": "forward"}),
        (Kind.TRYING, 6, {"delivery": "3", "channel": "local", "recipient": THEIRS, "address": THEIRS}),
        (Kind.TRIED, 6, {**tried, "recipient": THEIRS, "said": "did_1+0+0/", "forwards": [], "delivery": "3"}),
        (Kind.BOUNCED, 1, {"qp": "9"}),
        (Kind.QUEUED, 11, {"qp": "9", "number": "90", "sender": "", "bytes": 9, "uid": 1}),
        (Kind.LINKED, 11, {"parent": 1, "relation": "bounce"}),
        (Kind.TRYING, 11, {"delivery": "4", "channel": "remote", "recipient": "s@x.example", "address": "s@x.example"}),
        (Kind.ALARM, 1, {"recipient": THEIRS, "why": "secret"}),
        (Kind.FILED, 1, filed("u-a@one.example", "1.x")),
        (Kind.FILED, 6, filed(THEIRS, "2.x")),
    ]
    return [Event(float(seq), kind, of, said, seq=seq) for seq, (kind, of, said) in enumerate(told, 1)]


def filed(recipient: str, uidl: str) -> dict[str, object]:
    head = {"recipient": recipient, "maildir": "m", "path": f"m/new/{uidl}", "uidl": uidl, "size": 9}
    return {**head, "mode": 0o600, "uid": 1, "subject": "S", "message_id": "<i>", "from": "S <From@X.example>"}


def journey() -> Journey:
    return derive(1, events(), lambda _seq: None)


def test_without_a_space_all_is_shown() -> None:
    assert seen(journey(), None) == journey()
    assert journey().end is Disposition.BOUNCED


def test_a_space_shows_its_own_recipients_and_no_word_of_others() -> None:
    shown = seen(journey(), Space("one", "one.example"))
    assert shown is not None
    assert [one.address for one in shown.message.recipients] == [OURS]
    assert (shown.copies, shown.alarms) == ((), ())
    for word in ("two.example", "secret"):
        assert word not in repr(shown), word
    theirs = seen(journey(), Space("two", "two.example"))
    assert theirs is not None
    assert [one.address for one in theirs.message.recipients] == [THEIRS]
    assert [one.relation for one in theirs.copies] == ["forward"], (
        "the bounce tells of a message that is not theirs alone"
    )
    assert theirs.end is Disposition.BOUNCED
    assert seen(journey(), Space("three", "three.example")) is None


def test_an_arrival_has_the_names_of_all_that_was_forwarded_to_it() -> None:
    ours, theirs = arrivals_of(events())
    assert (ours.id, ours.message, ours.began, ours.to) == (15, 1, 1, OURS)
    assert ours.names == {OURS, "u-a@one.example"}
    assert (theirs.id, theirs.message, theirs.began, theirs.to, theirs.relation) == (16, 6, 1, THEIRS, "forward")
    assert theirs.names == {THEIRS, OURS, "u-a@one.example"}
    assert theirs.senders == {"s@x.example", "from@x.example"}
