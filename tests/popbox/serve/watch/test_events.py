"""What a stream sends: each event once, in order, whatever is cut; by its filters; and what it says when it cannot."""

from __future__ import annotations

import asyncio
import http.client
import json
import smtplib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.popbox.serve.recorded import message
from tests.popbox.serve.served import ask

from popbox.hosts.base import Host
from popbox.journey.model import Event, Kind
from popbox.journey.store import Store
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.space import Space
from popbox.serve.watch import events as module
from popbox.serve.watch import tail as tail_module
from popbox.serve.watch.events import MOST_STREAMS, Streams, Wanted

ALL = Wanted()
HERE = Space("one", "a.example")


def run(live: Live, wanted: Wanted, since: int | None, enough: Callable[[list[dict[str, Any]]], bool]) -> list[Any]:
    """The frames of a stream, until there are enough of them."""

    async def reading() -> list[dict[str, Any]]:
        got: list[dict[str, Any]] = []
        async with closing_stream(Streams(live).frames(wanted, since)) as pieces:
            async for piece in pieces:
                got += parsed(piece)
                if enough(got):
                    break
        return got

    return asyncio.run(asyncio.wait_for(reading(), 60))


class closing_stream:  # noqa: N801 - as contextlib.aclosing, which mypy knows no types of
    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self.pieces = pieces

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self.pieces

    async def __aexit__(self, *_: object) -> None:
        await cast(Any, self.pieces).aclose()


def parsed(piece: bytes) -> list[dict[str, Any]]:
    """Frames as a browser reads them: event, id, data; comments by themselves."""
    frames = []
    for block in piece.decode().split("\n\n")[:-1]:
        frame: dict[str, Any] = {"event": "message"}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            frame[name or "comment"] = json.loads(value) if name == "data" else value.strip()
        frames.append(frame)
    return frames


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["data"]["seq"] for frame in frames if frame["event"] == "message" and "data" in frame]


def upto(last: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda got: last in seqs(got)


def test_a_journey_has_the_events_of_its_messages_and_of_what_comes_of_them(live: Live) -> None:
    other, root = message(live.store, 1, "joe@a.example"), message(live.store, 2, "ann@a.example")
    since = live.store.cursor()
    copy = message(live.store, 3, "far@b.example")
    linked = Event(1.0, Kind.LINKED, copy, {"parent": root, "relation": "forward"}, "mail log", "l")
    tried = [Event(2.0, Kind.ENDED, one) for one in (copy, other, root)]
    wanted = live.store.append([linked, *tried])
    got = run(live, Wanted(kinds=frozenset({Kind.LINKED, Kind.ENDED}), family={root}), since, upto(wanted[-1]))
    assert seqs(got) == [wanted[0], wanted[1], wanted[3]]
    got = run(live, Wanted(family={root}, within=HERE), since, upto(wanted[-1]))
    assert seqs(got) == [wanted[3]], "what a space may not see is hidden from a journey's stream too"


def test_a_journey_that_is_not_there_has_no_stream(port: int) -> None:
    status, body, _ = ask(port, "/v1/events?journey=999999999")
    assert (status, body["error"]) == (404, "there is no journey of that id")


def test_a_stream_that_is_cut_anywhere_goes_on_without_gap_and_double(live: Live) -> None:
    for number in range(5):
        message(live.store, number, "joe@a.example")
    last = live.store.cursor()
    assert seqs(run(live, ALL, 0, upto(last))) == list(range(1, last + 1))
    for cut in range(last):
        got = run(live, ALL, cut, upto(last))
        assert (got[0]["event"], got[0]["id"], got[0]["data"]["cursor"]) == ("open", str(cut), cut)
        assert seqs(got) == list(range(cut + 1, last + 1))
        assert [frame["id"] for frame in got[1:]] == [str(one) for one in seqs(got)]


def test_all_streams_read_what_is_new_once_and_the_commits_of_a_pass_together(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look for what is not there costs a thread's time, and each piece that is sent costs more than what is in it."""
    reads: list[int] = []
    read = tail_module.Tail._read
    monkeypatch.setattr(tail_module.Tail, "_read", lambda *args: (reads.append(args[2]), read(*args))[1])
    both, gathering, got = asyncio.Event(), list[float](), list[list[list[int]]]()

    async def sleep(seconds: float) -> None:
        if seconds == module.GATHER_S:
            gathering.append(seconds)
            await both.wait()
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))

    async def reading() -> list[list[list[int]]]:
        streams, begun = Streams(live), [asyncio.Event() for _ in range(20)]

        async def one(began: asyncio.Event) -> list[list[int]]:
            pieces: list[list[int]] = []
            got.append(pieces)
            async for piece in streams.frames(ALL, None):
                pieces.append(seqs(parsed(piece)))
                began.set()
                if last in pieces[-1]:
                    return pieces[1:]
            return []

        tasks = [asyncio.create_task(one(began)) for began in begun]
        for began in begun:
            await began.wait()
        await asyncio.to_thread(message, live.store, 0, "joe@a.example")
        while len(gathering) < len(tasks) and not any(len(pieces) > 1 for pieces in got):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(message, live.store, 1, "joe@a.example")
        both.set()
        return await asyncio.gather(*tasks)

    last = 2 * message_events()
    assert asyncio.run(asyncio.wait_for(reading(), 60)) == [[list(range(1, last + 1))]] * 20
    assert len(reads) == 1


def message_events() -> int:
    """How many events ``message`` makes."""
    with Store.in_memory() as other:
        message(other, 0, "joe@a.example")
        return other.cursor()


def test_what_comes_while_it_is_read_comes_once_from_the_store_and_from_memory(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "PAGE", 3)
    monkeypatch.setattr(tail_module, "MOST_KEPT", 4)
    message(live.store, 0, "joe@a.example")

    async def reading() -> list[list[int]]:
        streams, started = Streams(live), asyncio.Event()

        async def one(since: int) -> list[int]:
            got: list[int] = []
            async for piece in streams.frames(ALL, since):
                got += seqs(parsed(piece))
                started.set()
                if got and got[-1] == 60:
                    return got
            return got

        tasks = [asyncio.create_task(one(since)) for since in (0, 3, 6, 0)]
        await started.wait()
        for number in range(1, 10):
            await asyncio.to_thread(message, live.store, number, "joe@a.example")
        return await asyncio.wait_for(asyncio.gather(*tasks), 60)

    assert asyncio.run(reading()) == [list(range(since + 1, 61)) for since in (0, 3, 6, 0)]


def kinds(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["data"]["kind"] for frame in frames if frame["event"] == "message" and "data" in frame]


WAY = ["trying", "tried", "filed", "retrieved", "ended"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(to="joe@a.example"), WAY * 2),
        (Wanted(to="d-joe@a.example"), WAY * 2),
        (Wanted(to="oe@a.example"), []),
        (Wanted(domain="b.example"), WAY),
        (Wanted(domain="example"), []),
        (Wanted(kinds=frozenset({Kind.FILED})), ["filed"] * 3),
        (Wanted(to="bob@b.example", kinds=frozenset({Kind.ENDED, Kind.QUEUED})), ["ended"]),
        (Wanted(within=HERE), [*WAY, *WAY[:-1]]),  # the end of a message to both domains tells of both
        (Wanted(within=HERE, to="bob@b.example"), []),
        (Wanted(within=HERE, domain="b.example"), []),
    ],
)
def test_filters_and_spaces_by_whole_addresses_however_late_it_is_read(
    live: Live, wanted: Wanted, expected: list[str]
) -> None:
    message(live.store, 0, "joe@a.example")
    message(live.store, 1, "joe@a.example", "bob@b.example")
    [last] = live.store.append([Event(9.0, Kind.GAP, None, {"why": "all are told"})])
    wanted_too = Wanted(
        wanted.to, wanted.domain, wanted.kinds | {Kind.GAP} if wanted.kinds else wanted.kinds, wanted.within
    )
    late = kinds(run(live, wanted_too, 0, upto(last)))
    assert late == [*expected, "gap"]
    judged = tail_module.Judge(live.store)
    early = [told.kind for event in live.store.events_since(0) if wanted_too.fits(told := judged.told(event))]
    assert early == late


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"space": "here"}, True),
        ({"space": "here", "address": "joe@a.example"}, True),
        ({"space": "here", "recipients": ["x@other.example"]}, True),  # what it tried, and was refused
        ({"space": "other"}, False),
        ({"space": "other", "address": "joe@a.example"}, False),
        ({"space": ""}, False),
        ({}, False),
        ({"space": "", "address": "Joe@A.example"}, True),
        ({"space": "", "recipients": ["joe@a.example", "ann@a.example"]}, True),
        ({"space": "", "recipients": ["joe@a.example", "ann@b.example"]}, False),
        ({"space": "", "recipients": [1, None]}, False),
    ],
)
def test_a_space_sees_its_own_notes_and_no_others(live: Live, said: dict[str, Any], shown: bool) -> None:
    live.store.append([Event(1.0, Kind.NOTE, None, {"what": "send", **said}, "api")])
    [last] = live.store.append([Event(9.0, Kind.GAP, None, {"why": "all are told"})])
    assert kinds(run(live, Wanted(within=Space("here", "a.example")), 0, upto(last))) == ["note"] * shown + ["gap"]
    assert kinds(run(live, ALL, 0, upto(last))) == ["note", "gap"]


def test_events_that_were_taken_out_are_told(live: Live) -> None:
    message(live.store, 0, "joe@a.example")
    message(live.store, 2_000, "joe@a.example")
    assert live.store.prune(before=2_000.0) == 1
    got = run(live, ALL, 2, upto(12))
    assert [frame["event"] for frame in got[:2]] == ["open", "gap"]
    assert {name: got[1]["data"][name] for name in ("first", "last", "missing")} == {
        "first": 3,
        "last": 12,
        "missing": 4,
    }
    assert "id" not in got[1]
    assert seqs(got) == list(range(7, 13))
    assert live.store.prune(before=9_000.0) == 1
    got = run(live, ALL, 7, lambda got: len(got) > 1)
    assert (got[1]["event"], got[1]["data"]["missing"]) == ("gap", 5)
    assert "gap" not in [frame["event"] for frame in run(live, ALL, 12, lambda _: True)]


def test_a_cursor_of_another_store_is_told_and_all_of_this_one_follows(live: Live) -> None:
    message(live.store, 0, "joe@a.example")
    got = run(live, ALL, 5_000, upto(6))
    assert [frame["event"] for frame in got[:2]] == ["open", "gap"]
    assert "another one" in got[1]["data"]["why"]
    assert seqs(got) == [1, 2, 3, 4, 5, 6]


def test_a_silent_stream_has_a_heart_and_its_id_moves_on_past_what_is_not_wanted(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    message(live.store, 0, "joe@a.example")
    got = run(live, Wanted(to="no@one.example"), 0, lambda got: len(got) > 2)
    assert [frame.get("comment") for frame in got] == [None, "still here", "still here"]
    assert [frame["id"] for frame in got] == ["0", "6", "6"]
    assert "data" not in got[1]


def test_streams_end_with_the_server_and_are_counted(live: Live) -> None:
    streams = Streams(live)

    async def watching() -> tuple[int, list[bytes]]:
        sent: list[bytes] = []

        async def receive() -> dict[str, str]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(one: Any) -> None:
            sent.append(one.get("body", b""))

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        responses = [streams.stream(ALL, None)(scope, receive, send) for _ in range(MOST_STREAMS)]
        tasks = [asyncio.create_task(cast(Any, one)) for one in responses]
        while len(sent) < 2 * MOST_STREAMS:
            await asyncio.sleep(0.01)
        with pytest.raises(ApiError, match="100 streams are open"):
            streams.stream(ALL, None)
        live.end_waits()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        return streams.open, sent

    left, sent = asyncio.run(watching())
    assert left == 0
    assert sum(b"the server ends" in one for one in sent) == MOST_STREAMS


@contextmanager
def listening(port: int, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): one for name, one in headers.items()})
        yield connection.getresponse()


def until_filed(answer: http.client.HTTPResponse, subject: str) -> list[Any]:
    """Data of the frames up to the file of that message; others of the host may come in between."""
    got = []
    for line in answer:
        if line.startswith(b"data: "):
            got.append(json.loads(line[6:]))
            if got[-1].get("kind") == "filed" and got[-1]["fields"]["subject"] == subject:
                return got
    raise AssertionError(got)


def test_mail_to_a_host_is_seen_and_a_browser_can_come_back(port: int, host: Host) -> None:
    smtp = host.address("smtp")
    with listening(port, "/v1/events?to=joe@domain.com") as answer:
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert answer.getheader("cache-control") == "no-store"
        assert answer.readline().startswith(b"retry: ")
        with smtplib.SMTP(smtp.host, smtp.port, timeout=60) as client:
            client.sendmail("s@x.example", ["joe@domain.com"], b"Subject: streamed\r\n\r\nx\r\n")
        first = until_filed(answer, "streamed")
    of = first[-1]["message"]
    assert [one["kind"] for one in first[1:] if one["message"] == of][:2] == ["trying", "tried"]
    trying = next(one["seq"] for one in first[1:] if one["message"] == of)
    with listening(port, "/v1/events?to=joe@domain.com&since=0", Last_Event_ID=str(trying)) as answer:
        again = until_filed(answer, "streamed")
    assert again[0]["cursor"] == trying
    assert [one["seq"] for one in again[1:]] == [one["seq"] for one in first[1:] if one["seq"] > trying]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/events?since=-1", {}),
        ("/v1/events?since=x", {}),
        (f"/v1/events?since={2**63}", {}),
        ("/v1/events?kind=nonesuch", {}),
        ("/v1/events?To=joe@domain.com", {}),
        ("/v1/events?to=", {}),
        ("/v1/events", {"Last_Event_ID": "x"}),
        ("/v1/events", {"Last_Event_ID": "9" * 21}),
    ],
)
def test_what_is_no_question_is_refused(port: int, path: str, headers: dict[str, str]) -> None:
    assert ask(port, path, **headers)[0] == 422


def test_events_are_guarded(port: int) -> None:
    for headers, status in (({"Host": "rebound.example"}, 421), ({"Origin": "https://evil.example"}, 403)):
        assert ask(port, "/v1/events", **headers)[0] == status
