"""The verbs telnet and expect-retrieved: talking to a service, word by word or as a mail client does."""

from __future__ import annotations

import time

from popbox.clients.body import Body
from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.clients.wire import Wire
from popbox.errors import ConnectionFailed, StepTimeout
from popbox.hosts.base import CHAIN
from popbox.hosts.readiness import left, wait_until
from popbox.ledger import TOKEN_FIELD
from popbox.ledger.pickup import sizes_of
from popbox.printable import counted
from popbox.result import Observation
from popbox.run.context import Context
from popbox.run.verbs.play import play
from popbox.scenario.steps import ExpectRetrieved, Telnet

NEWEST = 200  # our choice: a message that was just sent is one of so many newest


def telnet(context: Context, spec: Telnet, deadline: float) -> Observation:
    """Play the transcript to its end or to the first line that is not as expected."""
    if spec.service == "chain":  # its pop3d is qmail's, and lists no message of this very second
        time.sleep(max(0.0, context.visible_at - time.time()))
    wire = _connect(context, spec, deadline)
    began, before = time.monotonic(), len(wire.log)
    try:
        differs, hint = play(context, wire, spec.transcript, deadline)
    finally:
        if not spec.session or spec.hang_up:
            wire.hang_up()
    said = differs or _in_time(spec, time.monotonic() - began)
    whole = f"{counted(len(wire.log) - before, 'line')} as expected"
    return Observation(passed=not said, said=said or whole, hint=hint, transcript=wire.transcript()[before:])


def _connect(context: Context, spec: Telnet, deadline: float) -> Wire:
    """The session that is open already, or a new connection."""
    if spec.session and (wire := context.sessions.get(spec.session)):
        return wire
    chain = spec.service == "chain"
    wire = _chain(context, spec, deadline) if chain else Wire(context.host.address(spec.service), left(deadline))  # type: ignore[arg-type]
    if spec.session:
        context.sessions[spec.session] = wire
    if spec.service != "smtp":
        context.played.append((context.step, wire))
    return wire


def _chain(context: Context, spec: Telnet, deadline: float) -> Wire:
    runs = tuple(context.text(word) for word in spec.runs) if spec.runs else CHAIN
    return context.host.chain(left(deadline), runs, spec.syslog)


def _in_time(spec: Telnet, took_s: float) -> str:
    """What is wrong with the time it took; empty when nothing is."""
    if took_s < spec.at_least_s:
        return f"it took {took_s:.2f} s, but should take {spec.at_least_s:g} s at least"
    if spec.less_than_s is not None and took_s >= spec.less_than_s:
        return f"it took {took_s:.2f} s, but should take less than {spec.less_than_s:g} s"
    return ""


def retrieved(context: Context, spec: ExpectRetrieved, deadline: float) -> Observation:
    """Log in until a session lists the message, then compare what RETR hands out with what was sent."""
    sent = context.sent.get(spec.message)
    if sent is None:
        return Observation(passed=False, said=f"message {spec.message!r} was never accepted")
    mark = f"{TOKEN_FIELD}: {sent.token}\n".encode()
    seen: dict[int, tuple[Body, int]] = {}
    last = ""

    def listed() -> bool:
        nonlocal last
        try:
            seen.update(_fetch(context, spec, mark, deadline))
        except (Pop3Refused, ConnectionFailed, StepTimeout) as error:
            last = str(error)
            return isinstance(error, Pop3Refused) and error.command.startswith("PASS") and "[IN-USE]" not in last
        return bool(seen)

    wait_until(listed, deadline)
    if not seen:
        said = last or f"no message of {context.text(spec.login)} carries the token"
        return Observation(passed=False, said=f"POP3 does not hand it out: {said}")
    faults = [f"listed {len(seen)} times: {', '.join(map(str, seen))}"] if len(seen) > 1 else []
    for number, (body, size) in seen.items():
        forms = (body.text, body.text.removesuffix(b"\n"))  # qmail-pop3d adds an empty line (Q-POP3-13)
        if not any(form.endswith(sent.octets) for form in forms):
            faults.append(f"RETR {number} does not end with the octets that were sent")
        faults += [f"RETR {number}: {fault}" for fault in body.faults(size)]
    number, (body, _) = next(iter(seen.items()))
    return Observation(passed=not faults, said="; ".join(faults) or f"RETR {number}: {len(body.wire)} octets, as sent")


def _fetch(context: Context, spec: ExpectRetrieved, mark: bytes, deadline: float) -> dict[int, tuple[Body, int]]:
    """Messages that carry the mark, by number. Ends without QUIT, so that nothing moves from new/ to cur/."""
    with Pop3(context.host.address("pop3"), left(deadline)) as session:
        session.login(context.text(spec.login), context.text(spec.password.get_secret_value()))
        sizes = sizes_of(session)
        numbers = sorted(sizes, reverse=True)[:NEWEST]
        found = {number: session.body(number) for number in numbers if mark in session.head(number)}
        session.wire.hang_up()
        if found:
            context.played.append((context.step, session.wire))
    return {number: (body, sizes[number]) for number, body in found.items() if mark in body.text}
