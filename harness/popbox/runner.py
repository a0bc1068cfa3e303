"""Scenario x Host -> Result: declare the accounts, take the steps in order, stop at the first failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from textwrap import shorten

from popbox.errors import ConnectionFailed, HostError, PopboxError, StepTimeout
from popbox.hosts.base import Host, Service, tail
from popbox.model import Observation, Result, Scenario, StepResult, Verdict
from popbox.scenario import ScenarioFile
from popbox.steps import Step, Strict
from popbox.transcript import TranscriptError
from popbox.verbs import VERBS, Context

SERVICES: tuple[Service, ...] = ("smtp", "pop3")


class Watcher:
    """Hears how runs go on, for whoever shows it; each method may be called from several threads. This one is deaf."""

    def step_begins(self, file: ScenarioFile, number: int, name: str, awaits: str) -> None:
        """A step begins; ``awaits`` says what it does or waits for, and how long at most."""

    def step_ended(self, file: ScenarioFile, step: StepResult) -> None:
        """A step has ended."""


def run(file: ScenarioFile, host: Host, watcher: Watcher | None = None) -> Result:
    """Run one scenario, and account for each message that it sent. Failures are in the Result, not raised."""
    began, began_at = time.monotonic(), datetime.now(UTC)
    missing = unmet(file.scenario, host)
    context = Context(host, file, log_from={service: len(host.log(service)) for service in SERVICES})
    steps = [] if missing else list(_steps(file, context, watcher or Watcher()))
    failed = [step for step in steps if not step.seen.passed]
    return Result(
        scenario=str(file.path),
        title=file.scenario.title,
        proves=file.scenario.proves,
        host=host.name,
        mta=host.mta,
        verdict=Verdict.SKIPPED if missing else Verdict.FAILED if failed else Verdict.PASSED,
        reason=missing or (f"step {failed[0].number} ({failed[0].name}): {failed[0].seen.said}" if failed else ""),
        steps=tuple(steps),
        logs={service: tail(context.log(service), 40) for service in SERVICES} if failed else {},
        began=began_at,
        took_s=time.monotonic() - began,
    )


def unmet(scenario: Scenario, host: Host) -> str:
    """Why this host cannot run the scenario, or empty."""
    needs = scenario.needs
    if needs.host and host.name not in needs.host:
        return f"needs host {' or '.join(needs.host)}, this is {host.name}"
    if needs.mta and host.mta.replace("-", "") not in needs.mta:
        return f"needs MTA {' or '.join(needs.mta)}, this is {host.mta}"
    return host.no_chain() if needs.chain else ""


def _steps(file: ScenarioFile, context: Context, watcher: Watcher) -> Iterator[StepResult]:
    """All steps up to and including the first that fails; step 0 declares the accounts."""
    scenario = file.scenario
    actions: list[tuple[str, str, str, Callable[[], Observation]]] = [
        ("declare the accounts", "declare", "the mailhost program", lambda: declare(scenario, context.host))
    ]
    for step in scenario.step:
        actions.append((step.name or step.verb, step.verb, awaits(step), partial(_take, step, context)))
    for number, (name, verb, awaited, action) in enumerate(actions):
        watcher.step_begins(file, number, name, awaited)
        context.step, began = number, time.monotonic()
        seen = action()
        result = StepResult(number=number, name=name, verb=verb, seen=seen, took_s=time.monotonic() - began)
        watcher.step_ended(file, result)
        yield result
        if not seen.passed:
            return


def awaits(step: Step) -> str:
    """What a step does or waits for, in one line: its table without defaults, and its deadline."""
    spec = step.spec.model_dump(by_alias=True, exclude_defaults=True) if isinstance(step.spec, Strict) else step.spec
    words = spec.items() if isinstance(spec, dict) else [("", spec)]
    said = " ".join(f"{key} {shorten(str(value), 40)}".strip() for key, value in words)
    return f"{step.verb} {said}, {step.within_s:g} s at most"


def _take(step: Step, context: Context) -> Observation:
    try:
        return VERBS[step.verb](context, step.spec, time.monotonic() + step.within_s)
    except (ConnectionFailed, StepTimeout) as error:
        ended = [f"{service}: {how}" for service in SERVICES if (how := context.host.alive(service))]
        return Observation(passed=False, said=str(error), hint="; ".join(ended), transcript=error.transcript)
    except HostError as error:
        return Observation(passed=False, said=error.what, hint=error.log)
    except (PopboxError, TranscriptError) as error:
        return Observation(passed=False, said=str(error))


def declare(scenario: Scenario, host: Host) -> Observation:
    """Declare domains and mailboxes by the host's own ``mailhost`` program; stops at the first refusal."""
    try:
        for argv in _declarations(scenario):
            ran = host.run(*argv)
            if ran.code:
                return Observation(
                    passed=False, said=f"mailhost {' '.join(argv[:3])} ended with {ran.code}: {ran.stderr.strip()}"
                )
    except HostError as error:
        return Observation(passed=False, said=str(error))
    boxes = [f"{local}@{name}" for name, domain in scenario.accounts.domains.items() for local in domain.mailboxes]
    return Observation(passed=True, said=f"{', '.join(boxes) or 'nothing'} declared")


def _declarations(scenario: Scenario) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    for name, domain in scenario.accounts.domains.items():
        commands.append(("domain", "add", name))
        for local, box in domain.mailboxes.items():
            login = ("--login", box.login) if box.login else ()
            extensions = ("--extensions",) if box.extensions else ()
            commands.append(("mailbox", "add", f"{local}@{name}", *login, "--crypt", box.crypt, *extensions))
    return commands
