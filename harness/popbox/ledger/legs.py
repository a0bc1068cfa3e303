"""The four legs of a proof, each with one line and its details, from the evidence of one message. Pure."""

from __future__ import annotations

from popbox.journey.join.maillog import stamp
from popbox.ledger.copies import Stored
from popbox.ledger.expectation import Expectation
from popbox.ledger.judge import Evidence, served_whole
from popbox.ledger.pickup import RetrievedMessage
from popbox.ledger.proof import Disposition, LegStatus, MaildirLeg, Pop3Leg, QueueLeg, SmtpLeg
from popbox.ledger.sent import Sent

Fetched = dict[str, list[RetrievedMessage] | str]
LONGEST_S = 86_400.0  # our choice: beyond a day, or before the send, two clocks disagree and no time is shown
TICK_S = 0.02  # a file's time is that of the kernel's last tick (4 to 10 ms), so it may lie before the send
IN_MAILDIR = {
    Disposition.LOST,
    Disposition.DOUBLED,
    Disposition.CORRUPTED,
    Disposition.WRONG_PLACE,
    Disposition.WRONG_OWNER,
    Disposition.WRONG_MODE,
}


def legs(
    sent: Sent, seen: Evidence, right: Expectation, fate: Disposition, why: str, fetched: Fetched
) -> tuple[SmtpLeg, QueueLeg, MaildirLeg, Pop3Leg]:
    """All four, in order from SMTP to POP3."""
    return (
        _smtp(sent, right),
        _queue(sent, seen, right, fate, why),
        _maildir(sent, seen, right, fate, why),
        _pop3(sent, seen, fate, fetched),
    )


def _since(sent: Sent, at: float | None) -> float | None:
    """Seconds since the send began."""
    after_s = None if at is None else at - sent.at
    return round(max(0.0, after_s), 6) if after_s is not None and -TICK_S <= after_s <= LONGEST_S else None


def _smtp(sent: Sent, right: Expectation) -> SmtpLeg:
    wanted = sent.accepted or Disposition.SMTP in right.fates
    if sent.receipt is None:
        said = f"the conversation broke: {sent.broke}"
        transcript = sent.broke.transcript if sent.broke else ()
        return SmtpLeg(verdict=LegStatus.FAILED, said=said, at_s=sent.took_s, transcript=transcript)
    receipt = sent.receipt
    said = sent.reply if sent.accepted else f"refused at {receipt.command}: {sent.reply}"
    return SmtpLeg(
        verdict=LegStatus.PASSED if wanted else LegStatus.FAILED,
        said=said,
        at_s=sent.took_s,
        command=receipt.command,
        reply=sent.reply,
        transcript=receipt.transcript,
    )


def _queue(sent: Sent, seen: Evidence, right: Expectation, fate: Disposition, why: str) -> QueueLeg:
    if not sent.accepted:
        return QueueLeg(verdict=LegStatus.NOT_LOOKED_AT, said="SMTP did not take it")
    if seen.no_log:
        return QueueLeg(verdict=LegStatus.NOT_LOOKED_AT, said=seen.no_log)
    ended = bool(seen.lines) and all(one.ended_at is not None for one in seen.family)
    stuck = fate in (
        Disposition.QUEUE,
        Disposition.DEFERRED,
        Disposition.BOUNCED,
        Disposition.REMOTE,
        Disposition.DISCARDED,
    )
    said = f"{fate.value}: {why}" if stuck else "; ".join(f"{one.recipient}: {one.outcome}" for one in seen.attempts())
    return QueueLeg(
        verdict=LegStatus.FAILED if stuck and fate not in right.fates else LegStatus.PASSED,
        said=said or "nothing is logged of it",
        at_s=_since(sent, stamp(seen.lines[-1])) if ended else None,
        log=seen.lines,
    )


def _maildir(sent: Sent, seen: Evidence, right: Expectation, fate: Disposition, why: str) -> MaildirLeg:
    expected = seen.expected or ()
    shown = tuple(one.shown() for one in [*seen.stored, *seen.bounces])
    if seen.no_files:
        return MaildirLeg(verdict=LegStatus.NOT_LOOKED_AT, said=seen.no_files, expected=expected)
    missing = bool(expected) and not seen.stored and not any(one.deleted for one in seen.handed)
    failed = (fate in IN_MAILDIR or missing) and fate not in right.fates
    return MaildirLeg(
        verdict=LegStatus.FAILED if failed else LegStatus.PASSED,
        said=why if fate in IN_MAILDIR else _lies(seen.stored, seen.bounces),
        at_s=_since(sent, max((one.entry.mtime for one in seen.stored), default=None)),
        expected=expected,
        copies=shown,
    )


def _lies(stored: list[Stored], bounces: list[Stored]) -> str:
    lines = [
        f"{one.entry.path}: {one.entry.size} octets, mode {one.entry.mode:04o}, owner {one.entry.uid}:{one.entry.gid}"
        for one in stored
    ]
    lines += [f"its bounce: {one.entry.path}" for one in bounces]
    return "; ".join(lines) or "no file below popboxes/ holds it"


def _pop3(sent: Sent, seen: Evidence, fate: Disposition, fetched: Fetched) -> Pop3Leg:
    retrieved = tuple(one.shown() for one in seen.handed)
    broken = [one for one in seen.handed if one.fault() or not served_whole(one, seen)]
    if broken or fate is Disposition.POP3 or (fate is Disposition.DOUBLED and seen.no_files):
        said = seen.unserved[0] if seen.unserved else "; ".join([_handed(broken or seen.handed), *seen.twins])
        return Pop3Leg(verdict=LegStatus.FAILED, said=said, retrieved=retrieved)
    if seen.handed:
        at_s = _since(sent, min(one.at for one in seen.handed))
        return Pop3Leg(verdict=LegStatus.PASSED, said=_handed(seen.handed), at_s=at_s, retrieved=retrieved)
    return Pop3Leg(verdict=LegStatus.NOT_LOOKED_AT, said=_not_fetched(seen, fetched))


def _handed(handed: list[RetrievedMessage]) -> str:
    said = []
    for one in handed:
        wrong = one.fault()
        who = f"RETR {one.number} of {one.login or 'an unknown login'} ({one.by})"
        said.append(f"{who}: {wrong}" if wrong else who)
    return "; ".join(said)


def _not_fetched(seen: Evidence, fetched: Fetched) -> str:
    boxes = sorted({one.place.removesuffix("/Maildir") for one in seen.stored if one.kind == "maildir"})
    if not boxes:
        return "POP3 hands out Maildirs, no mbox files" if seen.stored else "there is nothing to hand out"
    reasons = [said for box in boxes if isinstance(said := fetched.get(box), str)]
    return "; ".join(reasons) or f"no login with a known password leads to {', '.join(boxes)}"
