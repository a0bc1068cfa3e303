"""The process that runs a scenario: ``python -m popbox.serve.writes.scenario.child FD``, with a pipe to its server.

What a scenario says can take any time and memory, such as a pattern that never ends: here it costs the server nothing,
and can be ended at any moment. The host is reached by questions over the pipe, which the server answers or refuses.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, cast

from popbox.errors import ScenarioError, UnusableError
from popbox.hosts.base import Host
from popbox.result import Result, StepResult
from popbox.run.needs import unmet
from popbox.run.runner import Watcher, run
from popbox.scenario.load import ScenarioFile, load, parse
from popbox.serve.writes.scenario.allowed import refusals
from popbox.serve.writes.scenario.pipe import ERRORS, Ask, Begins, Fit, Order, Raised, Unusable

PR_SET_PDEATHSIG = 1  # prctl(2)
MOST_OCTETS = 2 << 30  # our choice: of memory; an ordinary run takes 60 MiB


class Asked:
    """The host, as this process sees it: each method is a question."""

    def __init__(self, pipe: Connection, order: Order) -> None:
        self._pipe = pipe
        self.name, self.mta, self.uid = order.name, order.mta, order.uid

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._ask, method)

    def _ask(self, method: str, *said: Any, **named: Any) -> Any:
        self._pipe.send(Ask(method, said, named))
        answer = self._pipe.recv()
        if isinstance(answer, Raised):
            raise ERRORS[answer.kind](*answer.said)
        return answer.value


class _Progress(Watcher):
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def step_begins(self, file: ScenarioFile, number: int, name: str, awaits: str) -> None:
        self._pipe.send(Begins(number, name, awaits))

    def step_ended(self, file: ScenarioFile, step: StepResult) -> None:
        self._pipe.send(step)


def main(descriptor: int) -> None:
    """Take an order, tell whether it can be run, run it, tell how it goes and how it ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever it does then: it ends with its server
    resource.setrlimit(resource.RLIMIT_AS, (MOST_OCTETS, MOST_OCTETS))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the server ends what it has begun
    with Connection(descriptor) as pipe:
        order: Order = pipe.recv()
        host = cast(Host, Asked(pipe, order))
        try:
            file = _read(order, host)
        except ScenarioError as error:
            pipe.send(Unusable("the scenario cannot be read", error.mistakes))
        except UnusableError as error:
            pipe.send(Unusable("the scenario may not run here", tuple(str(error).splitlines())))
        else:
            pipe.send(_fit(file))
            result: Result = run(file, host, _Progress(pipe))
            pipe.send(result)


def _read(order: Order, host: Host) -> ScenarioFile:
    """The scenario, where it may run; one that the host cannot serve is skipped by the runner, whatever else it says.

    Raises:
        UnusableError: it may not, or cannot be read.
    """
    file = load(order.path) if order.shipped else parse(order.text, order.path)
    if not unmet(file.scenario, host) and (refused := list(refusals(file.scenario, files=order.shipped))):
        raise UnusableError("\n".join(refused))
    return file


def _fit(file: ScenarioFile) -> Fit:
    steps = file.scenario.step
    return Fit(file.scenario.title, tuple(one.name or one.verb for one in steps), sum(one.within_s for one in steps))


if __name__ == "__main__":
    main(int(sys.argv[1]))
