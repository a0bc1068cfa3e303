"""Advice on a route in plain words: the pitfalls of the HOWTO and of qmail, each with its fact id."""

from __future__ import annotations

from pathlib import Path

from mailhost.qmail.control import load
from mailhost.qmail.controlfile import ControlError
from mailhost.qmail.hints import box, routing
from mailhost.qmail.hints.hint import Hint
from mailhost.qmail.route import Route

__all__ = ["Hint", "hints"]


def hints(home: Path, route: Route) -> tuple[Hint, ...]:
    """What an operator should know about this route, most useful first. Each forwarded copy has its own hints."""
    try:
        controls = load(home)
    except ControlError as error:
        return (Hint("Q-SMTP-4", f"{error.file} {error.rule}; an unreadable control file stops all mail"),)
    found = (hint for rule in (*routing.RULES, *box.RULES, *routing.LAST) for hint in rule(controls, route))
    return tuple(dict.fromkeys(found))
