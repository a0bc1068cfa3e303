"""What a scenario asks of a host, found from its own text, and why a host cannot serve it: a skip, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from popbox.hosts.base import Ability, Host
from popbox.scenario.faults import DISKS, DISTURBS
from popbox.scenario.model import Scenario
from popbox.scenario.steps import Step
from popbox.scenario.transcript import Kind, parse

# verb -> what the host must be able to do for it; the others depend on what they say
OF_VERB: dict[str, tuple[Ability, ...]] = {
    "declare": (Ability.DECLARE,),
    "explain": (Ability.EXPLAIN,),
    "send": (Ability.SEND,),
    "expect-delivered": (Ability.FILES,),
    "expect-nothing": (Ability.FILES, Ability.LOG),
    "expect-bounce": (Ability.FILES,),
    "expect-deferred": (Ability.LOG,),
    "expect-retrieved": (),
    "maildir": (Ability.FILES,),
    "file": (Ability.FILES,),
    "write": (Ability.CHANGE,),
    "shell": (Ability.SHELL,),
    "log": (Ability.LOG,),
    "heal": (),  # what was broken can be mended
    "restart": (Ability.STOP,),
    "hup": (Ability.CHANGE,),
}


def unmet(scenario: Scenario, host: Host) -> str:
    """Why this host cannot run the scenario, or empty."""
    needs = scenario.needs
    if needs.host and host.name not in needs.host:
        return f"needs host {' or '.join(needs.host)}, this is {host.name}"
    if needs.mta and host.mta.replace("-", "") not in needs.mta:
        return f"needs MTA {' or '.join(needs.mta)}, this is {host.mta}"
    return next((f"{where}: {why}" for where, ability in wanted(scenario) if (why := host.cannot(ability))), "")


def wanted(scenario: Scenario) -> Iterator[tuple[str, Ability]]:
    """Every ability that a run takes, with the place in the file that asks for it."""
    if scenario.needs.own_host:
        yield "needs.own-host", Ability.OWN_HOST
    if scenario.needs.own_disk:
        yield "needs.own-disk", Ability.OWN_DISK
    if scenario.needs.chain:
        yield "needs.chain", Ability.CHAIN
    if scenario.accounts.domains:
        yield "accounts", Ability.DECLARE
    for number, step in enumerate(scenario.step, 1):
        yield from ((f"step {number}.{step.verb}", ability) for ability in _of(step))


def _of(step: Step) -> tuple[Ability, ...]:
    if step.break_:
        kind = step.break_.kind
        return (Ability(kind),) if kind in (*DISTURBS, *DISKS) else (Ability.CHANGE,)
    if step.wait_until:
        return (Ability.LOG,) if step.wait_until.done else ()
    if step.telnet:
        syslog = (Ability.SYSLOG,) if step.telnet.syslog else ()
        return (*_talks(step.telnet.service, step.telnet.transcript), *syslog)
    return OF_VERB[step.verb]


def _talks(service: str, transcript: str) -> tuple[Ability, ...]:
    """A conversation only looks, unless it deletes (POP3) or hands a message over (SMTP)."""
    if service == "chain":
        return (Ability.CHAIN,)
    said = {line.text.upper().split(" ")[0] for line in parse(transcript) if line.kind is Kind.CLIENT}
    if service == "smtp":
        return (Ability.SEND,) if "DATA" in said else ()
    return (Ability.DELETE,) if "DELE" in said else ()
