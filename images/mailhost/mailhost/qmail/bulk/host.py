"""A host in a tree, for many questions: its control files, users/cdb and accounts are read once.

``rebuilt``: as it will be when qmail-newu and qmail-newmrh have run, whatever the two cdb files hold now.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import pwd
import stat
from collections.abc import Hashable, Iterator
from functools import cached_property
from itertools import islice
from typing import BinaryIO, Literal

from mailhost.qmail.assigntext import ASSIGN_FILE, MARK, key_of
from mailhost.qmail.bulk.disk import TreeDisk, User
from mailhost.qmail.bulk.tree import NotJudgedError, Tree, TreeHome
from mailhost.qmail.cdb.reader import Cdb, CdbError
from mailhost.qmail.control import ControlError, Controls, Reader, load
from mailhost.qmail.delivery import Inspection, inspect_on
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import (
    ALIAS,
    CDB_FILE,
    CDB_TROUBLE,
    INTERNAL,
    Assignment,
    PasswdLookup,
    RecordError,
    getpw,
    lookup,
    of_record,
)
from mailhost.qmail.newu import MOST_OCTETS, make, make_more
from mailhost.qmail.stale_cdb import StaleCdb

Owners = Literal["auto", "strict", "ignore"]
MORE = "control/morercpthosts"
TRIED = 200  # homes that "auto" looks at


class TreeHost:
    """See `mailhost.qmail.route.Host`.

    ``find``: searches passwd; None: the accounts are not known, and an address that needs them is not judged.
    ``owners``: ``strict``: they count where control/ is root's, as on every host; ``auto``: and where a home belongs to
    the user that receives its mail, which a copy may have lost; ``ignore``: never.
    """

    def __init__(
        self,
        tree: Tree,
        home: bytes,
        find: PasswdLookup | None,
        default: bytes | None = None,
        *,
        owners: Owners = "auto",
        rebuilt: bool = False,
    ) -> None:
        """``home``: the qmail home, as its host names it.

        Raises:
            NewuError: with ``rebuilt``: users/assign cannot be made into a cdb.
            OSError: it cannot be read.
        """
        self.tree, self.home, self.default, self._find = tree, home, default, find
        self._files = TreeHome(tree, home)
        self._rebuilt = rebuilt
        self._controls: dict[Reader, Controls | ControlError] = {}
        self._users: dict[tuple[int, int], TreeDisk] = {}
        self._cdb = self._made() if rebuilt else self._opened()
        self.owners_count = owners != "ignore" and self._owners_count(owners)

    def _opened(self) -> Cdb | Failure | None:
        try:
            with self._regular(CDB_FILE) as file:  # in memory, one question takes a third of the time
                return Cdb(file.read())
        except FileNotFoundError:
            return None
        except OSError:
            return CDB_TROUBLE

    def _regular(self, name: str) -> BinaryIO:
        """Open a regular file of the home; what is none, or too large, is an error, and no FIFO blocks us."""
        path = self._files / name
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_OCTETS:
            return os.fdopen(file, "rb")
        os.close(file)
        raise OSError(errno.EFBIG, "is no regular file, or too large", os.fspath(path))

    def _made(self) -> Cdb | None:
        made = io.BytesIO()
        try:
            with self._regular(ASSIGN_FILE) as assign:
                make(assign, made)
        except FileNotFoundError:
            return None
        return Cdb(made.getvalue())

    def controls(self, reader: Reader) -> Controls:
        """See Host."""
        if reader not in self._controls:
            try:
                self._controls[reader] = self._loaded(reader)
            except ControlError as error:
                self._controls[reader] = error
        there = self._controls[reader]
        if isinstance(there, ControlError):
            raise there
        return there

    def _loaded(self, reader: Reader) -> Controls:
        controls = load(self._files, reader)
        if not self._rebuilt or controls.rcpthosts is None:
            return controls
        made = io.BytesIO()
        try:
            with self._regular(MORE) as text:
                make_more(text, made)
        except FileNotFoundError:
            return dataclasses.replace(controls, morercpthosts=None)
        except OSError as error:
            raise ControlError(MORE, f"cannot be read: {error.strerror}") from error
        return dataclasses.replace(controls, morercpthosts=Cdb(made.getvalue()))

    def locate(self, local: bytes) -> Assignment | Failure:
        """See Host."""
        if isinstance(self._cdb, Failure):
            return self._cdb
        try:
            found = None if self._cdb is None else lookup(self._cdb, local, self._ends)
        except RecordError:
            return INTERNAL
        except CdbError:
            return CDB_TROUBLE
        return found or getpw(local, self.account, self._owner)

    @cached_property
    def _ends(self) -> bytes | None:
        return self._cdb.get(b"") if isinstance(self._cdb, Cdb) else None

    def account(self, name: str) -> pwd.struct_passwd | None:
        """The passwd entry of that name; alias is the owner of alias/ where passwd has none.

        Raises:
            NotJudgedError: passwd is not known.
        """
        if self._find is None:
            raise NotJudgedError(f"whether {name} is an account of the host: its passwd is not known")
        found = self._find(name)
        return self._alias() if found is None and name == ALIAS else found

    def _alias(self) -> pwd.struct_passwd | None:
        place = self.home + b"/alias"
        try:
            _, status = self.tree.look(place)
        except OSError:
            return None
        return pwd.struct_passwd((ALIAS, "x", status.st_uid, status.st_gid, "", os.fsdecode(place), ""))

    def alias(self) -> bytes:
        """The home of alias, empty where there is no such user."""
        account = self._alias() if self._find is None else self.account(ALIAS)
        return b"" if account is None else os.fsencode(account.pw_dir)

    def _owner(self, account: pwd.struct_passwd) -> int:
        _, status = self.tree.look(os.fsencode(account.pw_dir))
        return status.st_uid if self.owners_count else account.pw_uid

    def compare(self, local: bytes, who: Assignment | None) -> StaleCdb:
        """See Host; only the line is told, and it is looked for in an index."""
        if who is None or not self.lines_wanted:
            return StaleCdb()
        return StaleCdb(self._lines.get(MARK + who.key + (b"" if who.wild else b"\0"), 0))

    lines_wanted = False
    """Whether a route names the line of users/assign; the index that this needs takes seconds for a million lines."""

    @cached_property
    def _lines(self) -> dict[bytes, int]:
        lines: dict[bytes, int] = {}
        for number, key, _ in self.assign_lines():
            lines.setdefault(key, number)
        return lines

    def assign_lines(self) -> Iterator[tuple[int, bytes, bytes]]:
        """(number, key, line) of users/assign, up to the first bad line.

        Raises:
            OSError: it cannot be read.
        """
        try:
            file = self._regular(ASSIGN_FILE)
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, start=1):
                if line.startswith(b"."):
                    return
                line = line.rstrip(b"\n")
                key = key_of(line)
                if key is None:
                    return
                yield number, key, line

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, data) of users/cdb; none of a damaged one from where it is damaged."""
        if isinstance(self._cdb, Cdb):
            try:
                yield from self._cdb.records()
            except CdbError:
                return

    def inspect(self, who: Assignment, default: bytes) -> Inspection:
        """See Host."""
        return inspect_on(self.disk(who), who, default)

    def decides(self, who: Assignment) -> Hashable:
        """What is equal for assignments about which the same .qmail files decide; None: that cannot be told."""
        files = self.disk(who).files(who.home, who.dash, who.ext)
        return None if files is None else (who.uid, who.gid, who.home, who.dash, files)

    def disk(self, who: Assignment) -> TreeDisk:
        """The files as the user of an assignment sees them."""
        disk = self._users.get((who.uid, who.gid))
        if disk is None:
            disk = TreeDisk(self.tree, User(self.tree, who.uid, who.gid, counts=self.owners_count))
            self._users[who.uid, who.gid] = disk
        return disk

    def _owners_count(self, owners: Owners) -> bool:
        try:
            if self.tree.look(self.home + b"/control")[1].st_uid != 0:
                return False
        except OSError:
            return False
        if owners == "strict":
            return True
        found = [self._owned(key, data) for key, data in islice(self.records(), TRIED) if key]
        known = [owned for owned in found if owned is not None]
        return any(known) or not known

    def _owned(self, key: bytes, data: bytes) -> bool | None:
        """Whether a record's home belongs to its user; None where there is no such home."""
        try:
            who = of_record(data, key, b"", wild=False)
            return self.tree.look(who.home)[1].st_uid == who.uid
        except (RecordError, OSError, NotJudgedError, ValueError):
            return None


def accounts_in(text: bytes) -> dict[str, pwd.struct_passwd]:
    """The accounts in a text of the form of passwd(5): the first line of a name counts, one without numbers is none."""
    found: dict[str, pwd.struct_passwd] = {}
    for line in os.fsdecode(text).split("\n"):
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdecimal() and fields[3].isdecimal():
            name, _, uid, gid, gecos, home, shell = fields
            found.setdefault(name, pwd.struct_passwd((name, "x", int(uid), int(gid), gecos, home, shell)))
    return found
