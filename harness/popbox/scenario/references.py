"""The rules between the steps of a scenario: what a step names must have been made before, and fit the needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from popbox.scenario.faults import DISKS, DISTURBS, Break
from popbox.scenario.model import Needs, Scenario
from popbox.scenario.steps import AboutMessage, Send, Step, Telnet
from popbox.scenario.toml_lines import TomlPath

Broken = Iterator[tuple[str, str]]  # key within the verb's table, rule


@dataclass(slots=True)
class _Known:
    """What the steps so far have made."""

    needs: Needs
    sent: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)  # id -> kind, while it is not healed
    sessions: dict[str, str] = field(default_factory=dict)  # name -> service, while it is not hung up
    ended: set[str] = field(default_factory=set)  # sessions hung up


def broken_references(scenario: Scenario) -> Iterator[tuple[TomlPath, str]]:
    """Each rule that is broken: the key's path, such as ``("step", 2, "heal")``, and the rule in words."""
    known = _Known(scenario.needs)
    for number, step in enumerate(scenario.step):
        for key, rule in _of(step, known):
            yield ("step", number, step.verb, *filter(None, [key])), rule


def _of(step: Step, known: _Known) -> Broken:
    if step.send:
        yield from _send(step.send, known)
    elif step.break_:
        yield from _break(step.break_, known)
    elif step.heal:
        yield from _heal(step.heal, known)
    elif step.telnet and step.telnet.session:
        yield from _session(step.telnet, step.telnet.session, known)
    elif step.wait_until and step.wait_until.done:
        yield from _message(step.wait_until.done, "done", known)
    elif step.restart and not known.needs.own_host:
        yield "", "needs.own-host must be true: others would see it"
    elif isinstance(step.spec, AboutMessage):
        yield from _message(step.spec.message, "message", known)


def _message(name: str, key: str, known: _Known) -> Broken:
    if name not in known.sent:
        yield key, f"{name!r} is not sent before; sent: {', '.join(sorted(known.sent)) or 'none yet'}"


def _send(send: Send, known: _Known) -> Broken:
    if send.id in known.sent:
        yield "id", f"{send.id!r} is sent twice"
    known.sent.add(send.id)


def _break(fault: Break, known: _Known) -> Broken:
    if fault.id and fault.id in known.faults:
        yield "id", f"{fault.id!r} is broken already; heal it first, or give this fault an id of its own"
    if fault.kind in DISTURBS and not known.needs.own_host:
        yield fault.kind, "needs.own-host must be true: others would see it"
    if fault.kind in DISKS and not known.needs.own_disk:
        yield fault.kind, "needs.own-disk must be true: no other disk is broken on purpose"
    if fault.id:
        known.faults[fault.id] = fault.kind


def _heal(name: str, known: _Known) -> Broken:
    kind = known.faults.pop(name, "")
    if not kind:
        yield "", f"{name!r} is not broken; broken: {', '.join(sorted(known.faults)) or 'nothing'}"
    if kind == "remove":
        yield "", "what was removed is gone: put it back with 'write' or 'declare'"


def _session(telnet: Telnet, name: str, known: _Known) -> Broken:
    if name in known.ended:
        yield "session", f"{name!r} was hung up; take another name"
    service = known.sessions.setdefault(name, telnet.service)
    if service != telnet.service:
        yield "service", f"session {name!r} talks to {service}"
    if telnet.hang_up:
        known.ended.add(name)
