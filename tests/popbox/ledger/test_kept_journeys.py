"""A store that outlives a run: its journeys, joined without the token, end as the ledger says; and are read on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox.ledger.test_reconcile_on_local import DELIVERED, SEND, its_file, scenario

from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.journey.model import Disposition, Journey, State
from popbox.journey.recorder import Recorder
from popbox.journey.store import Filters, Store
from popbox.result import Result, Verdict
from popbox.run.runner import Run, run


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    up = LocalHost.start(Registry(tmp_path_factory.mktemp("state")))
    yield up
    up.close()


def send(to: str, message: str) -> dict[str, object]:
    return {"send": {"from": "joe@{domain}", "to": [to], "id": message}}


def play(host: LocalHost, store: Store | None, domain: str, *steps: dict[str, object]) -> Result:
    result = run(scenario(domain, list(steps)), host, store=store)
    assert result.verdict is Verdict.PASSED, result.reason
    return result


def journeys(store: Store, result: Result) -> dict[str, Journey]:
    """By the message's id in the scenario."""
    found = {}
    for one in result.messages:
        queued_as = one.legs[0].reply.rpartition("qp ")[2]
        ids = store.search(Filters(queue_id=queued_as))
        (journey,) = {journey.id: journey for of in ids if (journey := store.journey(of))}.values()
        found[one.id] = journey
    return found


def test_journeys_of_a_run_end_as_the_ledger_says(host: LocalHost, tmp_path: Path) -> None:
    with Store.open(tmp_path / "journeys.db") as store:
        result = play(
            host,
            store,
            "kept.example",
            SEND,
            DELIVERED,
            send("none@{domain}", "returned"),
            {"expect-bounce": {"message": "returned", "mailbox": "joe@{domain}", "says": "no mailbox"}},
            {"break": {"chmod": {"popboxes/kept-example/joe": "0777"}}},
            send("joe@{domain}", "later"),
            {"expect-deferred": {"message": "later", "says": "writable"}},
        )
        found = journeys(store, result)
        assert {one.id: one.ended for one in result.messages} == {name: one.end for name, one in found.items()}
        assert {name: one.end for name, one in found.items()} == {
            "one": Disposition.ONCE, "returned": Disposition.BOUNCED, "later": Disposition.DEFERRED,
        }  # fmt: skip
        assert [leg.state for leg in found["one"].legs] == [State.DONE] * 4, (
            "POP3's too: the ledger itself retrieved it"
        )
        assert found["one"].message.sent is not None
        assert found["one"].message.subject == found["later"].message.subject == "a test message of popbox"
        cursor = store.cursor()
        recorder = Recorder.on(host, store)  # as `popbox serve --store` does
        recorder.run_pass()
        recorder.close()
        again = [store.event(seq) for seq in range(cursor + 1, store.cursor() + 1)]
        assert not [one for one in again if one and one.kind.value in ("queued", "filed", "retrieved")], again


def test_one_store_for_runs_one_after_the_other(host: LocalHost, tmp_path: Path) -> None:
    with Store.open(tmp_path / "journeys.db") as store:
        first = play(host, store, "first.example", SEND, DELIVERED)
        second = play(host, store, "second.example", SEND, DELIVERED)
        ends = [journeys(store, one)["one"] for one in (first, second)]
        assert [(one.end, one.ended) for one in ends] == [(Disposition.ONCE, True)] * 2
        assert ends[0].id != ends[1].id
        bare = play(host, None, "third.example", SEND, DELIVERED)
        assert [len(one.messages[0].legs[1].log) for one in (first, second, bare)] == [5] * 3


def test_what_was_seen_stays_although_it_is_gone_at_the_end(host: LocalHost, tmp_path: Path) -> None:
    with Store.open(tmp_path / "journeys.db") as store:
        file = scenario("gone.example", [SEND, DELIVERED])
        going = Run(file, host, store=store)
        assert all(one.seen.passed for one in (going.declare(), *map(going.take, file.scenario.step)))
        gone = its_file(Path(host.home(), "popboxes/gone-example/joe"))
        gone.unlink()
        result = going.result()
        (journey,) = journeys(store, result).values()
        assert (result.messages[0].ended, journey.end) == (Disposition.LOST, Disposition.ONCE)
        assert journey.legs[2].why == f"popboxes/gone-example/joe/Maildir/new/{gone.name}"
