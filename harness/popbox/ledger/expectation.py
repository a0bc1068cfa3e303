"""Which end of a message is right: what the rules said before it was sent, and what the scenario says of it."""

from __future__ import annotations

from dataclasses import dataclass

from popbox.journey.model import Foretold
from popbox.ledger.proof import Disposition
from popbox.scenario.faults import Break
from popbox.scenario.steps import AboutMessage, Send, Step, Write

UNREACHED = frozenset(
    {Disposition.QUEUE, Disposition.DEFERRED, Disposition.BOUNCED, Disposition.REMOTE, Disposition.DISCARDED}
)
HONEST = UNREACHED | {Disposition.ONCE, Disposition.SMTP}  # the others contradict what the mail host itself says

# outcome of `mailhost explain` -> ends that agree with it
OUTCOMES: dict[str, frozenset[Disposition]] = {
    "delivered": frozenset({Disposition.ONCE}),
    "discarded": frozenset({Disposition.DISCARDED}),
    "remote": UNREACHED,  # the answer of the other host is unknown
    "refused": frozenset({Disposition.SMTP}),
    "bounced": frozenset({Disposition.BOUNCED}),
    "deferred": frozenset({Disposition.DEFERRED, Disposition.BOUNCED}),
    "unknown": HONEST,
}
# verb of a step that passed -> ends that it speaks for
CLAIMS: dict[str, frozenset[Disposition]] = {
    "expect-delivered": frozenset({Disposition.ONCE}),
    "expect-retrieved": frozenset({Disposition.ONCE}),
    "expect-nothing": UNREACHED,
    "expect-bounce": frozenset({Disposition.BOUNCED}),
    "expect-deferred": frozenset({Disposition.QUEUE, Disposition.DEFERRED}),
}
READ_AT_HUP = ("control/virtualdomains", "control/locals")  # qmail-send(8); `explain` reads them as they are


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was taken, and whether it passed."""

    number: int
    step: Step
    passed: bool


@dataclass(frozen=True, slots=True)
class Expectation:
    """The ends that are right, in words for the report, and whether the places that ``explain`` named must hold it."""

    fates: frozenset[Disposition]
    said: str
    bound: bool


def expectation(taken: list[Taken], number: int, routes: tuple[Foretold, ...]) -> Expectation:
    """For the message that step ``number`` sent."""
    before, send = [one for one in taken if one.number < number], _step(taken, number)
    if send and send.refused is not None:
        return Expectation(
            frozenset({Disposition.SMTP}), f"refused with {send.refused!r}, by step {number}", bound=False
        )
    stale = _unread(before)
    fates = set(HONEST) if stale else {fate for route in routes for fate in _ends(route)}
    words = [stale or _rules_say(routes)]
    for one in (one for one in taken if one.number > number and send):
        if claimed := _claims(one.step, send.id if send else "", routes):
            fates = fates | claimed if one.passed else set(claimed)
            words.append(f"step {one.number} {one.step.verb}{'' if one.passed else ', which failed'}")
    if send and send.dialogue:
        fates = fates | {Disposition.SMTP}  # the dialogue itself says which answer it wants
    else:
        fates -= {Disposition.SMTP} if send else set()  # the step itself asks for an acceptance
    open_ = stale or any(route.outcome in ("unknown", "deferred") for route in routes)  # deferred: until it is mended
    return Expectation(frozenset(fates), "; ".join(words), bound=not open_)


def _step(taken: list[Taken], number: int) -> Send | None:
    found = [one.step.spec for one in taken if one.number == number]
    return found[0] if found and isinstance(found[0], Send) else None


def _claims(step: Step, message: str, routes: tuple[Foretold, ...]) -> frozenset[Disposition]:
    """Ends that a step speaks for, if it is about that message; one that removes its Maildir speaks for a loss."""
    if isinstance(step.spec, AboutMessage) and step.spec.message == message:
        return CLAIMS.get(step.verb, frozenset())
    if isinstance(step.spec, Break) and step.spec.remove and _under(routes, step.spec.remove):
        return frozenset({Disposition.LOST})
    return frozenset()


def _ends(route: Foretold) -> frozenset[Disposition]:
    return OUTCOMES.get(route.outcome, HONEST) | (UNREACHED if route.elsewhere else frozenset())


def _rules_say(routes: tuple[Foretold, ...]) -> str:
    """``joe@domain.com: delivered, popboxes/domain-com/joe/Maildir``, for each recipient."""
    said = []
    for route in routes:
        where = [*route.places, *route.elsewhere] if route.outcome == "delivered" else [route.why]
        said.append(f"{route.address}: {', '.join([route.outcome, *(one for one in where if one)])}")
    return f"{'; '.join(said)} (mailhost explain)"


def _unread(before: list[Taken]) -> str:
    """Why the MTA may not know what the files say; empty when it does. ``mailhost`` itself sends HUP (H-3)."""
    why = ""
    for one in before:
        spec = one.step.spec
        paths = [spec.path] if isinstance(spec, Write) else []
        if isinstance(spec, Break):
            paths += [spec.remove or "", *(spec.drop_line or {})]
        if changed := [path for path in paths if path in READ_AT_HUP]:
            why = f"no expectation: step {one.number} changed {changed[0]}, and no HUP yet"
        elif one.step.verb in ("hup", "restart", "declare"):
            why = ""
    return why


def _under(routes: tuple[Foretold, ...], removed: str) -> bool:
    return any(f"{place}/".startswith(f"{removed.rstrip('/')}/") for route in routes for place in route.places)
