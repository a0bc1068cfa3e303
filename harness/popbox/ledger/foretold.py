"""Which end of a message is right: what the rules foretold before it was sent, and what the scenario says of it."""

from __future__ import annotations

from dataclasses import dataclass

from popbox.breakage import Break
from popbox.ledger.expect import Route
from popbox.proof import Fate
from popbox.steps import AboutMessage, Send, Step, Write

UNREACHED = frozenset({Fate.QUEUE, Fate.DEFERRED, Fate.BOUNCED, Fate.REMOTE, Fate.DISCARDED})
HONEST = UNREACHED | {Fate.ONCE, Fate.SMTP}  # the others contradict what the mail host itself says

# outcome of `mailhost explain` -> ends that agree with it
OUTCOMES: dict[str, frozenset[Fate]] = {
    "delivered": frozenset({Fate.ONCE}),
    "discarded": frozenset({Fate.DISCARDED}),
    "remote": UNREACHED,  # how the other host answers is not foretold
    "refused": frozenset({Fate.SMTP}),
    "bounced": frozenset({Fate.BOUNCED}),
    "deferred": frozenset({Fate.DEFERRED, Fate.BOUNCED}),
    "unknown": HONEST,
}
# verb of a step that passed -> ends that it speaks for
CLAIMS: dict[str, frozenset[Fate]] = {
    "expect-delivered": frozenset({Fate.ONCE}),
    "expect-retrieved": frozenset({Fate.ONCE}),
    "expect-nothing": UNREACHED,
    "expect-bounce": frozenset({Fate.BOUNCED}),
    "expect-deferred": frozenset({Fate.QUEUE, Fate.DEFERRED}),
}
READ_AT_HUP = ("control/virtualdomains", "control/locals")  # qmail-send(8); `explain` reads them as they are


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was taken, and whether it passed."""

    number: int
    step: Step
    passed: bool


@dataclass(frozen=True, slots=True)
class Foretold:
    """The ends that are right, in words for the report, and whether the places that ``explain`` named must hold it."""

    fates: frozenset[Fate]
    said: str
    bound: bool


def foretell(taken: list[Taken], number: int, routes: tuple[Route, ...]) -> Foretold:
    """For the message that step ``number`` sent."""
    before, send = [one for one in taken if one.number < number], _step(taken, number)
    if send and send.refused is not None:
        return Foretold(frozenset({Fate.SMTP}), f"refused with {send.refused!r}, by step {number}", bound=False)
    stale = _unread(before)
    fates = set(HONEST) if stale else {fate for route in routes for fate in _ends(route)}
    words = [stale or _rules_say(routes)]
    for one in (one for one in taken if one.number > number and send):
        if claimed := _claims(one.step, send.id if send else "", routes):
            fates = fates | claimed if one.passed else set(claimed)
            words.append(f"step {one.number} {one.step.verb}{'' if one.passed else ', which failed'}")
    if send and send.dialogue:
        fates = fates | {Fate.SMTP}  # the dialogue itself says which answer it wants
    else:
        fates -= {Fate.SMTP} if send else set()  # the step itself asks for an acceptance
    open_ = stale or any(route.outcome in ("unknown", "deferred") for route in routes)  # deferred: until it is mended
    return Foretold(frozenset(fates), "; ".join(words), bound=not open_)


def _step(taken: list[Taken], number: int) -> Send | None:
    found = [one.step.spec for one in taken if one.number == number]
    return found[0] if found and isinstance(found[0], Send) else None


def _claims(step: Step, message: str, routes: tuple[Route, ...]) -> frozenset[Fate]:
    """Ends that a step speaks for, if it is about that message; one that removes its Maildir speaks for a loss."""
    if isinstance(step.spec, AboutMessage) and step.spec.message == message:
        return CLAIMS.get(step.verb, frozenset())
    if isinstance(step.spec, Break) and step.spec.remove and _under(routes, step.spec.remove):
        return frozenset({Fate.LOST})
    return frozenset()


def _ends(route: Route) -> frozenset[Fate]:
    return OUTCOMES.get(route.outcome, HONEST) | (UNREACHED if route.elsewhere else frozenset())


def _rules_say(routes: tuple[Route, ...]) -> str:
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
            why = f"not foretold: step {one.number} changed {changed[0]}, and no HUP yet"
        elif one.step.verb in ("hup", "restart", "declare"):
            why = ""
    return why


def _under(routes: tuple[Route, ...], removed: str) -> bool:
    return any(f"{place}/".startswith(f"{removed.rstrip('/')}/") for route in routes for place in route.places)
