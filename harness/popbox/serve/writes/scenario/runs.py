"""The scenarios that clients send: one at a time, each in a process of its own, with its progress for those who watch.

A run ends with its server. What it has added to the host's accounts is in the store before it is done, so that it is
taken away at the end of the run, at that of the server, or, after a kill -9, at the next start with the same store.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from popbox.environment import NOTHING, of_programs
from popbox.errors import PopboxError
from popbox.hosts.breaking import place
from popbox.result import Result, StepResult, Verdict
from popbox.serve.duration import moment
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.writes.scenario.leftovers import Added, Leftovers, note
from popbox.serve.writes.scenario.pipe import Ask, Begins, Fit, Order, Raised, Told, Unusable
from popbox.serve.writes.scenario.reach import Reach

START_S = 60.0  # our choice: to start the process and read the scenario; a second when idle
BESIDE_S = 120.0  # our choice: beside all `within-s`, for the accounts at first and the ledger at the end
RECORDED_S = 10.0  # our choice: for the recorder to look at a run's mail before that goes; a pass is much shorter
MOST_KEPT = 20  # our choice: runs that are remembered; their journeys and events stay in the store
CHILD = "popbox.serve.writes.scenario.child"


@dataclass(frozen=True, slots=True)
class Going:
    """One run, as it is shown. ``result`` is None while it goes on. ``left`` names what could not be taken away."""

    id: str
    name: str
    who: str
    at: float  # wall clock, seconds since 1970
    title: str = ""
    planned: tuple[str, ...] = ()  # the names of its steps, without the declaring of accounts, which is step 0
    awaits: str = ""  # what the step that runs does or waits for
    steps: tuple[StepResult, ...] = ()
    result: Result | None = None
    left: tuple[str, ...] = ()


@dataclass(slots=True)
class _Process:
    """The run that goes on: its process, and what it was told."""

    going: Going
    order: Order
    child: subprocess.Popen[bytes] | None = None
    read: threading.Event = field(default_factory=threading.Event)  # whether it can be run is known
    unusable: Unusable | None = None
    stopped: str = ""  # why it was ended before its end
    limit_s: float = field(default_factory=lambda: START_S)
    deadline: float = 0.0  # monotonic


class Runs:
    """The runs of one server. For any thread."""

    def __init__(self, live: Live) -> None:
        """Nothing is read or run before ``resume``."""
        self._live = live
        self._lock = threading.RLock()
        self._now: _Process | None = None
        self._thread: threading.Thread | None = None  # of the run that goes on, or went on last
        self._ended = False
        self._added = Leftovers(live)
        self.recent: tuple[Going, ...] = ()  # the last that have ended, oldest first; replaced whole

    def resume(self) -> None:
        """Have what runs of a killed server left behind taken away, by a thread.

        Raises:
            StoreError: the list cannot be read.
        """
        self._live.at_end(self._end)
        self._added.resume()

    def begin(self, text: str, who: str, *, name: str = "scenario", shipped: Path | None = None) -> Going:
        """Run a scenario; returns once it goes on, or has ended already. It blocks for a second or so.

        ``shipped`` is a file that comes with popbox, in place of the text.

        Raises:
            ApiError: another one runs, or this one is refused; says why.
            HostError, StoreError: it could not be begun.
        """
        host = self._live.host
        order = Order(text, shipped or Path(name), shipped is not None, host.name, host.mta, host.uid)
        with self._lock:
            if self._ended or self._live.ending:
                raise ApiError(503, "popbox serve ends")
            if other := self._now:
                hint = f"one runs at a time: GET /v1/scenarios/{other.going.id} waits for it, DELETE ends it"
                said = f"{other.going.title or other.going.name}, by {other.going.who}, since {moment(other.going.at)}"
                raise ApiError(409, "a scenario runs already", hint, (said,))
            run = _Process(Going(f"c{secrets.token_hex(5)}", name, who, time.time()), order)
            self._added.add(Added(run.going.id, who, place(host)))
            self._now = run
            self._thread = threading.Thread(target=self._run, args=(run,), name="scenario", daemon=True)
            self._thread.start()
        run.read.wait()
        if run.unusable:
            raise ApiError(422, run.unusable.error, "scenarios/README.md has the format", run.unusable.lines)
        return self.get(run.going.id) or run.going

    def get(self, id_: str) -> Going | None:
        """A run by its id; None where it is not remembered."""
        now = self._now
        found = [*([now.going] if now else []), *self.recent]  # in this order: what goes on may have ended by now
        return next((one for one in reversed(found) if one.id == id_), None)

    def settled(self) -> None:
        """Return once the event of each end is in the store that a result tells of. It may block for a moment."""
        with self._lock:
            pass

    @property
    def now(self) -> Going | None:
        """The run that goes on."""
        now = self._now
        return now.going if now and now.read.is_set() else None

    def stop(self, id_: str, why: str) -> None:
        """End a run that goes on; harmless for one that has ended. Its result comes a moment later."""
        with self._lock:
            run = self._now
            if run and run.going.id == id_:
                run.stopped = run.stopped or why
                if run.child:
                    run.child.kill()

    # The thread of a run

    def _run(self, run: _Process) -> None:
        result: Result | None = None
        why = "popbox has a fault"
        try:
            result, why = self._converse(run)
        except Exception as error:  # whatever it is: the run has an end, and what it added goes
            ours = isinstance(error, PopboxError | OSError)
            why = str(error).splitlines()[0] if ours else f"popbox has a fault: {type(error).__name__}"
        if not result and not run.read.is_set() and not run.unusable:
            run.unusable = Unusable("the scenario could not be read", (run.stopped or why,))
        self._close(run, result or (None if run.unusable else self._cut(run, run.stopped or why)))
        self._added.try_again()
        run.read.set()
        self._live.kick()

    def _converse(self, run: _Process) -> tuple[Result | None, str]:
        """The result that the process told, or why there is none."""
        reach = Reach(self._live.host, self._live.store, lambda things: self._added.change(run.going.id, things))
        ours, theirs = Pipe()
        run.deadline = time.monotonic() + run.limit_s
        try:
            with ours, self._process(run, theirs):
                ours.send(run.order)
                while ours.poll(max(0.0, run.deadline - time.monotonic())):
                    told = ours.recv()
                    if isinstance(told, Result):
                        return told, ""
                    self._take(run, told, ours, reach)
                return None, f"it took longer than the {run.limit_s:.0f} s that it may"
        except (EOFError, OSError):
            return None, "its process has ended"
        finally:
            reach.close()

    @contextmanager
    def _process(self, run: _Process, theirs: Connection) -> Iterator[None]:
        """The process of a run, with its end of the pipe; at the end it has ended."""
        argv = [sys.executable, "-P", "-m", CHILD, str(theirs.fileno())]
        environ = {**of_programs(NOTHING), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        none = subprocess.DEVNULL
        with theirs:
            child = subprocess.Popen(
                argv, env=environ, stdin=none, stdout=none, stderr=none, pass_fds=(theirs.fileno(),)
            )
        with self._lock:
            run.child = child
            if run.stopped:
                child.kill()
        try:
            yield
        finally:
            child.kill()
            child.wait()

    def _take(self, run: _Process, told: Any, pipe: Connection, reach: Reach) -> None:
        """Do what the process asks for, or note what it tells."""
        match told:
            case Ask():
                pipe.send(_answer(reach, told))
            case Fit():
                run.limit_s = told.within_s + BESIDE_S
                run.deadline = time.monotonic() + run.limit_s
                run.going = replace(run.going, title=told.title, planned=told.steps)
                self._tell("run scenario", run.going.id, title=told.title, who=run.going.who, outcome="begun")
                run.read.set()
            case Unusable():
                run.unusable = told
            case Begins():
                run.going = replace(run.going, awaits=f"{told.name}: {told.awaits}")
            case StepResult():
                run.going = replace(run.going, steps=(*run.going.steps, told), awaits="")
                outcome = "passed" if told.seen.passed else "failed"
                said = {"step": told.number, "name": told.name, "said": told.seen.said, "outcome": outcome}
                self._tell("scenario step", run.going.id, who=run.going.who, **said)

    def _cut(self, run: _Process, why: str) -> Result:
        """The result of a run that was ended, or ended by itself, before its time."""
        began = datetime.fromtimestamp(run.going.at, UTC)
        return Result(
            scenario=run.going.name,
            title=run.going.title,
            proves=[],
            host=run.order.name,
            mta=run.order.mta,
            verdict=Verdict.FAILED,
            reason=f"cut off: {why}",
            steps=run.going.steps,
            began=began,
            took_s=time.time() - run.going.at,
        )

    def _close(self, run: _Process, result: Result | None) -> None:
        """Take away what the run has added, remember it, and tell of its end. Without a result it was refused.

        Whoever knows of the end, by the result or by the event, can begin the next one.
        """
        one, outcome = run.going, result.verdict.value if result else "refused"
        if result:
            self._live.catch_up(RECORDED_S)  # else its mail goes before its files were seen
        left = self._added.take_away(one.id)
        reason = result.reason if result else "; ".join(run.unusable.lines if run.unusable else ())
        said = {"title": one.title, "who": one.who, "reason": reason, "left": left, "outcome": outcome}
        with self._lock, suppress(PopboxError):
            if result:
                self.recent = (*self.recent, replace(one, result=result, left=left, awaits=""))[-MOST_KEPT:]
            self._now = None
            self._tell("scenario ended", one.id, **said)

    def _tell(self, what: str, id_: str, **said: Any) -> None:
        self._live.store.append([note(what, id_, **said)])

    def _end(self) -> None:
        """End the run, and let nothing more begin. What cannot be taken away now is left to the next start."""
        with self._lock:
            self._ended = True
            if self._now:
                self.stop(self._now.going.id, "popbox serve ends")
            thread = self._thread
        if thread:
            thread.join()
        self._added.end()


def _answer(reach: Reach, asked: Ask) -> Told | Raised:
    try:
        return Told(reach.ask(asked.method, *asked.said, **asked.named))
    except Exception as error:  # whatever it is: the run is told, and goes on
        return Raised.of(error)
