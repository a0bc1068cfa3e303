"""Results for a person at a terminal: plain lines, fit for a log file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from popbox.ledger.proof import Leg, LegStatus
from popbox.report import howto
from popbox.result import Result, StepResult, Verdict

MARK = {True: "ok  ", False: "FAIL"}
WRONG = (Verdict.FAILED, Verdict.NOT_PROVED)
"""What is shown whole, and once more at the end."""


def step_lines(step: StepResult, transcripts: bool = False) -> Iterator[str]:
    """A step as it ends; its transcript only where asked for, or where it failed."""
    yield f"  {MARK[step.seen.passed]} {step.name}: {step.seen.said}  [{step.took_s:.2f} s]"
    if transcripts or not step.seen.passed:
        yield from (f"         {line}" for line in step.seen.transcript)
    if not step.seen.passed and step.seen.hint:
        yield from (f"    hint: {line}" for line in step.seen.hint.splitlines())


def result_lines(result: Result) -> Iterator[str]:
    """The end of a scenario: verdict, reason, and the logs of a failed one."""
    world = f"host {result.host}, MTA {result.mta}"
    for service, log in result.logs.items():
        yield f"  log of {service} (its end):"
        yield from (f"    | {line}" for line in log.splitlines())
    reason = f": {result.reason}" if result.reason else ""
    yield f"{result.verdict.value.upper()}: {result.title} ({result.took_s:.1f} s), {world}{reason}"


def message_lines(result: Result) -> Iterator[str]:
    """Each message: how it ended, its way with the times since the send, and why where it is not as expected."""
    for message in result.messages:
        yield f"  {MARK[message.verdict is not LegStatus.FAILED]} message {message.id}: {message.ended.value}"
        yield f"         {' -> '.join(_leg(leg) for leg in message.legs)}"
        if message.verdict is LegStatus.FAILED:
            yield f"    why: {message.why}"
            yield f"    expected: {message.expected}"


def _leg(leg: Leg) -> str:
    when = f" {leg.at_s:.3f} s" if leg.at_s is not None else ""
    return (
        f"{leg.name}{when}"
        if leg.verdict is LegStatus.PASSED
        else f"{leg.name}{when} ({leg.verdict.value}: {leg.said})"
    )


def whole_lines(result: Result) -> Iterator[str]:
    """A scenario with all its steps, for one that was not shown as it went."""
    yield f"\n{result.title}"
    for step in result.steps:
        yield from step_lines(step)
    yield from message_lines(result)
    yield from result_lines(result)


def checklist(results: list[Result]) -> Iterator[str]:
    """The HOWTO's statements as a checklist, where more than one scenario ran: each with what proves it."""
    lines = [line for line in howto.checklist(results) if line.verdict]
    if len(results) < 2 or not lines:
        return
    yield "\nThe HOWTO, statement by statement:"
    for line in lines:
        proofs = "; ".join(result.title for result in line.by)
        why = "; ".join(dict.fromkeys(result.reason for result in line.skipped))
        yield f"  {line.verdict:8} {line.statement:5} {proofs or f'no proof in this run: {why}'}"


def wrong(results: list[Result]) -> Iterator[str]:
    """What did not pass, in the order of the files, where more than one scenario ran: it was shown as it ended."""
    found = [result for result in results if result.verdict in WRONG]
    if len(results) > 1 and found:
        yield "\nWhat did not pass, in the order of the files:"
        yield from (f"  {one.verdict:10} {one.title} ({one.scenario}): {one.reason}" for one in found)


def summary(results: Iterable[Result]) -> str:
    """``3 passed, 1 failed, 1 skipped``."""
    verdicts = [result.verdict for result in results]
    counts = [(verdict, verdicts.count(verdict)) for verdict in Verdict]
    return ", ".join(f"{count} {verdict.value}" for verdict, count in counts if count or verdict is Verdict.PASSED)
