"""The verb send: one message in a session of its own, or an SMTP dialogue word by word."""

from __future__ import annotations

import time

from popbox import ledger
from popbox.clients import smtp
from popbox.errors import PopboxError
from popbox.hosts.readiness import left
from popbox.journey.join.rules import ask
from popbox.ledger.sent import Sent
from popbox.result import Observation
from popbox.run.context import Context
from popbox.run.verbs.dialogue import dialogue
from popbox.scenario.steps import Send

DEFAULT_TEXT = """\
From: popbox <{sender}>
To: {to}
Subject: a test message of popbox

This message was sent to prove that it arrives.
.This line begins with a dot, which SMTP and POP3 double on the way and undouble at its end.
"""


def send(context: Context, spec: Send, deadline: float) -> Observation:
    """Send over SMTP, or prove a refusal."""
    token = context.variables[spec.id] = ledger.new_token()
    if spec.dialogue:
        return dialogue(context, spec.id, spec.dialogue, token, deadline)
    receipt = _offer(context, spec, token, ledger.stamp(_message(context, spec), token), deadline)
    evidence = {"token": token, "decided at": receipt.command}
    if receipt.accepted:
        context.sent[spec.id] = context.offered[-1]
        said = f"{receipt.reply} for {', '.join(spec.to)}"
    else:
        said = f"refused at {receipt.command}: {receipt.reply}"
    passed, hint = _judge(context, spec, receipt)
    return Observation(passed=passed, said=said, hint=hint, transcript=receipt.transcript, evidence=evidence)


def _message(context: Context, spec: Send) -> bytes:
    """The octets to send, with LF line ends."""
    if spec.mail:
        return context.file.message(spec.mail).replace(b"\r\n", b"\n")
    text = context.text(spec.text or "") or DEFAULT_TEXT.format(sender=spec.sender, to=", ".join(spec.to))
    return text.encode()


def _offer(context: Context, spec: Send, token: str, octets: bytes, deadline: float) -> smtp.Receipt:
    """Send it and note it for the ledger, also where the conversation breaks.

    Raises:
        ConnectionFailed: the peer closed or broke the connection.
        StepTimeout: a reply did not come in time.
    """
    asked = time.monotonic()
    routes = tuple(ask(context.host, one) for one in spec.to)
    context.look_first(routes)
    deadline += time.monotonic() - asked  # the server is not charged for that time
    note = Sent(spec.id, token, octets, spec.sender, tuple(spec.to), routes, context.step)
    context.offered.append(note)
    began = time.monotonic()
    try:
        note.receipt = smtp.deliver(context.host.address("smtp"), spec.sender, note.recipients, octets, left(deadline))
    except PopboxError as error:
        note.broke = error
        note.took_s = time.monotonic() - began
        raise
    note.took_s = note.receipt.took_s
    return note.receipt


def _judge(context: Context, spec: Send, receipt: smtp.Receipt) -> tuple[bool, str]:
    """Whether it went as the step says, and what to look at when not."""
    if spec.refused is None:
        explained = "" if receipt.accepted else context.host.run("explain", "--", spec.to[0]).stdout.strip()
        return receipt.accepted, explained
    passed = not receipt.accepted and str(receipt.reply).startswith(spec.refused)
    return passed, "" if passed else f"a refusal that starts with {spec.refused!r} was expected"
