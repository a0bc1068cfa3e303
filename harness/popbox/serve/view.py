"""Journeys as a request may see them: in a space only what belongs to it. Pure."""

from __future__ import annotations

from dataclasses import replace

from popbox.journey.derive import legs_of, worst
from popbox.journey.model import Journey, Message, Recipient
from popbox.serve.space import Space


def seen(journey: Journey, within: Space | None) -> Journey | None:
    """The journey as it is shown in a space; None where nothing of it belongs there.

    Recipients of other domains are left out, and messages without any other; end and legs are then those of what is
    left. A bounce is shown below a message that is shown whole, since it tells of that one's recipients only.
    """
    if within is None:
        return journey
    shown: dict[int, Message] = {}
    whole: set[int] = set()
    for message in (journey.message, *journey.copies):
        ours = tuple(one for one in message.recipients if within.holds(one.address))
        bounced = message.relation in ("bounce", "double bounce") and message.parent in whole
        if ours or bounced:
            shown[message.id] = message if bounced else replace(message, recipients=ours, sent=None)
            if bounced or len(ours) == len(message.recipients):
                whole.add(message.id)
    if not shown:
        return None
    root = shown.pop(journey.id, None) or replace(journey.message, recipients=(), sent=None)
    hidden = len(whole) < 1 + len(journey.copies)
    return _part(journey, root, tuple(shown.values())) if hidden else journey


def _part(journey: Journey, root: Message, copies: tuple[Message, ...]) -> Journey:
    recipients = root.recipients or tuple(one for copy in copies for one in copy.recipients)
    end, why = worst(recipients) if recipients else (journey.end, "")
    legs = legs_of(root) if root.recipients else legs_of(replace(root, recipients=recipients))
    return replace(journey, message=root, copies=copies, legs=legs, end=end, why=why, alarms=())


def addresses(recipient: Recipient) -> set[str]:
    """What a recipient is called, in lower case: as the envelope has it, and as the MTA's log has it."""
    return {recipient.address.lower(), recipient.routed.lower()}
