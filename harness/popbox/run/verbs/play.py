"""Playing a transcript on a connection, line by line: what the verbs telnet and send have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from popbox.clients.wire import Wire, readable
from popbox.errors import ConnectionFailed, StepTimeout
from popbox.hosts.readiness import left
from popbox.run.context import Context
from popbox.scenario.transcript import Kind, Line, match, parse

Hook = Callable[[Wire], None]


def play(
    context: Context, wire: Wire, transcript: str, deadline: float, after_answer: Hook = lambda _: None
) -> tuple[str, str]:
    """Play to the end, or to the first line that is not as expected; returns what differs and a hint, if any.

    ``after_answer`` is called after each answer as expected, and may say something itself.
    """
    script = deque(parse(transcript))
    while script:
        line = script.popleft()
        try:
            if line.kind is Kind.CLIENT:
                wire.timeout_s = left(deadline)
                wire.send_line(context.text(line.text).encode("utf-8"))
                continue
            wrong = _expect(context, wire, line, script, deadline)
        except (ConnectionFailed, StepTimeout) as error:
            wrong = str(error)
        if wrong:
            return f"transcript line {line.number}: expected {line.text!r}, but {wrong}", _hint(wire)
        after_answer(wire)
    return "", ""


def _expect(context: Context, wire: Wire, line: Line, script: deque[Line], deadline: float) -> str:
    """Read what an S line asks for. Empty when it matched, otherwise what came instead."""
    skip = line.kind is Kind.ANY_LINES
    wanted = script.popleft() if skip else line
    while True:
        wire.timeout_s = left(deadline)
        answer = readable(wire.read_line(repr(wanted.text)))
        groups = match(wanted, answer, context.variables)
        if groups is not None:
            context.variables.update(groups)
            return ""
        if not skip:
            return f"the server said {wire.log[-1].text!r}"


def _hint(wire: Wire) -> str:
    asked = [logged.text for logged in wire.log if logged.side == "C"]
    if asked and asked[-1].upper().startswith("PASS"):
        return "the login was refused: is there such a login in users/poppasswd, and is this its password?"
    return ""
