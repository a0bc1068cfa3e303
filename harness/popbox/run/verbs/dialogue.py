"""An SMTP session word by word: the message in it gets its token, and the ledger what was handed over."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from popbox.clients.smtp import Receipt, Reply
from popbox.clients.wire import Logged, Wire
from popbox.hosts.readiness import left
from popbox.journey.join.rules import ask
from popbox.ledger import TOKEN_FIELD
from popbox.ledger.sent import Sent
from popbox.printable import counted
from popbox.result import Observation
from popbox.run.context import Context
from popbox.run.verbs.play import play

PATH = re.compile(r"(MAIL FROM|RCPT TO):\s*<(.*?)>", re.IGNORECASE)


@dataclass(slots=True)
class Submission:
    """What a session handed over: the envelope as accepted, the content with LF line ends, the reply to it."""

    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    command: str = "connect"
    reply: str = ""

    @property
    def octets(self) -> bytes:
        """The message, its dots undone (RFC 5321 §4.5.2)."""
        return b"".join((line[1:] if line.startswith(b".") else line) + b"\n" for line in self.lines)


def dialogue(context: Context, name: str, transcript: str, token: str, deadline: float) -> Observation:
    """Play it; the token becomes the first header line of what follows a 354."""
    addresses = [path for verb, path in PATH.findall(transcript) if verb.upper() == "RCPT TO"]
    asked = time.monotonic()
    context.look_first(tuple(ask(context.host, one) for one in addresses if "${" not in one))
    began, began_at = time.monotonic(), time.time()
    deadline += began - asked  # the server is not charged for that time
    with Wire(context.host.address("smtp"), left(deadline)) as wire:
        differs, hint = play(context, wire, transcript, deadline, lambda played: _stamp(played, token))
    submitted = submission(wire.log)
    if submitted.lines:
        recipients = tuple(submitted.recipients)
        routes = tuple(ask(context.host, one) for one in recipients)
        sent = Sent(name, token, submitted.octets, submitted.sender, recipients, routes, context.step, began_at)
        sent.took_s = time.monotonic() - began
        code = submitted.reply[:3]
        reply = Reply(int(code) if code.isdigit() else 0, (submitted.reply[4:],))
        sent.receipt = Receipt(reply.ok, submitted.command, reply, wire.transcript())
        context.offered.append(sent)
        if sent.accepted:
            context.sent[name] = sent
    said = differs or f"{counted(len(wire.log), 'line')} as expected; the last answer: {submitted.reply}"
    evidence = {"token": token, "decided at": submitted.command}
    return Observation(passed=not differs, said=said, hint=hint, transcript=wire.transcript(), evidence=evidence)


def _stamp(wire: Wire, token: str) -> None:
    """After 354, before the author's first line."""
    asked = [one.text.upper() for one in wire.log if one.side == "C"]
    if asked[-1:] == ["DATA"] and wire.log[-1].text.startswith("354"):
        wire.send_line(f"{TOKEN_FIELD}: {token}".encode())


def submission(log: Iterable[Logged]) -> Submission:
    """Read an SMTP session from its log, up to the answer to its first message."""
    submitted, within = Submission(), False
    for one in log:
        if one.side == "C" and within:
            submitted.lines += [one.octets] if one.octets != b"." else []
        elif one.side == "C":
            submitted.command = one.text
        else:
            submitted.reply = one.text
            if within:
                break
            within = _answered(submitted)
    return submitted


def _answered(submitted: Submission) -> bool:
    """Note what the last reply means; whether message lines follow."""
    path = PATH.match(submitted.command)
    if path and submitted.reply.startswith("250"):
        if path.group(1).upper() == "MAIL FROM":
            submitted.sender, submitted.recipients = path.group(2), []
        else:
            submitted.recipients.append(path.group(2))
    return submitted.command.upper() == "DATA" and submitted.reply.startswith("354")
