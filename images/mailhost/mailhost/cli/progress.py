"""Changes of many things at once: a progress bar, and a summary in place of ten thousand lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mailhost.accounts import governed
from mailhost.accounts.change.edit import Change, Edit, editing
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.operations import temporary
from mailhost.cli.common import hands, note, sentence
from mailhost.cli.terminal import say

SHOWN_CHANGES = 40
BAR_FROM = 200


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, told how many are done; none for few, and none where stderr is no terminal."""
    if total < BAR_FROM:
        yield lambda done: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, update_min_steps=97) as bar:
        seen = 0

        def tell(done: int) -> None:
            nonlocal seen
            bar.update(done - seen)
            seen = done

        yield tell


@contextmanager
def change_many(home: Path, newu: str | None, *, table: str | None, dry_run: bool) -> Iterator[Edit]:
    """Like `change` of the single verbs, for any number of them; ``table`` too means the same."""
    base = hands(home, newu)
    if table is not None:
        governed.refuse(base.layout, table)
    with editing(base) as edit:
        yield edit
        if not dry_run:
            temporary.end_with(edit)
            edit.stage()
            with progress("boxes", len(edit.boxes)) as bar:
                edit.transaction.hands = HostEffects(base.layout, base.newu, bar, note)
                edit.transaction.commit()
    for text in told(edit.changes, dry_run=dry_run):
        say(text)


def told(changes: list[Change], *, dry_run: bool) -> list[str]:
    """Each change, or how many of each kind where they are many."""
    if not changes:
        return ["nothing to change"]
    if len(changes) <= SHOWN_CHANGES:
        return [sentence(change, dry_run=dry_run) for change in changes]
    counted = Counter((change.action, change.kind) for change in changes)
    return [sentence(Change(action, kind, f"x {n}"), dry_run=dry_run) for (action, kind), n in counted.items()]
