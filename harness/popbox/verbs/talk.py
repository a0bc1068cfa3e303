"""The verb telnet: a transcript played against a service, or against the chain of three programs."""

from __future__ import annotations

import time

from popbox.clients.wire import Wire, readable
from popbox.errors import ConnectionFailed, StepTimeout
from popbox.model import Observation
from popbox.steps import Telnet
from popbox.transcript import Kind, Line, match, parse
from popbox.verbs.context import Context, left


def telnet(context: Context, spec: Telnet, deadline: float) -> Observation:
    """Play the transcript to its end or to the first line that is not as expected."""
    time.sleep(max(0.0, context.visible_at - time.time()))  # qmail-pop3d lists no message of this very second
    began = time.monotonic()
    with _connect(context, spec, deadline) as wire:
        if spec.service != "smtp":
            context.played.append((context.step, wire))
        script = list(parse(spec.transcript))
        while script:
            line = script.pop(0)
            if line.kind is Kind.CLIENT:
                wire.send_line(context.text(line.text).encode("utf-8"))
            elif wrong := _expect(context, wire, line, script):
                return _differs(wire, line, wrong)
        took_s = time.monotonic() - began
        said = f"{len(wire.log)} lines as expected"
        if took_s < spec.at_least_s:
            said = f"it took {took_s:.2f} s, but should take {spec.at_least_s} s at least"
        return Observation(passed=took_s >= spec.at_least_s, said=said, transcript=wire.transcript())


def _connect(context: Context, spec: Telnet, deadline: float) -> Wire:
    if spec.service == "chain":
        return context.host.chain(left(deadline))
    return Wire(context.host.address(spec.service), left(deadline))


def _expect(context: Context, wire: Wire, line: Line, script: list[Line]) -> str:
    """Read what an S line asks for. Empty when it matched, else what came instead."""
    skip = line.kind is Kind.ANY_LINES
    wanted = script.pop(0) if skip else line
    while True:
        try:
            answer = readable(wire.read_line(repr(wanted.text)))
        except (ConnectionFailed, StepTimeout) as error:
            return str(error)
        groups = match(wanted, answer, context.variables)
        if groups is not None:
            context.variables.update(groups)
            return ""
        if not skip:
            return f"the server said {answer!r}"


def _differs(wire: Wire, line: Line, wrong: str) -> Observation:
    said = f"transcript line {line.number}: expected {line.text!r}, but {wrong}"
    asked = [logged.text for logged in wire.log if logged.side == "C"]
    hint = ""
    if asked and asked[-1].upper().startswith("PASS"):
        hint = "the login was refused: is there such a login in users/poppasswd, and is this its password?"
    return Observation(passed=False, said=said, hint=hint, transcript=wire.transcript())
