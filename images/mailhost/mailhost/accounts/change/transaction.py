"""One change of the host: under the writers' lock, staged first, then done by the journal."""

from __future__ import annotations

import os
from pathlib import Path

from mailhost.accounts.change import journal
from mailhost.accounts.change.journal import HostEffects, Step
from mailhost.accounts.errors import BusyError, HostError
from mailhost.accounts.files import durable
from mailhost.accounts.files.durable import Fill, Mark
from mailhost.accounts.files.removed import RECORDS
from mailhost.accounts.layout import Layout
from mailhost.system.durable import sync_directory
from mailhost.system.reading import OWN_OCTETS, read_bounded

LOCK_WAIT_S = 10.0
"""How long a writer waits for another: a change of one mailbox among a million takes less."""


class Transaction:
    """A change being put together. As a context manager it holds the lock; leaving without `commit` changes nothing."""

    def __init__(self, hands: HostEffects) -> None:
        """``hands.say`` is told when a change that an earlier run could not finish was finished first."""
        self.hands, self.layout = hands, hands.layout
        self._marks: dict[Path, Mark | None] = {}
        self._staged: list[Path] = []
        self._steps: list[Step] = []
        self._lock = -1

    def __enter__(self) -> Transaction:
        self._lock = _take_lock(self.layout)
        try:
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for staged in self._staged:
            staged.unlink(missing_ok=True)
        os.close(self._lock)

    def _recover(self) -> None:
        steps = journal.read(self.layout)
        if steps is not None:
            for left in journal.replay(steps, self.hands):
                self.hands.say(left)
            self.hands.say("finished a change that an earlier run had begun")
        layout = self.layout
        records = layout.popboxes / RECORDS
        for directory in (layout.control, layout.users, layout.parts, layout.alias, layout.work, records):
            durable.remove_staged(directory)

    def read(self, path: Path) -> bytes | None:
        """The text of a file, None where there is none; see `journal.check` for one that changes after this.

        Raises:
            BusyError: it cannot be read.
        """
        path = path.resolve()
        try:
            with path.open("rb") as file:
                self._marks[path] = durable.mark_to_read(lambda: os.fstat(file.fileno()))
                return read_bounded(file.fileno(), OWN_OCTETS, str(path))
        except FileNotFoundError:
            self._marks[path] = None
            return None
        except OSError as why:
            raise BusyError(f"{self.layout.shown(path)}: cannot be read: {why.strerror}") from why

    def read_mark(self, path: Path, *, follow: bool = True) -> Mark | None:
        """Like `read`, for a file that is looked into otherwise, after this; ``follow`` as for `put`."""
        path = _place(path, follow=follow)
        try:
            self._marks[path] = durable.mark_to_read(path.stat)
        except FileNotFoundError:
            self._marks[path] = None
        return self._marks[path]

    def expect(self, path: Path, mark: Mark | None) -> None:
        """Like `read`, for a file that was read through a descriptor: ``mark`` is what it was then."""
        self._marks[path.resolve()] = mark

    def put(self, path: Path, fill: Fill | bytes, mode: int = 0o644, *, follow: bool = True) -> Mark:
        """Stage a new text; the step that publishes it comes after those added before. Returns the new file's mark.

        Without ``follow`` a link in the file's place is replaced: in a directory that is not root's it leads anywhere.

        Raises:
            BusyError: the staged file vanished while it was written.
        """
        path = _place(path, follow=follow)
        was = self._marks[path] if path in self._marks else durable.mark(path)
        staged = durable.stage(path, fill, mode, number=len(self._staged))
        self._staged.append(staged)
        new = durable.mark(staged)
        if new is None:
            raise BusyError(f"{staged}: vanished while it was written")
        self._marks[path] = new
        home = self.layout.home
        self._steps.append(
            Step("put", os.path.relpath(path, home), os.path.relpath(staged, home), was),
        )
        return new

    def box(self, path: str, texts: dict[str, str], seen: dict[str, Mark | None], *, maildir: bool) -> None:
        """Add a box (relative to the home) to make or change; ``texts`` are its files, ``seen`` what they replace."""
        self._steps.append(Step("box", path, files=texts, maildir=maildir, seen=seen))

    def newu(self) -> None:
        """Add the making of users/cdb."""
        self._steps.append(Step("newu"))

    def hup(self) -> None:
        """Add telling the sender."""
        self._steps.append(Step("hup"))

    def move(self, path: Path, target: Path) -> None:
        """Add moving a directory."""
        self._steps.append(Step("move", self._relative(path), self._relative(target)))

    def record(self, path: Path, text: str) -> None:
        """Add a file that only we read, in a folder of popboxes/.removed that may not be there yet."""
        self._steps.append(Step("record", self._relative(path), files={"": text}))

    def bring(self, path: Path, target: Path) -> None:
        """Add moving a directory that is kept back to its place, before the boxes are made."""
        self._steps.append(Step("bring", self._relative(path), self._relative(target)))

    def clear(self, path: Path, target: Path) -> None:
        """Add moving a directory before the boxes are made, one of which takes its place."""
        self._steps.append(Step("clear", self._relative(path), self._relative(target)))

    def purge(self, path: Path) -> None:
        """Add removing a directory with all in it."""
        self._steps.append(Step("purge", self._relative(path)))

    def drop(self, path: Path, was: Mark | None = None) -> None:
        """Add removing a file, which must still be as it was read: by `read`, by `read_mark`, or as ``was`` says."""
        was = was or self._marks.get(_place(path, follow=False))
        self._steps.append(Step("drop", self._relative(path), was=was))

    def commit(self) -> None:
        """Make the change happen; on return it is on disk and the sender knows.

        Raises:
            BusyError: all is done, but of what was to be purged something is left; it says where.
        """
        if not self._steps:
            return
        read = [step for step in self._steps if step.kind != "put"] + self._first_puts()
        journal.check(self.layout, read)
        staged, self._staged = self._staged, []  # while there is a journal they are its, or it would be half a change
        try:
            journal.write(self.layout, self._steps)
            journal.check(self.layout, read)  # writing took a while, and nothing is done yet
        except BaseException as why:  # also an interrupt, or a disk that cannot keep the journal
            journal.give_up(self.layout)
            self._staged = staged
            if isinstance(why, HostError):
                journal.check(self.layout, read)
            raise
        if left := journal.replay(self._steps, self.hands):
            raise BusyError("; ".join(left))

    def _first_puts(self) -> list[Step]:
        """The puts whose target must still be as it was read: a second put to the same file follows the first."""
        first: dict[str, Step] = {}
        for step in self._steps:
            if step.kind == "put":
                first.setdefault(step.path, step)
        return list(first.values())

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.layout.home))


def _place(path: Path, *, follow: bool) -> Path:
    """The file that a path is for: through links, or the name itself in its directory."""
    return path.resolve() if follow else path.parent.resolve() / path.name


def _take_lock(layout: Layout) -> int:
    """The writers' lock: one flock on users/.mailhost/lock."""
    try:
        if not layout.work.is_dir():
            layout.work.mkdir(mode=0o700, exist_ok=True)
            sync_directory(layout.users)
        return durable.take_lock(layout.work / "lock", LOCK_WAIT_S)
    except FileNotFoundError as why:
        raise BusyError(f"{layout.users}: missing; `mailhost init` makes a host's directories") from why
    except OSError as why:
        raise BusyError(f"{layout.work}: {why.strerror}") from why
