"""What stands between `mailhost apply` and the host's accounts: which file governs, and what no one has agreed to."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from mailhost.accounts import governed, unattended
from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.governed import Governed
from mailhost.accounts.layout import Layout
from mailhost.accounts.model import Accounts


class Guard:
    """For a person: only the file that governs the host, and then what waited is agreed to."""

    def __init__(self, layout: Layout, file: Path, record: Governed | None) -> None:
        """``record``: of the host that a file governs."""
        self.layout, self.file, self.record = layout, file, record

    def read(self, octets: bytes) -> None:
        """See whether this text may be taken at all.

        Raises:
            AccountsError: it may not.
        """

    def planned(self, now: Accounts, wanted: Accounts, *, deletes: bool) -> None:
        """See whether this change may be made.

        Raises:
            AccountsError: it may not.
        """

    def applied(self, octets: bytes) -> None:
        """Note what was applied, where a file governs the host."""
        if self.record is not None:
            digest, at = hashlib.sha256(octets).hexdigest(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            marked = unattended.marked(octets)
            governed.note(self.layout, self.file, applied=digest, at=at, marked=marked, waits="")


class Unattended(Guard):
    """For `mailhost follow`: the text that stood still, ends whole, and takes away little."""

    def __init__(self, layout: Layout, file: Path, record: Governed, still_s: float, sha256: str | None) -> None:
        super().__init__(layout, file, record)
        self.still_s, self.sha256 = still_s, sha256

    def read(self, octets: bytes) -> None:
        """See ``Guard.read``.

        Raises:
            InputError: the text is half a file.
            BusyError: it is not the one that stood still.
        """
        if self.sha256 is not None and hashlib.sha256(octets).hexdigest() != self.sha256:
            raise BusyError(f"{self.file}: was changed again; looked at until it stands still")
        assert self.record is not None
        if fault := unattended.ends_whole(octets, marked_before=self.record.marked):
            raise InputError(fault, file=str(self.file))
        if unattended.marked(octets):
            self.still_s = unattended.STILL_S  # it says of itself that it is whole

    def planned(self, now: Accounts, wanted: Accounts, *, deletes: bool) -> None:
        """See ``Guard.planned``.

        Raises:
            BusyError: a text that removes something must stand still for longer.
            InputError: a person must agree.
        """
        gone = unattended.goes(self.layout, now, wanted) if deletes else unattended.Goes()
        if not gone:
            return
        if why := unattended.needs_a_person(gone, now):
            raise InputError(
                f"waits for a person: it {why}. Nothing of it is applied. `mailhost apply` on this host shows it "
                "and agrees to it; so does naming it in `agreed` of [removals] in the file",
                file=str(self.file),
            )
        if self.still_s < unattended.STILL_S:
            rule = f"it takes something away, so it must have stood still for {unattended.STILL_S:.0f} s"
            raise BusyError(f"{self.file}: waits: {rule}; a last line {unattended.END_MARK!r} says that it is whole")


def guard_of(layout: Layout, file: Path, still_s: float | None, sha256: str | None) -> Guard:
    """The guard for an apply of ``file``.

    Raises:
        InputError: another file governs the host.
    """
    record = governed.read(layout)
    if record is not None and not _same(file, Path(record.file)):
        raise InputError(
            f"is not the file that governs this host: {record.file} is, and would take these accounts back. "
            "Edit that one",
            file=str(file),
        )
    governs = file if record is None else Path(record.file)
    if still_s is None:
        return Guard(layout, governs, record)
    return Unattended(layout, governs, record or Governed(str(file)), still_s, sha256)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.absolute() == other.absolute() or one.samefile(other)
    except OSError:
        return False
