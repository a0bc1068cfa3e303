"""The files of a tree as one user of its host would see them: by owner, group and mode. ACLs are not looked at.

Source: Q-LOCAL-2..5, Q-DOT-7..9, Q-MDIR-4, Q-MBOX-1.
"""

from __future__ import annotations

import errno
import os
import stat

from mailhost.qmail.bulk.tree import NotJudgedError, Tree
from mailhost.qmail.delivery import BAD_MAILDIR, NO_MAILDIR
from mailhost.qmail.dotqmail import (
    FILE_WRITABLE,
    MOST_OCTETS,
    WRITABLE,
    Found,
    Opened,
    judge_home,
    names,
    not_opened,
    search,
    too_large,
)
from mailhost.qmail.failure import Failure, error_text

READ, WRITE, SEARCH = 4, 2, 1
KEPT = 1 << 16  # our choice: directories whose answer is remembered
OFTEN = 16  # our choice: after so many questions a home is listed


class User:
    """Who looks: ``uid`` with the one group ``gid``; with ``counts`` False owners say nothing, and all may do all."""

    def __init__(self, tree: Tree, uid: int, gid: int, *, counts: bool) -> None:
        self._tree, self.uid, self.gid, self.counts = tree, uid, gid, counts
        self._reached: dict[bytes, bool] = {}

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Whether the mode allows ``wanted``, a sum of READ, WRITE and SEARCH."""
        if not self.counts:
            return True
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return status.st_mode >> shift & wanted == wanted

    def reaches(self, real: bytes) -> bool:
        """Whether every directory down to this real one may be searched."""
        if not self.counts or len(real) <= len(self._tree.base):
            return True
        known = self._reached.get(real)
        if known is None:
            known = self.reaches(real.rpartition(b"/")[0]) and self.may(os.lstat(self._tree.here(real)), SEARCH)
            if len(self._reached) >= KEPT:
                self._reached.clear()
            self._reached[real] = known
        return known


class TreeDisk:
    """The disk of a delivery: see `mailhost.qmail.delivery.Disk`."""

    def __init__(self, tree: Tree, user: User) -> None:
        """``user``: whom qmail-local runs as."""
        self._tree, self._user = tree, user
        self._visits: dict[bytes, int] = {}
        self._there: dict[bytes, frozenset[bytes] | None] = {}

    def check_home(self, home: bytes) -> Failure | None:
        """See Disk."""
        return judge_home(home, self._mode)

    def _mode(self, home: bytes) -> int:
        real, status = self._tree.look(home)
        if not stat.S_ISDIR(status.st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not self._user.reaches(real):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return status.st_mode

    def files(self, home: bytes, dash: bytes, ext: bytes) -> tuple[bytes, ...] | None:
        """The .qmail files that there are for (dash, ext), in the order tried; None: not known before they are opened.

        Without an extension the names are not looked for: ``(b"",)`` stands for them.
        """
        if not ext:
            return (b"",)
        there = self._listed(home, at_once=True)
        if there is None or b"/" in ext + dash:
            return None
        return tuple([name for name in names(dash, ext) if name in there])

    def find(self, home: bytes, dash: bytes, ext: bytes) -> Found | Failure:
        """See Disk."""
        there = self._listed(home)
        if there is None or b"/" in ext + dash:
            return search(dash, ext, lambda name: self._open(home, name))
        return search(dash, ext, lambda name: self._open(home, name) if name in there else None)

    def _listed(self, home: bytes, *, at_once: bool = False) -> frozenset[bytes] | None:
        """The .qmail names in a home that is asked often (~alias, a catchall's), to spare looks that find nothing."""
        if home in self._there:
            return self._there[home]
        visits = self._visits[home] = self._visits.get(home, 0) + 1
        if len(self._visits) > KEPT:
            self._visits.clear()
        if visits < OFTEN and not at_once:
            return None
        try:
            there = frozenset(name for name in self._tree.names(home) if name.startswith(b".qmail"))
        except NotJudgedError:
            there = None
        if len(self._there) >= KEPT:
            self._there.clear()
        self._there[home] = there
        return there

    def _open(self, home: bytes, name: bytes) -> Opened:
        try:
            real, status = self._tree.look(home + b"/" + name)
            if not self._user.reaches(real.rpartition(b"/")[0]) or not self._user.may(status, READ):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            return not_opened(name, error)
        if not stat.S_ISREG(status.st_mode):
            return None
        opened = self._tree.read(real, MOST_OCTETS)
        if opened is None:
            raise NotJudgedError(f"{os.fsdecode(real)} changes while it is read")
        text, status = opened
        if not self._user.may(status, READ):
            raise NotJudgedError(f"{os.fsdecode(real)} changes while it is read")
        if status.st_mode & WRITABLE:
            return FILE_WRITABLE
        if len(text) > MOST_OCTETS:
            return too_large(name)
        return text, status.st_mode

    def maildir(self, path: bytes) -> Failure | None:
        """See Disk. One that the copy does not hold is taken for sound: only its place is known."""
        try:
            real, status = self._tree.look(path)
        except OSError:
            return NO_MAILDIR
        except NotJudgedError:
            return None
        if not stat.S_ISDIR(status.st_mode) or not self._user.reaches(real):
            return NO_MAILDIR
        return None if self._usable(real + b"/tmp") and self._usable(real + b"/new") else BAD_MAILDIR

    def _usable(self, path: bytes) -> bool:
        try:
            _, status = self._tree.look(path)
        except (OSError, NotJudgedError):
            return False
        return stat.S_ISDIR(status.st_mode) and self._user.may(status, WRITE | SEARCH)

    def mbox(self, path: bytes, argument: bytes) -> Failure | None:
        """See Disk. A device is never opened: it is taken for one that cannot be synced (E-59)."""
        action, code = "open", "#4.2.1"
        try:
            real, status = self._tree.look(path)
            if stat.S_ISREG(status.st_mode):
                if self._user.may(status, WRITE) and self._user.reaches(real.rpartition(b"/")[0]):
                    return None
                reason = errno.EACCES
            elif stat.S_ISDIR(status.st_mode):
                reason = errno.EISDIR
            elif not stat.S_ISCHR(status.st_mode):
                reason = errno.ENXIO  # a FIFO without a reader
            else:
                action, code, reason = "write", "#4.3.0", errno.EINVAL
        except NotJudgedError:
            return None
        except FileNotFoundError:
            reason = self._new_file(path)
            if not reason:
                return None
        except OSError as error:
            reason = error.errno or 0
        if os.path.dirname(path) == b"/dev":
            action, code, reason = "write", "#4.3.0", errno.EINVAL
        text = f"Unable to {action} {os.fsdecode(argument)}: {error_text(reason)}. ({code})"
        return Failure(permanent=False, text=text)

    def _new_file(self, path: bytes) -> int:
        """Why a file cannot be made there: an errno, or 0."""
        try:
            real, status = self._tree.look(os.path.dirname(path))
        except OSError as error:
            return error.errno or errno.ENOENT
        except NotJudgedError:
            return 0
        if not stat.S_ISDIR(status.st_mode):
            return errno.ENOTDIR
        return 0 if self._user.reaches(real) and self._user.may(status, WRITE | SEARCH) else errno.EACCES
