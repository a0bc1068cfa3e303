"""`mailhost lint`: all files as one set, looked at by qmail's own rules.

Only this package within `accounts` uses `mailhost.qmail`: what the writers write is judged by an independent reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailhost.accounts import sender
from mailhost.accounts.edit import LOCALS
from mailhost.accounts.errors import BusyError
from mailhost.accounts.journal import Hands
from mailhost.accounts.layout import Layout, require
from mailhost.accounts.lint import assign, boxes, control, logins
from mailhost.accounts.lint.facts import Facts, Finding, gather
from mailhost.accounts.transaction import Transaction
from mailhost.accounts.tree import rebuild

RULES: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    *control.RULES,
    *assign.RULES,
    *boxes.RULES,
    *logins.RULES,
)


def lint(layout: Layout) -> list[Finding]:
    """Every finding, errors first, then by file and line.

    Raises:
        BusyError: there is no such home.
    """
    require(layout.home)
    facts = gather(layout)
    found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda f: (f.level != "error", f.file, f.line, f.rule))


def fix(findings: list[Finding], hands: Hands) -> list[Finding]:
    """Mend what has one right answer; returns what was mended. The tables are made anew last, once.

    Raises:
        BusyError: the system refuses one; those before it are done.
        InputError, HostError: as `tree.rebuild`.
    """
    layout = hands.layout
    mended = [finding for finding in findings if finding.mend is not None]
    with Transaction(hands):
        for finding in mended:
            try:
                finding.mend() if finding.mend is not None else None
            except OSError as why:
                raise BusyError(f"{finding.file}: cannot be mended: {why.strerror}") from why
        if any(finding.file == LOCALS for finding in mended):
            sender.hup(layout.home)
    again = [finding for finding in lint(layout) if finding.rebuild]
    if again:
        rebuild(hands)
    return mended + again
