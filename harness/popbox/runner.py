"""Scenario x Host -> Result: declare the accounts, take the steps in order, stop at the first failure."""

from __future__ import annotations

import time
from collections.abc import Callable

from popbox.errors import ConnectionFailed, HostError, PopboxError, StepTimeout
from popbox.hosts.base import Host, Service, tail
from popbox.model import Observation, Result, Scenario, StepResult, Verdict
from popbox.scenario import ScenarioFile
from popbox.steps import Step
from popbox.transcript import TranscriptError
from popbox.verbs import VERBS, Context

Listener = Callable[[StepResult], None]
SERVICES: tuple[Service, ...] = ("smtp", "pop3")


def run(file: ScenarioFile, host: Host, listener: Listener = lambda _: None) -> Result:
    """Run one scenario; ``listener`` hears of each step as it ends. Failures are in the Result, not raised."""
    began = time.monotonic()
    missing = unmet(file.scenario, host)
    context = Context(host, file, log_from={service: len(host.log(service)) for service in SERVICES})
    steps: list[StepResult] = []
    if not missing:
        for step in _steps(file.scenario, context):
            listener(step)
            steps.append(step)
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


def _steps(scenario: Scenario, context: Context) -> list[StepResult]:
    """All steps up to and including the first that fails; step 0 declares the accounts."""
    results = [_timed(0, "declare the accounts", "declare", lambda: declare(scenario, context.host))]
    for number, step in enumerate(scenario.step, 1):
        if not results[-1].seen.passed:
            break
        results.append(_timed(number, step.name or step.verb, step.verb, lambda step=step: _take(step, context)))  # type: ignore[misc]
    return results


def _timed(number: int, name: str, verb: str, action: Callable[[], Observation]) -> StepResult:
    began = time.monotonic()
    seen = action()
    return StepResult(number=number, name=name, verb=verb, seen=seen, took_s=time.monotonic() - began)


def _take(step: Step, context: Context) -> Observation:
    try:
        return VERBS[step.verb](context, step.spec, time.monotonic() + step.within_s)
    except (ConnectionFailed, StepTimeout) as error:
        ended = [f"{service}: {how}" for service in SERVICES if (how := context.host.alive(service))]
        return Observation(passed=False, said=str(error), hint="; ".join(ended))
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
