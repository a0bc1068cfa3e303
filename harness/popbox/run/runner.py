"""Scenario x Host -> Result: declare the accounts, take the steps in order, stop at the first failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from textwrap import shorten
from typing import TypeVar

from pydantic import BaseModel

from popbox.clients.secret import MASK, masked
from popbox.errors import ConnectionFailed, HostError, NotPossibleError, PopboxError, StepTimeout
from popbox.hosts.base import SERVICES, Ability, Host, Service, tail
from popbox.journey.store import Store
from popbox.ledger.expectation import Taken
from popbox.ledger.proof import LegStatus
from popbox.ledger.reconcile import reconcile
from popbox.result import Observation, Result, StepResult, Verdict
from popbox.run.needs import unmet, wanted
from popbox.run.own_password import FROM_STDIN, UnfitError, random_password, replaced
from popbox.run.verbs import VERBS, Context
from popbox.run.verbs.declare import accounts, shown
from popbox.scenario.fields import Strict
from popbox.scenario.load import ScenarioFile
from popbox.scenario.steps import Step
from popbox.scenario.transcript import TranscriptError

M = TypeVar("M", bound=BaseModel)


class Watcher:
    """Receives the progress of runs, to show it. Several threads may call a method at once. This one ignores it."""

    def step_begins(self, file: ScenarioFile, number: int, name: str, awaits: str) -> None:
        """A step begins; ``awaits`` says what it does or waits for, and how long at most."""

    def step_ended(self, file: ScenarioFile, step: StepResult) -> None:
        """A step has ended."""

    def ended(self, file: ScenarioFile, result: Result) -> None:
        """A scenario has ended."""


class Run:
    """A scenario that is being run, step by step: what it shares, what it has seen, and the result so far."""

    def __init__(
        self,
        file: ScenarioFile,
        host: Host,
        watcher: Watcher | None = None,
        secrets: Iterable[str] = (),
        store: Store | None = None,
        *,
        host_goes: bool = False,
    ) -> None:
        """``watcher`` is told of each step. ``secrets`` are passwords that no output may show.

        ``store`` gets the journeys of all that the host shows; without it those of this run are dropped at the end.
        ``host_goes``: the host is taken away as soon as the run has ended, so that the ledger may end its MTA.
        """
        self._secrets = tuple(secrets)
        self.context = Context(host, file, log_from=_log_ends(host), store=store, host_goes=host_goes)
        self.steps: list[StepResult] = []
        self.taken: list[Taken] = []
        self._watcher = watcher or Watcher()
        self._began, self._began_at = time.monotonic(), datetime.now(UTC)

    def declare(self) -> StepResult:
        """Step 0: declare the accounts."""
        action = partial(accounts, self.context)
        return self.see("declare the accounts", "declare", "the mailhost program", action)

    def take(self, step: Step) -> StepResult:
        """Take one step. What fails is in the result, not raised.

        Raises:
            NotPossibleError: the host cannot do it.
        """
        seen = self.see(step.name or step.verb, step.verb, awaits(step), partial(_take, step, self.context))
        self.taken.append(Taken(seen.number, step, seen.seen.passed))
        return seen

    def see(self, name: str, verb: str, awaited: str, action: Callable[[], Observation]) -> StepResult:
        """Do what is no step of a scenario, and note it as one."""
        file, number = self.context.file, len(self.steps)
        self._watcher.step_begins(file, number, name, awaited)
        self.context.step, began = number, time.monotonic()
        self._record()
        seen = self._masked(action())
        self._record()
        step = StepResult(number=number, name=name, verb=verb, seen=seen, took_s=time.monotonic() - began)
        self._watcher.step_ended(file, step)
        self.steps.append(step)
        return step

    def _record(self) -> None:
        """Have a store that is kept see what the host shows now: the rules, and files, may be others after a step."""
        if self.context.store is not None:
            with suppress(HostError, OSError):  # a step that needs the log says so
                self.context.tracker.look()

    def _masked(self, seen: M) -> M:
        """The same with the run's own passwords masked, in all that programs and servers said."""
        if not self._secrets:
            return seen
        text = seen.model_dump_json()
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return type(seen).model_validate_json(text)

    def result(self, skipped: str = "", failed: str = "") -> Result:
        """The result: skipped or failed for the reason given, otherwise what its steps and its messages say."""
        context, scenario = self.context, self.context.file.scenario
        self._watcher.step_begins(context.file, len(self.steps), "the ledger", "every message accounted for")
        messages = reconcile(context, self.taken)
        wrong = [f"step {step.number} ({step.name}): {step.seen.said}" for step in self.steps if not step.seen.passed]
        wrong += [
            f"message {one.id!r}: {one.ended.value}: {one.why}; expected: {one.expected}"
            for one in messages
            if one.verdict is LegStatus.FAILED
        ]
        unseen = [
            f"message {one.id!r}: accepted, but what became of it is unknown: {one.why}"
            for one in messages
            if one.verdict is LegStatus.NOT_LOOKED_AT
        ]
        reason = failed or next(iter(wrong), "")
        verdict = Verdict.FAILED if reason else Verdict.NOT_PROVED if unseen else Verdict.PASSED
        result = Result(
            scenario=str(context.file.path),
            title=scenario.title,
            proves=scenario.proves,
            host=context.host.name,
            mta=context.host.mta,
            verdict=Verdict.SKIPPED if skipped else verdict,
            reason=skipped or reason or next(iter(unseen), ""),
            steps=tuple(self.steps),
            messages=messages,
            logs=_logs(context) if reason else {},
            began=self._began_at,
            took_s=time.monotonic() - self._began,
        )
        context.tracker.close()
        result = self._masked(result)
        self._watcher.ended(context.file, result)
        return result


def _log_ends(host: Host) -> dict[Service, int]:
    """Where each log stands now; a host that shows no log has none to begin with."""
    if host.cannot(Ability.LOG):
        return {}
    return {service: len(host.log(service)) for service in SERVICES}


def _logs(context: Context) -> dict[str, str]:
    """The end of each log of the run, where the host shows it."""
    if context.host.cannot(Ability.LOG):
        return {}
    return {service: tail(context.log(service), 40) for service in SERVICES}


def run(
    file: ScenarioFile,
    host: Host,
    watcher: Watcher | None = None,
    store: Store | None = None,
    *,
    host_goes: bool = False,
) -> Result:
    """Run one scenario up to its first failure, and account for each message that it sent. Failures do not raise.

    ``store`` keeps the journeys of all that the host shows. ``host_goes``: the host is taken away right afterwards.
    """
    if missing := unmet(file.scenario, host):
        return Run(file, host, watcher).result(skipped=missing)
    secrets: frozenset[str] = frozenset()
    try:
        if host.name == "remote":
            file, secrets = _with_own_password(file, host)
    except UnfitError as why:
        return Run(file, host, watcher).result(skipped=f"no password of the run's own fits: {why}")
    going = Run(file, host, watcher, secrets, store, host_goes=host_goes)
    steps, impossible = iter(file.scenario.step), ""
    try:
        seen = going.declare()
        while seen.seen.passed and (step := next(steps, None)):
            seen = going.take(step)
    except NotPossibleError as why:
        impossible = f"not possible on this host: {why.what}"
    finally:
        going.context.close()  # the ledger may need a maildrop that a session still has
    return going.result(skipped=impossible)


def _with_own_password(file: ScenarioFile, host: Host) -> tuple[ScenarioFile, frozenset[str]]:
    """The scenario with random passwords of its own in place of those it declares, and these.

    Raises:
        UnfitError: a password of the scenario cannot be replaced.
        HostError: the host does not answer, or made no hash.
    """
    scenario, password = file.scenario, random_password()
    if not any(ability is Ability.DECLARE for _, ability in wanted(scenario)):
        return file, frozenset()
    replaced(scenario, password, "")  # finds out whether it is possible before anything runs there
    made = host.run("mkpasswd", FROM_STDIN, stdin=f"{password}\n".encode())
    if made.code:
        raise HostError(f"mailhost mkpasswd on host remote ended with {made.code}", made.stderr)
    scenario = replaced(scenario, password, made.stdout.strip())
    told = {step.declare.stdin.strip() for step in scenario.step if step.declare and step.declare.stdin}
    return replace(file, scenario=scenario), frozenset({password, *told})


def awaits(step: Step) -> str:
    """What a step does or waits for, in one line: its table without defaults, and its deadline."""
    spec = step.spec.model_dump(by_alias=True, exclude_defaults=True) if isinstance(step.spec, Strict) else step.spec
    if step.declare:
        spec |= {"argv": shown(step.declare.argv), **({"stdin": MASK} if step.declare.stdin else {})}
    if step.telnet:
        spec["transcript"] = "\n".join(line[:3] + masked(line[3:]) for line in step.telnet.transcript.split("\n"))
    words = spec.items() if isinstance(spec, dict) else [("", spec)]
    said = " ".join(f"{key} {shorten(str(value), 40)}".strip() for key, value in words)
    return f"{step.verb} {said}, {step.within_s:g} s at most"


def _take(step: Step, context: Context) -> Observation:
    """Take a step; where it fails, the hint names what the host itself finds wrong."""
    seen = _tried(step, context)
    ailments = [] if seen.passed else context.host.ailments()
    return seen.model_copy(update={"hint": "\n".join(filter(None, [seen.hint, *ailments]))}) if ailments else seen


def _tried(step: Step, context: Context) -> Observation:
    try:
        return VERBS[step.verb](context, step.spec, time.monotonic() + step.within_s)
    except (ConnectionFailed, StepTimeout) as error:
        return Observation(passed=False, said=str(error), transcript=error.transcript)
    except NotPossibleError:
        raise
    except HostError as error:
        return Observation(passed=False, said=error.what, hint=error.log)
    except (PopboxError, TranscriptError) as error:
        return Observation(passed=False, said=str(error))
