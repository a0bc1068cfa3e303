"""On a host that goes with its run the end of the MTA proves that no second copy comes; nothing is waited for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.popbox.fakehost import HOME
from tests.popbox.ledger.made_up import BOX, DONE, LOG, NOW, Clock, Run, found

from popbox.hosts.base import Found, Ran
from popbox.ledger.proof import Disposition
from popbox.scenario.names import HOWTO_HASH


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of_the_ledger(monkeypatch)


class Going(Run):
    """On a host that goes with the run: its queue is empty, and all is at rest. ``at_end`` comes while its MTA ends."""

    def __init__(self, *at_end: Found, log: str = DONE, host: str = "local") -> None:
        young = found(mtime=NOW - 0.1)
        super().__init__(young, log=log)
        self.context.host_goes, self.host.name = True, host
        self.host.ran = Ran((), 0, "[]\n", "")
        self.stopped = list[str]()

        def stop(service: str) -> None:
            self.stopped.append(service)
            self.host.searches = [[young, *at_end]]

        self.host.stop = stop  # type: ignore[method-assign, assignment]


def test_on_a_host_that_goes_the_mtas_end_is_the_proof_and_nothing_is_waited_for(clock: Clock) -> None:
    run = Going()
    run.host.files = {
        "users/poppasswd": f"joe:{HOWTO_HASH}:popuser:{HOME}/popboxes/c/joe\n".encode()
    }  # its box is opened
    assert (run.proof().ended, run.stopped, clock.waits) == (Disposition.ONCE, ["smtp"], [])


def test_a_copy_that_the_mta_makes_while_it_ends_is_caught(clock: Clock) -> None:
    run = Going(found(f"{BOX}/new/2.2.mx"))
    proof = run.proof()
    assert (proof.ended, run.stopped, clock.waits) == (Disposition.DOUBLED, ["smtp"], [])


@pytest.mark.parametrize(
    ("of", "run"),
    [
        ("a host of docker, perhaps with a patched qmail", lambda: Going(host="docker")),
        ("a delivery that the log has not ended", lambda: Going(log=LOG)),
        ("a message that is still in the queue", lambda: told(Going(), Ran((), 0, '[{"id": 7}]', ""))),
        ("a queue that cannot be read", lambda: told(Going(), Ran((), 111, "", "no queue"))),
        ("a fault that is not healed", lambda: broken(Going())),
        ("a host that stays", lambda: staying(Going())),
    ],
)
def test_without_that_proof_a_later_copy_is_waited_for(clock: Clock, of: str, run: Callable[[], Going]) -> None:
    made = run()
    made.proof()
    assert (made.stopped, clock.now > NOW + 1) == ([], True), of


def told(run: Going, ran: Ran) -> Going:
    run.host.ran = ran
    return run


def broken(run: Going) -> Going:
    run.context.faults = {"box": object()}
    return run


def staying(run: Going) -> Going:
    run.context.host_goes = False
    return run


def test_an_mta_that_cannot_be_ended_is_waited_for(clock: Clock) -> None:
    run = Going()
    run.host.broken = "its container is gone"
    del run.host.stop  # type: ignore[method-assign]
    assert run.proof().ended is Disposition.ONCE
    assert clock.waits
