"""The journal: what a change still has to do, so that it is finished or was never begun, whenever the writer dies.

A change first stages every new text beside its target, then writes the journal. The rename of the journal into place
is the moment the change happens; before it nothing that qmail or POP3 reads has been touched. After it each step is
done in order, and each step may be done again: the next writer that finds a journal does so (`replay`).

Steps, in the order a change has them, chosen so that no mail accepted in between can bounce:

    clear      a box that goes and whose name is given to a new one at once: moved aside, so that its mail waits
    bring      a box of popboxes/.removed whose owner has it again: its mail is there before new mail is led to it
    box        directories and .qmail files of new and changed boxes: no mail is led there yet
    put        rcpthosts without the domains that go: nothing more is accepted for them
    put, newu  part files, users/assign, users/cdb: from here qmail finds the boxes
    put        users/poppasswd and its stamp: from here POP3 finds them
    put, hup   virtualdomains, then HUP and a short wait: from here the domains are virtual
    put        rcpthosts with the domains that come: only now is their mail accepted
    record     whose the boxes are that are moved aside
    drop       part files of domains that went, .qmail-default files that no line leads to any more
    move, purge   what was deleted is moved aside, where it may also be removed: no mail is led there any more
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mailhost.accounts.change import hup
from mailhost.accounts.errors import AccountsError, BusyError, HostError
from mailhost.accounts.files import box_directories
from mailhost.accounts.files import durable as files
from mailhost.accounts.files.durable import Mark
from mailhost.accounts.layout import Layout
from mailhost.system.beneath import Beneath
from mailhost.system.durable import sync_directory
from mailhost.system.reading import read_file

NAME = "journal"
POPBOXES = "popboxes/"
SETTLE_S = 0.3
"""How long a sender that does not tell when it has read its controls gets between HUP and the new rcpthosts:
qmail-send reads them between two selects (T-7)."""
SYNC_EACH = 64
"""Up to so many boxes are made durable one by one; more are with one sync of all disks, which takes seconds."""


@dataclass(slots=True)
class Step:
    """One step. Paths are relative to the home.

    ``was`` is the mark of the file that a put may replace or a drop may remove (None there: any); ``seen`` the marks of
    those that a box's files may replace.
    """

    kind: str
    path: str = ""
    source: str = ""
    was: Mark | None = None
    files: dict[str, str] = field(default_factory=dict)
    maildir: bool = False
    seen: dict[str, Mark | None] = field(default_factory=dict)


_FIELDS = tuple(each.name for each in fields(Step))
KINDS = frozenset(["clear", "bring", "box", "put", "newu", "hup", "record", "drop", "move", "purge"])


@dataclass(frozen=True, slots=True)
class HostEffects:
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


def give_up(layout: Layout) -> None:
    """Have the change not happen: nothing of it is done."""
    (layout.work / NAME).unlink(missing_ok=True)
    sync_directory(layout.work)


def read(layout: Layout) -> list[Step] | None:
    """The steps of a change that was not finished, or None.

    Raises:
        HostError: it holds what we do not know. Doing the rest would be half a change.
    """
    path = layout.work / NAME
    try:
        lines = read_file(path).splitlines()
    except FileNotFoundError:
        return None
    steps = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(_step(json.loads(line)))
        except (ValueError, TypeError, AttributeError) as why:
            raise HostError(
                f"{path}: line {number}: {why}. A newer mailhost began this change: let that one finish it, by any "
                "command that changes something, or give the change up by removing this file"
            ) from why
    return steps


def _step(said: dict[str, Any]) -> Step:
    """Read a step.

    Raises:
        ValueError, TypeError, AttributeError: it is none of ours.
    """
    if unknown := sorted(set(said).difference(_FIELDS)):
        raise ValueError(f"field {unknown[0]!r} is not known")
    step = Step(**said)
    if step.kind not in KINDS:
        raise ValueError(f"kind {step.kind!r} is not known")
    step.was = Mark(*step.was) if step.was else None
    step.seen = {name: Mark(*mark) if mark else None for name, mark in step.seen.items()}
    return step


def check(layout: Layout, steps: list[Step]) -> None:
    """Check that no other program wrote a file since we read it.

    Raises:
        HostError: one did; this change would undo that.
    """
    with contextlib.ExitStack() as stack:
        tree: Beneath | None = None
        for step in steps:
            staged = step.kind == "put" and (layout.home / step.source).exists()
            if staged and files.mark(layout.home / step.path) != step.was:
                raise _changed(layout, step.path)
            seen = {f"{step.path}/{name}": was for name, was in step.seen.items()}
            if step.kind == "drop" and step.was is not None:
                seen[step.path] = step.was
            for path, was in seen.items():
                if path.startswith(POPBOXES):
                    tree = tree or stack.enter_context(layout.beneath(layout.popboxes))
                    now = box_directories.mark(tree, path.removeprefix(POPBOXES))
                else:
                    now = files.mark(layout.home / path)
                if now != was and not (step.kind == "drop" and now is None):
                    raise _changed(layout, path)


def _changed(layout: Layout, path: str) -> HostError:
    journal = layout.work / NAME
    rest = f" to its end, and no other before it. To give up the rest of it, remove {journal}"
    what = f"{path}: it was changed by someone else in between, so the change is not made"
    return HostError(what + (rest if journal.exists() else ". Try again"))


def replay(steps: list[Step], hands: HostEffects) -> list[str]:
    """Do all steps in order and remove the journal. Safe to repeat from the start.

    Returns what could not be purged and why: no mail is led there any more, so no other change has to wait for that.
    """
    layout = hands.layout
    making = [step for step in steps if step.kind == "box"]
    told_ns = 0
    left: list[str] = []
    for step in steps:
        if step.kind == "clear":
            _move(step, layout)
        elif step.kind == "bring":
            _bring(step, layout)
    if making:
        _make_boxes(making, hands)
    for step in steps:
        if step.kind == "put":
            _put(step, layout, told_ns)
        elif step.kind == "hup":
            told_ns = _hup(layout)
        elif step.kind == "newu":
            newu(hands)
        elif step.kind == "move":
            _move(step, layout)
        elif step.kind == "drop":
            _drop(step, layout)
        elif step.kind == "purge":
            left += _purge(step, layout)
        elif step.kind == "record":
            _record(step, layout)
    give_up(layout)  # of it nothing is left to do
    return left


def _make_boxes(steps: list[Step], hands: HostEffects) -> None:
    layout, sync = hands.layout, len(steps) <= SYNC_EACH
    with layout.beneath(layout.popboxes) as tree:
        for number, step in enumerate(steps, start=1):
            box = step.path.removeprefix(POPBOXES)
            for name, was in step.seen.items():  # written before a crash it is ours; gone, nothing is lost
                now, ours = box_directories.mark(tree, f"{box}/{name}"), step.files[name].encode()
                read = box_directories.read
                if now not in (None, was) and read(tree, f"{box}/{name}", layout.identity.uid) != ours:
                    raise _changed(layout, f"{step.path}/{name}")
            box_directories.make(tree, box, step.files, layout.identity, maildir=step.maildir, sync=sync)
            hands.progress(number)
    if not sync:
        _sync_all()


def _sync_all() -> None:
    os.sync()


def _put(step: Step, layout: Layout, told_ns: int) -> None:
    """Publish one staged text, after a sender that was told has read its controls; a missing one was published before.

    ``told_ns`` is the time of HUP, or 0.
    """
    staged, path = layout.home / step.source, layout.home / step.path
    if not staged.exists():
        return
    if told_ns:
        hup.settle(layout.home, told_ns, SETTLE_S)
    check(layout, [step])
    try:
        files.publish(staged, path)
    except OSError as why:
        raise BusyError(f"{step.path}: cannot be written: {why.strerror}") from why


def newu(hands: HostEffects) -> None:
    """Make users/cdb from users/assign.

    Raises:
        AccountsError: the old one still counts.
    """
    try:
        hands.newu(hands.layout.home)
    except AccountsError:
        raise
    except Exception as why:
        kind = BusyError if isinstance(why.__cause__ or why, OSError) else HostError
        raise kind(f"users/cdb could not be made, the old one still counts: {why}") from why
    sync_directory(hands.layout.users)


def _hup(layout: Layout) -> int:
    """The time at which a sender was told, 0 where none is."""
    now_ns = time.time_ns()
    try:
        return now_ns if hup.hup(layout.home) is not None else 0
    except PermissionError as why:
        raise HostError("the sender (queue/lock/sendmutex) may not be signalled by this user: send it HUP") from why


def _move(step: Step, layout: Layout) -> None:
    """Move a directory of popboxes/ aside, or to its new name; done before is done."""
    source, target = step.path.removeprefix(POPBOXES), step.source.removeprefix(POPBOXES)
    with layout.beneath(layout.popboxes) as tree:
        if tree.lstat(source) is None or tree.lstat(target) is not None:
            return  # the target's name was free: where it is there, this was done
        parts = target.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            with contextlib.suppress(FileExistsError):
                tree.make("/".join(parts[:depth]), 0o700)
        tree.rename(source, target)
        tree.sync("/".join(parts))
        tree.sync(source.rpartition("/")[0])


def _purge(step: Step, layout: Layout) -> list[str]:
    """Remove a directory of popboxes/ with all in it, and those above that are empty then; what stays, and why."""
    path = step.path.removeprefix(POPBOXES)
    with layout.beneath(layout.popboxes) as tree:
        try:
            tree.remove(path)
        except OSError as why:
            return [f"{step.path}: not all of it could be removed: {why.strerror or why}"]
        while path := path.rpartition("/")[0]:
            with contextlib.suppress(OSError):  # not empty, or gone before a crash
                tree.remove_empty(path)
    return []


def _drop(step: Step, layout: Layout) -> None:
    """Remove a file, if it is still the one that was read."""
    check(layout, [step])
    inside = step.path.startswith(POPBOXES)
    top = layout.popboxes if inside else (layout.home / step.path).parent
    path = step.path.removeprefix(POPBOXES) if inside else step.path.rpartition("/")[2]
    with layout.beneath(top) as tree, contextlib.suppress(FileNotFoundError):  # it went with its box, before a crash
        tree.unlink(path)
        tree.sync(path.rpartition("/")[0])


def _bring(step: Step, layout: Layout) -> None:
    """Move a kept box to its place, of which nothing is left; done before is done, and a link is none of ours."""
    source, target = step.path.removeprefix(POPBOXES), step.source.removeprefix(POPBOXES)
    with layout.beneath(layout.popboxes) as tree:
        found, above = tree.lstat(source), target.rpartition("/")[0]
        if found is None or not stat.S_ISDIR(found.st_mode) or tree.lstat(target) is not None:
            return
        if tree.lstat(above) is None:
            box_directories.make_prefix(tree, above)
        tree.rename(source, target)
        tree.sync(above)
        tree.sync(source.rpartition("/")[0])


def _record(step: Step, layout: Layout) -> None:
    """Write down whose a box is that goes aside."""
    path = layout.home / step.path
    files.make_private(path.parent)
    files.publish(files.stage(path, step.files[""].encode(), 0o600), path)
