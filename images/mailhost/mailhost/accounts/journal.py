"""The journal: what a change still has to do, so that it is finished or was never begun, whenever the writer dies.

A change first stages every new text beside its target, then writes the journal. The rename of the journal into place
is the moment the change happens; before it nothing that qmail or POP3 reads has been touched. After it each step is
done in order, and each step may be done again: the next writer that finds a journal does so (`replay`).

Steps, in the order a change has them, chosen so that no mail accepted meanwhile can bounce:

    clear      a box that goes and whose name is given to a new one at once: moved aside, so that its mail waits
    box        directories and .qmail files of new and changed boxes: nobody is led there yet
    put        rcpthosts without the domains that go: nothing more is accepted for them
    put, newu  part files, users/assign, users/cdb: from here qmail finds the boxes
    put        users/poppasswd and its stamp: from here POP3 finds them
    put, hup   virtualdomains, then HUP and a short wait: from here the domains are virtual
    put        rcpthosts with the domains that come: only now is their mail accepted
    drop       part files of domains that went, .qmail-default files that no line leads to any more
    move, purge   what was deleted is moved aside: nobody is led there any more
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

from mailhost.accounts import boxes, files, sender
from mailhost.accounts.errors import AccountsError, BusyError, HostError
from mailhost.accounts.layout import Layout

NAME = "journal"
SETTLE_S = 0.3
"""How long a sender gets between HUP and the new rcpthosts: qmail-send reads its controls between two selects (T-7)."""
SYNC_EACH = 64
"""Up to so many boxes are made durable one by one; more are with one sync of all disks, which takes seconds."""


@dataclass(slots=True)
class Step:
    """One step. Paths are relative to the home; ``was`` is the mark of the file that a put may replace."""

    kind: str
    path: str = ""
    source: str = ""
    was: files.Mark | None = None
    files: dict[str, str] = field(default_factory=dict)
    maildir: bool = False


_FIELDS = tuple(each.name for each in fields(Step))


@dataclass(frozen=True, slots=True)
class Hands:
    """What steps need from outside: the layout, how to make users/cdb, whom to tell of boxes made and of remarks."""

    layout: Layout
    newu: Callable[[Path], None]
    progress: Callable[[int], None] = lambda boxes_made: None
    say: Callable[[str], None] = lambda remark: None


def write(layout: Layout, steps: list[Step]) -> None:
    """Write the journal: from here the change will happen."""
    path = layout.work / NAME
    text = "".join(json.dumps({name: getattr(step, name) for name in _FIELDS}) + "\n" for step in steps)
    files.publish(files.stage(path, text.encode(), 0o600), path)


def read(layout: Layout) -> list[Step] | None:
    """The steps of a change that was not finished, or None."""
    path = layout.work / NAME
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    steps = [Step(**json.loads(line)) for line in lines]
    for step in steps:
        step.was = files.Mark(*step.was) if step.was else None
    return steps


def check(layout: Layout, steps: list[Step]) -> None:
    """See that nobody else wrote a file since we read it.

    Raises:
        HostError: somebody did; the staged texts would undo that.
    """
    for step in steps:
        path = layout.home / step.path
        if step.kind == "put" and (layout.home / step.source).exists() and files.mark(path) != step.was:
            raise HostError(
                f"{step.path}: somebody else changed it meanwhile, so the change is not made. "
                f"Try again; a change left unfinished by a crash is given up by removing {layout.work / NAME}"
            )


def replay(steps: list[Step], hands: Hands) -> None:
    """Do all steps in order and remove the journal. Safe to repeat from the start."""
    layout = hands.layout
    making = [step for step in steps if step.kind == "box"]
    signalled = False
    for step in steps:
        if step.kind == "clear":
            _take_away(step, layout)
    for number, step in enumerate(making, start=1):
        _make_box(step, layout, sync=len(making) <= SYNC_EACH)
        hands.progress(number)
    if len(making) > SYNC_EACH:
        _sync_all()
    for step in steps:
        if step.kind == "put":
            _put(step, layout, settle=signalled)
        elif step.kind == "hup":
            signalled = _hup(layout)
        elif step.kind == "newu":
            newu(hands)
        elif step.kind not in ("clear", "box"):
            _take_away(step, layout)
    (layout.work / NAME).unlink(missing_ok=True)
    files.sync_directory(layout.work)


def _make_box(step: Step, layout: Layout, *, sync: bool) -> None:
    boxes.make(f"{layout.home}/{step.path}", step.files, layout.identity, maildir=step.maildir, sync=sync)


def _sync_all() -> None:
    import os

    os.sync()


def _put(step: Step, layout: Layout, *, settle: bool) -> None:
    """Publish one staged text; a missing one was published before the crash."""
    staged, path = layout.home / step.source, layout.home / step.path
    if not staged.exists():
        return
    check(layout, [step])
    if settle:
        time.sleep(SETTLE_S)
    try:
        files.publish(staged, path)
    except OSError as why:
        raise BusyError(f"{step.path}: cannot be written: {why.strerror}") from why


def newu(hands: Hands) -> None:
    """Make users/cdb from users/assign. Raises AccountsError: the old one still counts."""
    try:
        hands.newu(hands.layout.home)
    except AccountsError:
        raise
    except Exception as why:
        raise HostError(f"users/cdb could not be made, the old one still counts: {why}") from why
    files.sync_directory(hands.layout.users)


def _hup(layout: Layout) -> bool:
    """True where a sender was told."""
    try:
        return sender.hup(layout.home) is not None
    except PermissionError as why:
        raise HostError("the sender (queue/lock/sendmutex) may not be signalled by this user: send it HUP") from why


def _take_away(step: Step, layout: Layout) -> None:
    """Move a directory aside, remove one with all in it, or drop a file; done before is done."""
    path = layout.home / step.path
    if step.kind == "purge":
        shutil.rmtree(path, ignore_errors=False) if path.exists() else None
        return
    if step.kind == "drop":
        if path.parent.exists():  # else it went with its box, before a crash
            path.unlink(missing_ok=True)
            files.sync_directory(path.parent)
        return
    target = layout.home / step.source
    if path.exists() and not target.exists():  # the target's name was free: where it is there, this was done
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.rename(target)
        files.sync_directory(target.parent)
        files.sync_directory(path.parent)
