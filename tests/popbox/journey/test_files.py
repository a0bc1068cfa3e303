"""Files and POP3 sessions are joined to a message by facts; what fits twice is ambiguous, what is not there lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.environment import NOTHING
from popbox.errors import HostError
from popbox.hosts.base import Ability, Command, Ran
from popbox.hosts.following import FileFollower
from popbox.journey.feeds.maildirs import Maildirs
from popbox.journey.join import files
from popbox.journey.join.foretell import Foreteller, unrouted, virtualdomains
from popbox.journey.metrics import metrics
from popbox.journey.model import Disposition, Event, Journey, Kind, State
from popbox.journey.recorder import Recorder
from popbox.journey.store import Filters, Store

BOX = "popboxes/d/joe/Maildir"
ENDS = {"accepted": True, "ends": [["maildir", f"/HOME/{BOX}", "", "", ""]]}


@dataclass
class Host(FakeHost):
    """A home on this machine, with logs, rules and Maildirs that the test writes."""

    top: Path = Path()
    uid: int = field(default_factory=os.geteuid)
    ends: dict[str, Any] = field(default_factory=lambda: ENDS)
    blind: str = ""

    def home(self) -> str:
        return str(self.top)

    def cannot(self, ability: Ability) -> str:
        return self.blind if ability is Ability.FILES else ""

    def follow(self, service: str, position: str = "") -> FileFollower:
        return FileFollower(self.top / service, position)

    def read(self, path: str) -> bytes:
        try:
            return (self.top / path).read_bytes()
        except OSError as error:
            raise HostError(str(error)) from error

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        lines = [json.dumps({"version": 1}), *(json.dumps(self.ends) for _ in stdin.splitlines())]
        return Ran(argv, 0, "\n".join(lines).replace("/HOME", self.home()), "")

    def beside(self, *argv: str) -> Command:
        return Command(["python3", *argv], {**NOTHING, "PATH": os.environ["PATH"]})


class Bench:
    """A host, its store, and a recorder that can die."""

    def __init__(self, top: Path) -> None:
        self.host = Host(top=top)
        for name in ("new", "cur", "tmp"):
            (top / BOX / name).mkdir(parents=True)
        (top / "users").mkdir()
        (top / "users/poppasswd").write_text(f"testid:x:popuser:{top}/popboxes/d/joe\n")
        self.open()
        self.recorder.run_pass()  # from now on the logs are read as they come

    def open(self) -> None:
        self.store = Store.open(self.host.top / "journeys.db")
        self.recorder = Recorder.on(self.host, self.store)

    def close(self) -> None:
        self.recorder.close()
        self.store.close()

    def logged(self, number: int = 7, qp: int = 41, size: int = 194, sender: str = "a@b.org") -> None:
        lines = (
            f"info msg {number}: bytes {size} from <{sender}> qp {qp} uid 1\nstarting delivery {number}: "
            f"msg {number} to local d-joe@d.org\ndelivery {number}: success: did_1+0+0/\nend msg {number}\n"
        )
        self.write("smtp", lines)

    def write(self, log: str, lines: str) -> None:
        with (self.host.top / log).open("a") as file:
            file.write(lines)

    def put(self, name: str, qp: int = 41, size: int = 194, sender: str = "a@b.org", at: float | None = None) -> Path:
        """A file as qmail-local writes it, whose queue file has that size."""
        day = time.strftime("%d %b %Y %H:%M:%S", time.gmtime(at or time.time()))
        queued = f"Received: (qmail {qp} invoked from network); {day} -0000\n"
        queued += f"Subject: =?utf-8?q?h=C3=A9?=\nMessage-ID: <{name}>\n\n"
        queued += "x" * (size - len(queued))
        path = self.host.top / BOX / "new" / f"{int(at or time.time())}.{name}"
        path.write_text(f"Return-Path: <{sender}>\nDelivered-To: d-joe@d.org\n{queued}")
        path.chmod(0o600)
        return path

    def popped(self, name: str, event: str = "retrieved", session: str = "<1>", login: str = "testid") -> None:
        line = {
            "time": time.time(),
            "event": event,
            "id": session,
            "login": login,
            "uidl": name,
            "octets": 9,
            "file": name,
        }
        self.write("pop3", json.dumps(line) + "\n")

    def one(self, **filters: str) -> Journey:
        self.recorder.run_pass()
        (found,) = self.store.search(Filters(**filters))
        journey = self.store.journey(found)
        assert journey is not None
        return journey


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(files, "MISSING_S", 0.0)
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.parametrize(
    ("written", "logged"),
    [
        ('"a b"@c.org', "a_b@c.org"),
        ("{{7*7}}{%raw%}@c.org", "{{7*7}}{_raw_}@c.org"),
        ('"alert(1)/x"@c.org', "alert(1)/x@c.org"),
        ('"a\\"b\\\\c"@c.org', 'a"b\\c@c.org'),
        ("j\u00f6rg@c.org", "j__rg@c.org"),
        ('"@c.org', '"@c.org'),
        ('""@c.org', "@c.org"),
    ],
)
def test_a_sender_that_the_log_writes_in_another_way_is_the_same(bench: Bench, written: str, logged: str) -> None:
    bench.logged(sender=logged)
    bench.put("x.mail", sender=written)
    bench.recorder.run_pass()
    [one] = bench.store.search(Filters())
    journey = bench.store.journey(one)
    assert journey is not None
    assert (journey.end, len(journey.message.recipients[0].files)) == (Disposition.ONCE, 1)


def test_the_whole_way(bench: Bench) -> None:
    bench.logged()
    name = bench.put("1").name
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.ended, journey.alarms) == (Disposition.ONCE, True, ())
    assert (journey.message.subject, journey.message.message_id) == ("hé", "<1>")
    assert journey.legs[3].state is State.WAITING
    bench.popped(name)
    bench.popped(name, "removed")
    journey = bench.one(uidl=name)
    assert journey.legs[3].state is State.DONE
    assert [one.removed for one in journey.message.recipients[0].pickups] == [False, True]
    assert 'popbox_delivery_seconds_bucket{le="+Inf"} 1\n' in metrics(bench.store)
    assert "popbox_pickup_seconds_count 1\n" in metrics(bench.store)


def test_a_name_that_is_no_utf8_stops_no_recording(bench: Bench) -> None:
    """Boxes belong to popuser, and clients may do as they like with them."""
    bench.logged()
    name = bench.put("1").name
    hostile = os.fsdecode(os.fsencode(bench.put("2")) + b"\xff")
    (bench.host.top / BOX / "new" / name).rename(hostile)
    bench.popped(os.fsdecode(b"\xff"))
    bench.popped("\ud800", login="\ud800")
    assert bench.one(queue_id="41").end is Disposition.ONCE, "the other file is the one"
    bench.store.append([Event(1.0, Kind.NOTE, None, {"what": "a\ud800b"}, "test")])
    assert bench.store.events_since(0)[-1].fields == {"what": "a?b"}


def test_a_file_without_its_message_in_the_log_is_of_no_journey(bench: Bench) -> None:
    bench.put("1", qp=99)
    bench.logged()
    journey = bench.one(queue_id="41")
    assert journey.end is Disposition.LOST
    assert journey.alarms == (f"the log says that it was delivered, and no file in {BOX} is it",)


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ({"size": 190}, Disposition.CORRUPTED),
        ({"sender": "other@b.org"}, Disposition.LOST),
        ({"qp": 42}, Disposition.LOST),
        ({"at": -7200.0}, Disposition.LOST),
    ],
)
def test_a_file_that_differs_in_one_fact(bench: Bench, change: dict[str, Any], end: Disposition) -> None:
    bench.logged()
    bench.put("1", **{key: time.time() + value if key == "at" else value for key, value in change.items()})
    assert bench.one(queue_id="41").end is end


def test_a_wrong_owner_or_mode_is_told(bench: Bench) -> None:
    bench.logged()
    bench.put("1").chmod(0o644)
    assert bench.one(queue_id="41").end is Disposition.WRONG_MODE
    bench.host.uid += 1
    bench.close()
    bench.open()
    bench.logged(8, 42)
    bench.put("2", 42)
    assert bench.one(queue_id="42").end is Disposition.WRONG_OWNER


def test_a_pid_that_comes_again_is_told_apart_by_size(bench: Bench) -> None:
    bench.logged(7, size=194)
    bench.logged(8, size=200)
    first, second = bench.put("1", size=200), bench.put("2", size=194)
    bench.recorder.run_pass()
    assert [bench.one(uidl=one.name).message.octets for one in (first, second)] == [200, 194]


def test_what_fits_twice_is_ambiguous(bench: Bench) -> None:
    bench.logged(7)
    bench.logged(8)
    bench.put("1")
    bench.put("2")
    bench.recorder.run_pass()
    ends = [bench.store.journey(of) for of in bench.store.search(Filters(queue_id="41"))]
    assert [(one.end, one.legs[2].state) for one in ends if one] == [(Disposition.UNKNOWN, State.UNKNOWN)] * 2
    assert all("two messages" in one.why for one in ends if one)


def test_a_second_copy_is_doubled(bench: Bench) -> None:
    bench.logged(7)
    bench.put("1")
    assert bench.one(queue_id="41").end is Disposition.ONCE
    bench.put("again")
    bench.logged(8, 42)
    bench.put("2", 42)
    assert bench.one(queue_id="41").end is Disposition.DOUBLED


def test_a_file_that_pop3_took_before_it_was_seen_is_not_lost(bench: Bench) -> None:
    bench.logged()
    bench.popped("gone", "removed")
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.alarms) == (Disposition.UNKNOWN, ())
    assert "removed" in journey.why


def test_what_was_delivered_before_popbox_looked_is_not_lost(bench: Bench) -> None:
    bench.close()
    bench.logged(7, 41)
    bench.logged(8, 42)
    bench.put("2", 42)
    bench.open()
    bench.recorder.run_pass()
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.alarms) == (Disposition.UNKNOWN, ())
    assert "popbox did not look" in journey.why
    assert bench.one(queue_id="42").end is Disposition.ONCE


def test_an_old_log_of_the_stand_in_has_the_times_of_its_numbers(bench: Bench) -> None:
    bench.close()
    old = int((time.time() - 7200) * 1e6)
    told = (
        f"info msg {old}: bytes 9 from <a@b.org> qp {old} uid 1\nstarting delivery 1: msg {old} to local d-all@d.org\n"
    )
    child = f"info msg {old + 5}: bytes 9 from <a@b.org> qp {old + 5} uid 1\n"
    bench.write("smtp", f"{told}{child}delivery 1: success: did_0+1+0/qp_{old + 5}/\nend msg {old}\n")
    bench.open()
    journey = bench.one(queue_id=str(old))
    assert [one.relation for one in journey.copies] == ["forward"]
    assert journey.message.at == old / 1e6


def test_the_store_is_its_owners_alone(bench: Bench) -> None:
    assert [path.stat().st_mode & 0o077 for path in bench.host.top.glob("journeys.db*")] == [0, 0, 0, 0]


def test_a_session_whose_lines_were_read_before_a_restart_is_not_blind(bench: Bench) -> None:
    bench.logged()
    bench.popped(bench.put("1").name, session="<5>")
    bench.recorder.run_pass()
    bench.close()
    bench.open()
    bench.write("pop3", '{"time": 1, "event": "session", "id": "<5>", "login": "testid", "retrieved": 1}\n')
    bench.recorder.run_pass()
    assert bench.store.blind() == ""


def test_a_host_without_files_says_so(bench: Bench) -> None:
    bench.close()
    bench.host.blind = "its files cannot be read from here"
    bench.open()
    bench.logged()
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.why) == (Disposition.UNKNOWN, "d-joe@d.org: its files cannot be read from here")


def test_what_contradicts_the_rules_is_an_alarm(bench: Bench) -> None:
    bench.host.ends = {"accepted": True, "ends": [["bounced", "no mailbox (#5.1.1)", "", "", ""]]}
    bench.logged()
    journey = bench.one(queue_id="41")
    assert "the rules foretold bounced" in journey.alarms[0]
    foretold = journey.message.recipients[0].foretold
    assert foretold is not None
    assert foretold.outcome == "bounced"


def test_a_server_that_logs_no_messages_leaves_the_pickup_unknown(bench: Bench) -> None:
    bench.logged()
    bench.put("1")
    bench.write("pop3", '{"time": 1, "event": "session", "id": "<5>", "login": "testid", "retrieved": 1}\n')
    journey = bench.one(queue_id="41")
    assert (journey.legs[3].state, "--log-messages" in journey.legs[3].why) == (State.UNKNOWN, True)


def test_a_pickup_waits_for_its_file_through_a_restart(bench: Bench) -> None:
    name = bench.put("1").name
    bench.popped(name)
    bench.recorder.run_pass()
    bench.close()
    bench.open()
    bench.logged()
    assert bench.one(queue_id="41").legs[3].state is State.DONE


def test_a_recorder_that_dies_between_log_and_file_finds_it_later(bench: Bench) -> None:
    bench.logged()
    look = Maildirs.look
    try:
        Maildirs.look = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            bench.recorder.run_pass()
    finally:
        Maildirs.look = look  # type: ignore[method-assign]
    bench.close()
    bench.open()
    bench.put("1")
    assert bench.one(queue_id="41").end is Disposition.ONCE


def test_odd_files_in_a_box_do_no_harm(bench: Bench) -> None:
    new = bench.host.top / BOX / "new"
    os.mkfifo(new / "9999999999.fifo")
    (new / "9999999999.link").symlink_to("/etc/passwd")
    (new / "9999999999.dir").mkdir()
    (new / "9999999999.odd").write_bytes(b"\0\xff" * 100_000)
    os.close(os.open(bytes(new) + b"/9999999999.\xff\n", os.O_CREAT | os.O_WRONLY))
    bench.logged()
    bench.put("1")
    assert bench.one(queue_id="41").end is Disposition.ONCE


def test_pruning_spares_live_spaces_and_what_is_on_its_way(bench: Bench) -> None:
    bench.logged(7, 41)
    bench.put("1")
    bench.write("smtp", "info msg 9: bytes 9 from <a@b.org> qp 43 uid 1\n")
    bench.recorder.run_pass()
    bench.store.make_space("one", "D.org", 1.0)
    assert bench.store.prune(time.time() + 60) == 0
    bench.store.end_space("one", 2.0)
    assert bench.store.prune(time.time() - 60) == 0
    cursor = bench.store.cursor()
    assert bench.store.prune(time.time() + 60) == 1
    assert [bench.store.search(Filters(queue_id=one)) for one in ("41", "43")] == [(), (bench.one(queue_id="43").id,)]
    assert bench.store.search(Filters(subject="hé")) == ()
    assert bench.store.cursor() == cursor  # ids are never used again
    assert "popbox_delivery_seconds_count 1\n" in metrics(bench.store)


@pytest.mark.parametrize(
    ("routed", "address"),
    [
        ("domain-com-joe-x@domain.com", "joe-x@domain.com"),
        ("domain-com-JOE@DOMAIN.com", "JOE@DOMAIN.com"),
        ("sub-joe@a.d.com", "joe@a.d.com"),
        ("p-joe@one.org", "joe@one.org"),
        ("p-ann@one.org", "p-ann@one.org"),
        ("any-joe@other.net", "joe@other.net"),
        ("alice@domain.com", "alice@domain.com"),
    ],
)
def test_the_address_that_was_routed_so(routed: str, address: str) -> None:
    table = virtualdomains("domain.com:domain-com\n.d.com:sub\njoe@one.org:p\none.org:one\n#x:y\n:any\n")
    assert unrouted(routed, table) == address


def test_a_domain_that_was_declared_just_now_is_asked_for_by_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popbox.journey.join.foretell.JUST_NOW_S", 0.0, raising=False)
    (tmp_path / "control").mkdir()
    domains = tmp_path / "control/virtualdomains"
    rules = Foreteller(Host(top=tmp_path))
    for name in ("d", "e"):
        domains.write_text(f"{name}.org:{name}-org\n")
        rules.ask([("local", f"{name}-org-joe@{name}.org")])
        told = rules.places(f"{name}-org-joe@{name}.org")
        assert told is not None
        assert told.address == f"joe@{name}.org"
    domains.unlink()
    rules.ask([("local", "e-org-eve@e.org")])
    again = rules.places("e-org-eve@e.org")
    assert again is not None
    assert again.address == "eve@e.org", "what is known is not read for each address"
