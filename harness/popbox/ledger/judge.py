"""Where a message is and why, from all evidence: delivered exactly once, or the place where it is stuck. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from popbox.journey.model import Attempt, Message
from popbox.ledger.copies import Stored, fault, whole
from popbox.ledger.pickup import RetrievedMessage
from popbox.ledger.proof import Disposition


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one accepted message. A reason in ``no_log`` or ``no_files`` says why that was not read."""

    octets: bytes
    family: list[Message]  # it, and its forwarded copies
    stored: list[Stored]
    bounces: list[Stored]  # reports that hold it
    handed: list[RetrievedMessage]
    expected: tuple[str, ...] | None  # a place for each copy that must be there; None: unknown
    uid: int
    no_log: str = ""
    no_files: str = ""
    dead: str = ""  # how the MTA's process ended, if it did
    unserved: tuple[str, ...] = ()  # boxes that hold it and whose POP3 does not, in words
    unreadable: tuple[str, ...] = ()  # files below popboxes/ that even popuser cannot read
    lines: tuple[str, ...] = ()  # what the log says of the family
    twins: tuple[str, ...] = ()  # what is new in its boxes, has its lines, and carries no token of this run; in words

    def attempts(self) -> list[Attempt]:
        """All delivery attempts, those of forwarded copies too."""
        return [attempt for message in self.family for attempt in message.attempts]


Judgement = tuple[Disposition, str]


def judge(seen: Evidence) -> Judgement:
    """The fate and the reason; the worst finding wins."""
    if seen.no_files:
        return _without_files(seen)
    for stored in seen.stored:
        if wrong := fault(stored, seen.octets, seen.uid):
            return wrong
    return _twins(seen) or _accounted(seen) or _served(seen) or _unfinished(seen)


def _without_files(seen: Evidence) -> Judgement:
    """A host that does not show its files: POP3 and the log are all there is."""
    if doubled := _handed_twice(seen, 1):
        return Disposition.DOUBLED, doubled
    if wrong := _twins(seen) or _served(seen):
        return wrong
    if seen.handed:
        return Disposition.ONCE, f"POP3 hands it out once; the files were not looked at: {seen.no_files}"
    if seen.no_log:
        return Disposition.UNKNOWN, f"no log: {seen.no_log}; no files: {seen.no_files}"
    fate, why = _unfinished(seen)
    if fate is Disposition.DISCARDED and seen.expected != ():  # the log alone does not say where it lies
        return (
            Disposition.UNKNOWN,
            f"{_success(seen)}, and its place is unknown: {seen.no_files}; POP3 was not asked for it",
        )
    return fate, why


def _twins(seen: Evidence) -> Judgement | None:
    """A copy that lost its token: one too many, or the only one of the message."""
    if seen.twins and (seen.stored or seen.handed):
        return Disposition.DOUBLED, f"a second copy, without its token in the header: {'; '.join(seen.twins)}"
    if seen.twins:
        return Disposition.CORRUPTED, f"it came without its token in the header: {'; '.join(seen.twins)}"
    return None


def _accounted(seen: Evidence) -> Judgement | None:
    """Copies that are too few or too many, against the places expected, or against the log."""
    found = Counter(one.place for one in seen.stored)
    taken = sum(one.deleted for one in seen.handed)
    if seen.expected is None:
        said_kept = sum(one.kept or 0 for one in seen.attempts())
        return _counted(seen, found, said_kept - taken) if not seen.no_log else None
    wanted = Counter(seen.expected)
    missing, extra = list((wanted - found).elements())[taken:], list((found - wanted).elements())
    if extra and (missing or set(extra) - set(wanted)):
        instead = f", and not in {', '.join(missing)}" if missing else ""
        return Disposition.WRONG_PLACE, f"it lies in {', '.join(extra)}{instead}"
    if extra:
        return Disposition.DOUBLED, _twice(seen, found)
    if missing and (_all_succeeded(seen) or seen.no_log):
        return Disposition.LOST, f"{_success(seen)}, but no file in {', '.join(missing)} holds it{_unread(seen)}"
    return None


def _counted(seen: Evidence, found: Counter[str], wanted: int) -> Judgement | None:
    if found.total() > wanted:
        return Disposition.DOUBLED, _twice(seen, found)
    if found.total() < wanted:
        return Disposition.LOST, f"{_success(seen)}, but {found.total()} of {wanted} copies are there{_unread(seen)}"
    return None


def _twice(seen: Evidence, found: Counter[str]) -> str:
    paths = [one.entry.path for one in seen.stored]
    return f"{found.total()} files hold it: {', '.join(paths)}"


def _success(seen: Evidence) -> str:
    words = [f"{one.recipient}: success{f': {one.said}' if one.said else ''}" for one in seen.attempts()]
    return f"the MTA logged {'; '.join(words)}" if words else "the MTA took it"


def _unread(seen: Evidence) -> str:
    return f"; only root can read {', '.join(seen.unreadable)}" if seen.unreadable else ""


def _all_succeeded(seen: Evidence) -> bool:
    tried = seen.attempts()
    return (
        bool(tried)
        and all(one.ended_at is not None for one in seen.family)
        and all(one.outcome != "failure" for one in tried)
    )


def _served(seen: Evidence) -> Judgement | None:
    """What POP3 handed out must be what was sent, and one of the files where they are still there."""
    for one in seen.handed:
        words = f"{one.by}, login {one.login}: RETR {one.number}"
        if not served_whole(one, seen):
            return (
                Disposition.POP3,
                f"{words} handed out {len(one.octets)} octets that are not those that were sent and stored",
            )
        if wrong := one.fault():
            return Disposition.POP3, f"{words}: {wrong}"
    if doubled := _handed_twice(seen, max(1, len(seen.stored))):
        return Disposition.POP3, doubled
    return (Disposition.POP3, seen.unserved[0]) if seen.unserved else None


def _handed_twice(seen: Evidence, copies: int) -> str:
    numbers = {(one.by, one.login, one.number) for one in seen.handed}
    sessions = Counter((by, login) for by, login, _number in numbers)
    twice = [f"{by}, login {login}: {times} numbers" for (by, login), times in sessions.items() if times > copies]
    return f"{twice[0]} handed it out in one session" if twice else ""


def served_whole(one: RetrievedMessage, seen: Evidence) -> bool:
    """Whether a RETR gave the message."""
    forms = one.body.forms(one.listed)
    files = [stored.octets for stored in seen.stored if stored.kind == "maildir"]
    return any(whole(form, seen.octets) and (not files or one.deleted or form in files) for form in forms)


def _unfinished(seen: Evidence) -> Judgement:
    """No contradiction: delivered, or where it waits or ended instead."""
    tried = seen.attempts()
    pending = [one for message in seen.family for one in message.pending]
    for outcome, fate in (("running", Disposition.QUEUE), ("deferral", Disposition.DEFERRED)):
        if waiting := [one for one in pending if one.outcome == outcome]:
            times = sum(one.recipient == waiting[-1].recipient for one in tried)
            return fate, f"{waiting[-1].recipient}: {waiting[-1].said or 'a delivery runs'} ({times} attempts)"
    if failed := [one for one in tried if one.outcome == "failure"]:
        return Disposition.BOUNCED, f"{failed[-1].recipient}: {failed[-1].said}"
    if seen.stored or any(one.deleted for one in seen.handed):
        return Disposition.ONCE, _where(seen)
    if remote := [one for one in tried if one.channel == "remote"]:
        return Disposition.REMOTE, f"{remote[-1].recipient}: {remote[-1].said}"
    if tried:
        return Disposition.DISCARDED, f"the instructions keep nothing: {_success(seen)}"
    dead = f"; the MTA: {seen.dead}" if seen.dead else ""
    return Disposition.QUEUE, f"accepted, but the log shows no attempt to deliver it{dead}"


def _where(seen: Evidence) -> str:
    taken = [f"taken away by {one.by} over POP3" for one in seen.handed if one.deleted]
    return "; ".join([f"one file: {one.entry.path}" for one in seen.stored] + taken)
