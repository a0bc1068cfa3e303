"""Verbs that break the mail host, mend it and wait for it: break, heal, restart, hup, wait-until."""

from __future__ import annotations

from typing import Literal

from popbox.hosts.base import Host
from popbox.hosts.breaking import SWITCHES
from popbox.hosts.readiness import greets, wait_until
from popbox.result import Observation
from popbox.run.context import Context, Fault
from popbox.scenario.faults import Break, WaitUntil
from popbox.scenario.names import Service


def break_(context: Context, spec: Break, _deadline: float) -> Observation:
    """Break the host as told; it fails when there is nothing to break."""
    fault = Fault(spec)
    if spec.id:
        context.faults[spec.id] = fault
    if spec.kind in SWITCHES:
        SWITCHES[spec.kind](context.host, spec.target, True)
        return Observation(passed=True, said=f"{spec.kind} {spec.target}: done")
    if spec.kill or spec.stop:
        (context.host.kill if spec.kill else context.host.stop)(spec.target)
        ended = context.host.alive(spec.target)
        return Observation(passed=bool(ended), said=f"{spec.kind} {spec.target}: {ended or 'it still runs'}")
    return _change(context.host, fault)


def _change(host: Host, fault: Fault) -> Observation:
    """The faults that lie in files."""
    spec = fault.spec
    if spec.remove:
        host.remove(spec.remove)
    for path, mode in (spec.chmod or {}).items():
        fault.modes[path] = host.mode(path)
        host.chmod(path, int(mode, 8))
    for path, line in (spec.drop_line or {}).items():
        fault.texts[path] = host.read(path)
        lines = fault.texts[path].splitlines(keepends=True)
        left = [one for one in lines if one.rstrip(b"\n") != line.encode()]
        if len(left) == len(lines):
            return Observation(passed=False, said=f"{path} has no line {line!r}")
        host.write(path, b"".join(left))
    changed = spec.remove or ", ".join({**(spec.chmod or {}), **(spec.drop_line or {})})
    return Observation(passed=True, said=f"changed {changed}")


def heal(context: Context, name: str, deadline: float) -> Observation:
    """Undo what a break step did; for a service, wait until it answers."""
    fault = context.faults.pop(name)
    spec, host = fault.spec, context.host
    if spec.kind in SWITCHES:
        SWITCHES[spec.kind](host, spec.target, False)
    if spec.kind in ("pause", "partition"):
        return _answers(context, spec.target, deadline)
    if spec.kind in ("stop", "kill"):
        return restart(context, spec.target, deadline)
    for path, mode in fault.modes.items():
        host.chmod(path, mode)
    for path, octets in fault.texts.items():
        host.write(path, octets)
    return Observation(passed=True, said=f"{spec.kind} {spec.target}: undone")


def restart(context: Context, service: Service, deadline: float) -> Observation:
    """End a service in order where it runs, start it, and wait until it answers."""
    context.host.restart(service, deadline)
    return Observation(passed=True, said=f"{service} answers again at {context.host.address(service)}")


def hup(context: Context, _service: Literal["smtp"], _deadline: float) -> Observation:
    """Have the MTA read control/virtualdomains and control/locals again (H-3)."""
    context.host.hup()
    return Observation(passed=True, said="sent HUP to the MTA")


def wait(context: Context, spec: WaitUntil, deadline: float) -> Observation:
    """Wait until a service greets, or greets no more, or the MTA is done with a message."""
    if spec.answers:
        return _answers(context, spec.answers, deadline)
    if spec.silent:
        service, why = spec.silent, [""]  # of the last look: each takes 2 s where the service is frozen

        def silent() -> bool:
            why[0] = greets(context.host, service)
            return bool(why[0])

        passed = wait_until(silent, deadline)
        return Observation(passed=passed, said=why[0] or f"{service} still greets at {context.host.address(service)}")
    sent = context.sent.get(spec.done or "")
    if sent is None:
        return Observation(passed=False, said=f"message {spec.done!r} was never accepted")
    ended = wait_until(lambda: context.tracker.ended(sent), deadline)
    done = "the MTA is done with the message" if ended else "the MTA is not done with the message"
    return Observation(passed=ended, said=f"{done}: {context.tracker.verdict(sent)}")


def _answers(context: Context, service: Service, deadline: float) -> Observation:
    answers = wait_until(lambda: not greets(context.host, service), deadline)
    seen = "" if answers else greets(context.host, service)
    said = f"{service} answers at {context.host.address(service)}" if answers else f"{service} does not answer: {seen}"
    return Observation(passed=answers, said=said)
