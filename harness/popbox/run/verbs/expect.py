"""Verbs about what became of a message: expect-delivered, expect-nothing, expect-bounce, expect-deferred."""

from __future__ import annotations

from popbox.clients.wire import readable
from popbox.hosts.base import Found
from popbox.hosts.readiness import wait_until
from popbox.journey.model import Attempt
from popbox.ledger.sent import Sent
from popbox.result import Observation
from popbox.run.context import Context
from popbox.scenario.steps import AboutMessage, ExpectBounce, ExpectDeferred, ExpectDelivered, ExpectNothing


def _sent(context: Context, spec: AboutMessage) -> Sent | Observation:
    sent = context.sent.get(spec.message)
    return sent or Observation(passed=False, said=f"message {spec.message!r} was never accepted")


def _dead(context: Context) -> bool:
    return bool(context.host.alive("smtp"))


def delivered(context: Context, spec: ExpectDelivered, deadline: float) -> Observation:
    """Wait until the message lies in the mailbox's Maildir, then check that it is there once, complete, popuser's."""
    sent = _sent(context, spec)
    if isinstance(sent, Observation):
        return sent
    maildir = context.maildir(spec.mailbox)
    wait_until(lambda: bool(context.find(maildir, sent.token)) or _dead(context), deadline)
    found = context.find(maildir, sent.token)
    if not found:
        said = f"no file in {maildir}/new or cur holds the token; {context.tracker.verdict(sent)}"
        return Observation(passed=False, said=said, hint="" if _dead(context) else _explained(context, spec.mailbox))
    context.visible_at = max(context.visible_at, *(int(one.entry.mtime) + 1.0 for one in found))
    return _looked_at(found, maildir, sent, context.host.uid)


def _explained(context: Context, address: str) -> str:
    return context.host.run("explain", "--", address).stdout.strip()


def _looked_at(found: list[Found], maildir: str, sent: Sent, uid: int) -> Observation:
    faults = _faults(found, sent, uid)
    entry = found[0].entry
    owner = f"{entry.uid}:{entry.gid}"
    evidence = {"file": f"{maildir}/{entry.path}", "size": str(entry.size), "mode": f"{entry.mode:04o}", "owner": owner}
    if not faults:
        evidence["header added"] = readable(found[0].octets[: -len(sent.octets)])
    said = "; ".join(faults) or f"one file, {entry.size} octets, mode {entry.mode:04o}, owner {owner}: {entry.path}"
    return Observation(passed=not faults, said=said, evidence=evidence)


def _faults(found: list[Found], sent: Sent, uid: int) -> list[str]:
    paths = [one.entry.path for one in found]
    faults = [f"delivered {len(found)} times: {', '.join(paths)}"] if len(found) > 1 else []
    for one in found:
        if not one.octets.endswith(sent.octets):
            faults.append(f"{one.entry.path} does not end with the octets that were sent")
        if one.entry.uid != uid:
            faults.append(f"{one.entry.path} belongs to uid {one.entry.uid}, not {uid}")
        if one.entry.mode & 0o077:
            faults.append(f"{one.entry.path} has mode {one.entry.mode:04o}: others may read it")
    return faults


def nothing(context: Context, spec: ExpectNothing, deadline: float) -> Observation:
    """Wait until the MTA has ended the message; only then is an empty mailbox a proof."""
    sent = _sent(context, spec)
    if isinstance(sent, Observation):
        return sent
    if not wait_until(lambda: context.tracker.ended(sent), deadline):
        said = f"the MTA is not done with the message: {context.tracker.verdict(sent)}"
        return Observation(passed=False, said=said)
    maildir = context.maildir(spec.mailbox)
    paths = [one.entry.path for one in context.find(maildir, sent.token)]
    said = f"{maildir} holds it: {', '.join(paths)}" if paths else f"the MTA is done, and {maildir} does not hold it"
    return Observation(passed=not paths, said=f"{said}; {context.tracker.verdict(sent)}")


def bounce(context: Context, spec: ExpectBounce, deadline: float) -> Observation:
    """Wait for a bounce of the message in its sender's own mailbox."""
    sent = _sent(context, spec)
    if isinstance(sent, Observation):
        return sent
    maildir = context.maildir(spec.mailbox)

    def bounces() -> list[Found]:
        return [one for one in context.find(maildir, sent.token) if one.octets.startswith(b"Return-Path: <>\n")]

    wait_until(lambda: bool(bounces()) or _dead(context), deadline)
    found = bounces()
    if not found:
        said = f"no bounce in {maildir}; {context.tracker.verdict(sent)}"
        return Observation(passed=False, said=said)
    report = readable(found[0].octets).partition("\n--- ")[0]
    passed = len(found) == 1 and context.search(spec.says, report) is not None
    said = f"{len(found)} bounce(s) in {maildir}: {found[0].entry.path}"
    hint = "" if passed else f"one bounce that matches {spec.says!r} was expected; it says:\n{report}"
    return Observation(passed=passed, said=said, hint=hint, evidence={"report": report})


def deferred(context: Context, spec: ExpectDeferred, deadline: float) -> Observation:
    """Wait until the log says that a delivery of the message was deferred, in the words expected."""
    sent = _sent(context, spec)
    if isinstance(sent, Observation):
        return sent

    def put_off() -> list[Attempt]:
        return [one for one in context.tracker.attempts(sent) if one.outcome == "deferral"]

    wait_until(lambda: bool(put_off()) or context.tracker.ended(sent), deadline)
    said = context.tracker.verdict(sent)
    passed = any(context.search(spec.says, one.said) for one in put_off())
    return Observation(
        passed=passed, said=said, hint="" if passed else f"a deferral that matches {spec.says!r} was expected"
    )
