"""Journeys of mail from a sender that knows nothing of popbox, on real hosts, against the sender's own record.

``POPBOX_JOURNEYS=10000`` sends that many; the figures are printed (``pytest -s``).
"""

from __future__ import annotations

import os
import poplib
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from tests.needs import require

from popbox.hosts.base import Host, closing
from popbox.hosts.choose import choose, start
from popbox.journey.model import Disposition, Journey, Kind, State
from popbox.journey.recorder import Recorder
from popbox.journey.store import Filters, Store
from popbox.settings import Settings, find_assets

MESSAGES = int(os.environ.get("POPBOX_JOURNEYS", "300"))
AT_ONCE = 20
DONE_S = 600.0
BOXES = 10
WORLDS = ["local/standin", pytest.param("docker/qmail", marks=[pytest.mark.docker, pytest.mark.realqmail])]
pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module", params=WORLDS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Ten boxes with extensions, and a forward to the first."""
    name, _, mta = request.param.partition("/")
    if name == "docker":
        require("qmail image")
    settings = Settings(find_assets(), tmp_path_factory.mktemp("state"), None, dict(os.environ))
    with closing(start(choose(name, mta, settings), settings)) as up:
        assert up.run("domain", "add", "domain.com").code == 0
        for number in range(BOXES):
            add = ("mailbox", "add", f"box{number}@domain.com", "--login", f"box{number}", "--crypt", "DmIMm9e5Hc8ic")
            assert up.run(*add, "--extensions").code == 0
        assert up.run("forward", "add", "sales@domain.com", "box0@domain.com").code == 0
        yield up


@dataclass(frozen=True)
class Record:
    """What the sender wrote down."""

    message_id: str
    sender: str
    to: tuple[str, ...]
    qp: str


def send_some(host: Host, numbers: range) -> list[Record]:
    """One connection's share: alike messages, so that only what the hosts say tells them apart."""
    at, sent = host.address("smtp"), []
    with smtplib.SMTP(at.host, at.port, timeout=120) as smtp:
        for number in numbers:
            box = f"box{number % BOXES}"
            to = {0: (f"{box}-x@domain.com",), 1: ("sales@domain.com",), 2: ("none@domain.com",)}.get(number % 10)
            to = to or (
                (f"{box}@domain.com", f"box{(number + 1) % BOXES}@domain.com")
                if number % 10 == 3
                else (f"{box}@domain.com",)
            )
            sender = f"box{(number + 5) % BOXES}@domain.com" if number % 10 == 2 else "shop@client.example"
            smtp.helo("client.example")
            smtp.mail(sender)
            for one in to:
                assert smtp.rcpt(one)[0] == 250
            code, reply = smtp.data(
                f"Message-ID: <{number:06d}@client.example>\r\nSubject: your order\r\n\r\nThanks.\r\n"
            )
            assert code == 250, reply
            sent.append(Record(f"<{number:06d}@client.example>", sender, to, reply.split()[-1].decode()))
    return sent


@dataclass(frozen=True)
class Outcome:
    """A host's store after all mail has ended, and the sender's record."""

    store: Store
    sent: list[Record]


@pytest.fixture(scope="module")
def outcome(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with Store.open(tmp_path_factory.mktemp("journeys") / "journeys.db") as store:
        recorder, over = Recorder.on(host, store), threading.Event()
        thread = threading.Thread(target=record, args=(recorder, over))
        thread.start()
        began = time.monotonic()
        try:
            shares = [range(number, MESSAGES, AT_ONCE) for number in range(AT_ONCE)]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                sent = [one for share in pool.map(lambda share: send_some(host, share), shares) for one in share]
            took_s = time.monotonic() - began
            until = time.monotonic() + DONE_S
            while time.monotonic() < until and not ended(store, sent):
                time.sleep(0.5)
        finally:
            over.set()
            thread.join()
            recorder.close()
        print(f"\n{host.describe()}: {len(sent)} messages sent in {took_s:.1f} s")
        yield Outcome(store, sent)


def record(recorder: Recorder, over: threading.Event) -> None:
    while not over.is_set():
        recorder.run_pass()
        over.wait(0.2)
    recorder.run_pass()


def ended(store: Store, sent: list[Record]) -> bool:
    roots = sum(not one for (one,) in store._reader().execute("SELECT parent FROM messages"))
    return roots >= len(sent) and not store.unfinished()


def journeys(store: Store, record: Record) -> list[Journey]:
    """The journeys that the sender's record may mean: by qp and sender alone."""
    found = store.search(Filters(queue_id=record.qp, sender=record.sender))
    told = [store.journey(of) for of in found]
    return [one for one in told if one and one.message.queued_as == record.qp]


def test_every_journey_is_right(outcome: Outcome) -> None:
    store, wrong, ends = outcome.store, [], Counter[str]()
    for record in outcome.sent:
        found = [one for one in journeys(store, record) if one.message.message_id in (record.message_id, None)]
        if record.to == ("sales@domain.com",):
            found = [one for one in found if one.copies and one.copies[0].message_id == record.message_id]
        if record.to == ("none@domain.com",):
            found = [one for one in found if one.end is Disposition.BOUNCED]
        if not found:
            wrong.append(f"{record}: no journey")
            continue
        journey = found[0]
        ends[journey.end.value] += 1
        right = {one.address for one in journey.message.recipients} == set(record.to) and journey.ended
        if record.to == ("none@domain.com",):
            (bounce,) = journey.copies
            right = right and bounce.relation == "bounce" and bounce.recipients[0].end is Disposition.ONCE
        else:
            right = right and journey.end is Disposition.ONCE and len(found) == 1
        if not right:
            wrong.append(f"{record}: {journey}")
    ambiguous = sum(event.kind is Kind.AMBIGUOUS for event in all_events(store))
    print(f"ends: {dict(ends)}; ambiguous: {ambiguous}; alarms: {alarms(store)}; wrong: {len(wrong)}")
    assert not wrong, "\n".join(wrong[:3])
    assert ambiguous == 0
    assert alarms(store) == []


def all_events(store: Store) -> Iterator[object]:
    seq = 0
    while found := store.events_since(seq):
        yield from found
        seq = found[-1].seq


def alarms(store: Store) -> list[object]:
    return [event.fields for event in all_events(store) if event.kind is Kind.ALARM][:5]


def test_a_pickup_is_told_of_the_right_message(host: Host, outcome: Outcome) -> None:
    at = host.address("pop3")
    session = poplib.POP3(at.host, at.port, timeout=60)
    session.user("box9")
    session.pass_("testpw")
    wanted = {line for line in session.retr(1)[1] if line.startswith(b"Message-ID: ")}
    session.dele(1)
    session.quit()
    recorder, until = Recorder.on(host, outcome.store), time.monotonic() + 60
    while time.monotonic() < until:
        recorder.run_pass()
        picked = [event for event in all_events(outcome.store) if event.kind in (Kind.RETRIEVED, Kind.REMOVED)]
        if len(picked) == 2:
            break
        time.sleep(0.2)
    recorder.close()
    assert {event.message for event in picked} == {picked[0].message}
    journey = outcome.store.journey(picked[0].message)
    assert journey is not None
    assert {f"Message-ID: {journey.message.message_id}".encode()} == wanted
    taken = [one for one in journey.message.recipients if one.legs[3].state is State.DONE]
    assert [one.pickups[1].removed for one in taken] == [True]
