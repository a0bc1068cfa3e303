"""All pages that change something."""

from __future__ import annotations

from fastapi import APIRouter

from popbox.serve.console.acts.enter import entering
from popbox.serve.console.acts.faults import breaking
from popbox.serve.console.acts.move import moves
from popbox.serve.console.acts.scenarios import playing
from popbox.serve.console.acts.send import sending
from popbox.serve.console.acts.telnet import talking
from popbox.serve.console.render import Pages
from popbox.serve.live import Live
from popbox.serve.move.handed import Moving
from popbox.serve.rules import Rules
from popbox.serve.sessions import Sessions
from popbox.serve.writes.all import Lasting


def acts(
    live: Live, rules: Rules, pages: Pages, sessions: Sessions | None, lasting: Lasting, moving: Moving
) -> tuple[APIRouter, ...]:
    """The routers; ``sessions`` is None where there are no writes."""
    asking = (entering(rules, pages, sessions), sending(live, pages), breaking(live, pages, lasting.broken))
    by_hand = (talking(live, pages, lasting.talks), playing(live, pages, lasting))
    return *asking, *by_hand, moves(live, pages, moving)
