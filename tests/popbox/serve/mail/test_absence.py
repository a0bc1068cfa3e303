"""That no message fits is a proof, and what the host does not show is no proof. Made-up events, and one host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.popbox.fakehost import FakeHost
from tests.popbox.serve.api import Api
from tests.popbox.serve.mailing import box_without_tmp, cursor_of, deferred, journey_of, mail, send
from tests.popbox.serve.served import ask

from popbox.errors import HostError
from popbox.hosts.base import Ability, Host, Ran
from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW, Store
from popbox.serve.errors import ApiError
from popbox.serve.mail import absent
from popbox.serve.mail.absence import Verdict, judge, not_begun
from popbox.serve.mail.absent import WantedNone
from popbox.serve.space import Space

JOE = "joe@d.example"
FILE = {"maildir": "m", "path": "m/new/1.x", "uidl": "1.x", "size": 9, "mode": 0o600, "uid": 1, "message_id": "<i>"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "journeys") as store:
        yield store


def add(store: Store, kind: Kind, of: int | None = None, **said: Any) -> int:
    return store.append([Event(1.0, kind, of, said, "test")])[0]


def accept(store: Store, number: int, to: str = JOE, sender: str = "shop@x.example") -> int:
    of = add(store, Kind.QUEUED, NEW, qp=str(number), number=str(number), sender=sender, bytes=9, uid=1)
    add(store, Kind.TRYING, of, delivery="1", channel="local", recipient=to, address=to, foretold=None)
    return of


def end(store: Store, of: int, outcome: str = "success", kept: int = 1, to: str = JOE, subject: str = "S") -> None:
    said = {"outcome": outcome, "said": "words", "kept": kept, "forwards": []}
    add(store, Kind.TRIED, of, delivery="1", recipient=to, **said)
    if kept:
        head = {"recipient": to, "subject": subject, "from": "Shop <orders@x.example>", "fault": None, "wrong": ""}
        add(store, Kind.FILED, of, **{**FILE, **head})
    add(store, Kind.ENDED, of)


def judged(store: Store, within: Space | None = None, **wanted: Any) -> Verdict:
    return judge(store, WantedNone(**wanted), within, store.cursor())


def test_what_has_ended_and_is_another_is_no_match(store: Store) -> None:
    end(store, accept(store, 1))
    for wanted in ({"to": "ann@d.example"}, {"to": JOE, "subject": "T"}, {"to": JOE, "from": "a@x.example"}):
        assert judged(store, **wanted) == Verdict(looked_at=0 if wanted["to"] != JOE else 1), wanted
    for wanted in ({"to": JOE}, {"to": JOE, "subject": "S"}, {"subject": "S", "from": "orders@x.example"}):
        found = judged(store, **wanted)
        assert (len(found.messages), len(found.matching), found.unknown) == (1, 1, []), wanted
    assert judged(store, to=JOE, since=store.cursor()) == Verdict()


def test_what_has_not_ended_is_waited_for_even_for_another_address(store: Store) -> None:
    of = accept(store, 1)
    [line] = judged(store, to="ann@d.example").waiting
    assert line == f"journey {of}, from <shop@x.example> to {JOE}: queue: {JOE}: a delivery runs"
    upto = store.cursor()
    end(store, of)
    later = accept(store, 2)
    assert later > upto
    assert judge(store, WantedNone(to="ann@d.example"), None, upto) == Verdict(), "what came later is not waited for"


def test_in_a_space_only_its_own_is_waited_for(store: Store) -> None:
    accept(store, 1)
    assert judged(store, Space("other", "other.example")).waiting == []
    assert len(judged(store, Space("ours", "d.example")).waiting) == 1
    add(store, Kind.QUEUED, NEW, qp="2", number="2", sender="s@x.example", bytes=9, uid=1)
    assert len(judged(store, Space("other", "other.example")).waiting) == 1, "it may be for this space"


def test_a_copy_that_the_log_does_not_name_yet_is_waited_for(store: Store) -> None:
    of = accept(store, 1)
    said = {"outcome": "success", "said": "did_0+1+0/qp 7", "kept": 0, "forwards": ["7"]}
    with store.batch() as batch:
        batch.add(Event(1.0, Kind.TRIED, of, {"delivery": "1", "recipient": JOE, **said}, "test"))
        batch.db.execute("INSERT INTO awaited VALUES ('7', ?, 'forward', 1.0)", (of,))
        batch.add(Event(1.0, Kind.ENDED, of, {}, "test"))
    assert len(judged(store, to="ann@d.example").waiting) == 1


def test_a_message_that_bounced_was_accepted_and_fits_as_far_as_it_is_known(store: Store) -> None:
    end(store, accept(store, 1), "failure", 0)
    assert len(judged(store, to=JOE).matching) == 1
    assert judged(store, to=JOE, subject="S").matching == []
    assert judged(store, to=JOE, subject="S").unknown[0].endswith("its subject or From is not known")


def test_what_smtp_refused_was_not_accepted(store: Store) -> None:
    add(store, Kind.SENT, NEW, sender="a@x.example", recipients=[JOE], qp="", reply="553 no", accepted=False)
    assert judged(store, to=JOE) == Verdict(looked_at=1)


@pytest.mark.parametrize("kind", [Kind.UNSEEN, Kind.UNSURE, Kind.GAP, Kind.AMBIGUOUS])
def test_what_was_not_seen_is_no_proof(store: Store, kind: Kind) -> None:
    of = accept(store, 1)
    add(store, Kind.TRIED, of, delivery="1", recipient=JOE, outcome="success", said="did_1+0+0/", kept=1, forwards=[])
    if kind is Kind.GAP:
        end(store, accept(store, 2), subject="T")
        end(store, of, kept=0)
        add(store, Kind.GAP, why="the log was removed")
    else:
        add(store, kind, of, recipient=JOE, why="the reason", what="file", messages=[of, of])
        add(store, Kind.ENDED, of)
    found = judged(store, to=JOE, subject="X")
    assert found.unknown
    assert ("removed" if kind is Kind.GAP else "the reason") in " ".join(found.unknown)
    if kind is Kind.GAP:
        assert judged(store, to=JOE, since=store.cursor()).unknown == []


def test_what_was_taken_out_of_the_store_is_no_proof(store: Store) -> None:
    end(store, accept(store, 1))
    last = accept(store, 2, "ann@d.example")
    end(store, last, to="ann@d.example")
    assert store.prune(before=2.0) == 2
    [line] = judged(store, to=JOE).unknown
    assert line.startswith(f"what was accepted up to cursor {last} may be in the store no more")
    assert judged(store, to=JOE, since=last) == Verdict()
    assert judged(store, Space("ours", "d.example"), to=JOE).unknown == [], "nothing of a live space was"


def test_in_a_space_no_question_is_about_another_domain() -> None:
    for wanted in (WantedNone(to=JOE), WantedNone()):
        wanted.check(Space("ours", "d.example"))
    with pytest.raises(ApiError) as error:
        WantedNone(to=JOE).check(Space("other", "other.example"))
    assert error.value.status == 422


class Queue(FakeHost):
    """A host with a queue that the test fills."""

    ids: tuple[str, ...] = ()
    code = 0

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        return Ran(argv, self.code, "[" + ", ".join(f'{{"id": {one}}}' for one in self.ids) + "]", "why")

    def shell(self, script: str) -> Ran:
        return Ran(("sh",), self.code, "\n".join(f"/var/qmail/queue/todo/{one}" for one in self.ids), "why")

    def cannot(self, ability: Ability) -> str:
        return ""

    def home(self) -> str:
        return "/var/qmail"


def test_what_the_queue_has_and_the_log_has_not_is_not_begun(store: Store) -> None:
    accept(store, 17)
    host = Queue()
    host.ids = ("17", "18")
    host.mta = "stand-in"
    assert not_begun(host, store) == {"18"}
    host.mta = "qmail"
    assert not_begun(host, store) == {"/var/qmail/queue/todo/17", "/var/qmail/queue/todo/18"}
    host.code = 1
    for host.mta in ("qmail", "stand-in"):
        with pytest.raises(HostError):
            not_begun(host, store)


def none(port: int, **wanted: Any) -> tuple[int, dict[str, Any]]:
    query = "&".join(f"{name}={quote(str(value))}" for name, value in wanted.items())
    status, body, _ = ask(port, f"/v1/messages/none?{query}")
    return status, body


def test_on_a_host(port: int, host: Host) -> None:
    since = cursor_of(port)
    status, body = none(port, to="joe@domain.com", since=since)
    assert (status, body["none"], body["looked_at"], body["mta"]) == (200, True, 0, "stand-in")
    send(host, mail("Unwanted"), "joe@domain.com")
    status, body = none(port, to="joe@domain.com", since=since)
    assert (status, len(body["messages"])) == (409, 1)
    assert ask(port, f"/v1/messages/{body['messages'][0]}")[1]["message"]["subject"] == "Unwanted"
    assert none(port, to="joe@domain.com", subject="Another", since=since)[0] == 200
    send(host, mail("To no one", "nobody@domain.com"), "nobody@domain.com", sender="joe@domain.com")
    status, body = none(port, to="nobody@domain.com", since=since)
    assert (status, body["messages"], "bounced" in body["evidence"][0]) == (409, [], True)


def test_right_after_each_message_and_without_a_pause(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absent, "SETTLE_S", "no number: there is no pause")
    with Api(host, tmp_path) as api:
        for number in range(4):
            send(host, mail(f"At-once-{number}"), "joe@domain.com")
            status, body = api.get(f"/v1/messages/none?to=joe@domain.com&subject=At-once-{number}")
            assert (status, len(body["messages"])) == (409, 1), body


def test_what_is_deferred_may_still_come(port: int, host: Host) -> None:
    since = cursor_of(port)
    with box_without_tmp(host, "late") as mend:
        send(host, mail("Late", "late@domain.com"), "late@domain.com")
        deferred(port, "late@domain.com", since)
        status, body = none(port, to="unmailed@domain.com", since=since, within="0.1s")
        assert (status, "late@domain.com: deferred" in body["evidence"][0]) == (408, True), body
        mend()
        journey_of(port, "to=late@domain.com", since)
        assert none(port, to="unmailed@domain.com", since=since)[0] == 200


@pytest.mark.parametrize("query", ["", "from=a@b.example", "to=x&count=1", "to=x&within=2h"])
def test_what_is_no_question(port: int, query: str) -> None:
    assert ask(port, f"/v1/messages/none?{query}")[0] == 422
