"""`mailhost lint`: all files as one set, looked at by qmail's own rules.

Only this package within `accounts` uses `mailhost.qmail`: what the writers write is judged by an independent reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailhost.accounts.change import assign as assignfile
from mailhost.accounts.change import journal
from mailhost.accounts.change.edit import LOCALS, RCPTHOSTS
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError
from mailhost.accounts.files.control_lists import Lines
from mailhost.accounts.layout import Layout, require
from mailhost.accounts.lint import assign, boxes, control, forwards, logins, octets, state
from mailhost.accounts.lint.facts import Facts, Finding, gather

RULES: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    *octets.RULES,
    *control.RULES,
    *assign.RULES,
    *boxes.RULES,
    *forwards.RULES,
    *logins.RULES,
    *state.RULES,
)


def lint(layout: Layout, *, machine: bool = False) -> list[Finding]:
    """Every finding, errors first, then by file and line; with ``machine`` none of accounts, and none is read.

    Raises:
        BusyError: there is no such home.
    """
    require(layout.home)
    if machine:
        found = state.state(layout)
    else:
        facts = gather(layout)
        found = [finding for rule in RULES for finding in rule(facts)]
    return sorted(found, key=lambda f: (f.level != "error", f.file, f.line, f.rule))


def fix(shown: list[Finding], hands: HostEffects) -> list[Finding]:
    """Mend what has one right answer, of what was shown and is still so under the lock; returns what was mended.

    Boxes and part files at once, each whole or not at all; then, as one change of the journal, the tables and at last
    control/: no domain is accepted, and none is virtual, before users/cdb leads to its boxes.

    Raises:
        BusyError: some cannot be mended, it says which and why; the others are.
        InputError, HostError: as `tree.rebuild`; control/ is then as it was.
    """
    wanted = [finding for finding in shown if finding.fixable]
    if not wanted:
        return []
    layout = hands.layout
    with Transaction(hands) as transaction:  # which finishes what an earlier run began: less may be wrong now
        found = [finding for finding in lint(layout) if finding in wanted]
        refused: list[str] = []
        for finding in found:
            try:
                finding.mend() if finding.mend is not None else None
            except BusyError as why:
                refused.append(str(why))
            except OSError as why:
                refused.append(f"{why.filename or finding.file}: cannot be mended: {why.strerror}")
        tables = [finding for finding in lint(layout) if finding.rebuild or finding.newu]
        if any(finding.rebuild for finding in tables):
            assignfile.stage(transaction, {}, set())
        elif tables:
            journal.newu(hands)
        _stage_lists(transaction, found)
        transaction.commit()
    if refused:
        raise BusyError("; ".join(dict.fromkeys(refused)))
    return wanted + [finding for finding in tables if finding not in wanted]


def _stage_lists(transaction: Transaction, found: list[Finding]) -> None:
    """Take virtual domains out of control/locals, tell the sender, and only then have them accepted."""
    local = [finding.unlocal for finding in found if finding.unlocal]
    refused = [finding.accept for finding in found if finding.accept]
    home = transaction.layout.home
    if local:
        lines = Lines.of(LOCALS, transaction.read(home / LOCALS))
        for domain in local:
            lines.remove(domain)
        transaction.put(home / LOCALS, lines.render())
        transaction.hup()
    if refused:
        lines = Lines.of(RCPTHOSTS, transaction.read(home / RCPTHOSTS))
        for domain in dict.fromkeys(refused):
            lines.add(domain)
        transaction.put(home / RCPTHOSTS, lines.render())
