"""Who gets a local part: users/cdb as qmail-lspawn searches it, or otherwise the accounts of the system.

Source: Q-LSP-2..9, Q-GETPW-1..5.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.qmail.assigntext import MARK
from mailhost.qmail.cdb.hashing import cdb_hash, prefix_hashes
from mailhost.qmail.cdb.reader import Cdb, CdbError
from mailhost.qmail.controlfile import leading_digits
from mailhost.qmail.failure import Failure, is_temporary

CDB_TROUBLE = Failure(permanent=False, text="Trouble reading users/cdb in qmail-lspawn.")
ROOT = Failure(permanent=False, text="Not allowed to perform deliveries as root.")
INTERNAL = Failure(permanent=False, text="Internal qmail-lspawn bug.")
NO_ALIAS = Failure(permanent=False, text="Unable to find alias user!")
NFS_TROUBLE = Failure(permanent=False, text="NFS failure in qmail-local.")
NO_HOST = Failure(permanent=True, text="Sorry, address must include host name. (#5.1.3)")

CDB_FILE = "users/cdb"
ALIAS = "alias"
NAME_OCTETS = 32  # qmail-getpw tries only names shorter than this
BREAK = b"-"  # conf-break of the stock build

PasswdLookup = Callable[[str], "pwd.struct_passwd | None"]


class RecordError(CdbError):
    """A record of users/cdb has fewer than six fields; qmail-newu never writes one."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arguments of qmail-local, and where they come from.

    ``source``: ``users/cdb``, ``passwd`` (an account), or ``alias`` (no other match). ``key``: the cdb key without its
    ``!`` and NUL, lower case, or the account's name. ``wild``: a ``+`` assignment matched.
    """

    user: bytes
    uid: int
    gid: int
    home: bytes
    dash: bytes
    ext: bytes
    source: str
    key: bytes
    wild: bool = False

    @property
    def failure(self) -> Failure | None:
        """Why qmail-lspawn would not start qmail-local for this assignment, or None (Q-LSP-9)."""
        no_id = (1 << 32) - 1  # -1 as uid_t: the kernel refuses it
        if self.gid == no_id:  # the gid is set first
            return INTERNAL
        if self.uid == 0:
            return ROOT
        return INTERNAL if self.uid == no_id else None


def lookup(cdb: Cdb, local: bytes, ends: bytes | None = None) -> Assignment | None:
    """The assignment of users/cdb for a local part, or None. Source: qmail-users(5), Q-LSP-4..9.

    ``ends``: what the empty key holds, where the caller has read it.

    Raises:
        CdbError: the cdb is damaged, or has no record with the empty key.
    """
    if ends is None:
        ends = cdb.get(b"")
    if ends is None:
        raise CdbError("no record with the empty key")
    lower = local.lower()
    value, cuts = prefix_hashes(lower, ends, MARK)
    data = cdb.get(MARK + lower + b"\0", cdb_hash(b"\0", value))
    if data is not None:
        return of_record(data, lower, b"", wild=False)
    for length, value in reversed(cuts):
        data = cdb.get(MARK + lower[:length], value)
        if data is not None:
            return of_record(data, lower[:length], local[length:], wild=True)
    return None


def of_record(data: bytes, key: bytes, rest: bytes, *, wild: bool) -> Assignment:
    """The assignment of a record; ``rest``: the part of the local part that is appended to its ext (Q-LSP-6, -9).

    Raises:
        RecordError: the record has fewer than six fields.
    """
    fields = (data + rest).split(b"\0")
    if len(fields) < 6:
        raise RecordError("a record with fewer than six fields")
    user, uid, gid, home, dash, ext = fields[:6]
    return Assignment(user, leading_digits(uid), leading_digits(gid), home, dash, ext, CDB_FILE, key, wild)


def find_account(name: str) -> pwd.struct_passwd | None:
    """The passwd entry of that name, or None."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def accounts_of(home: Path) -> PasswdLookup:
    """passwd, but with the owner of ``home/alias`` as user alias where passwd has none, or has one with another home.

    A home without real qmail needs this: a stand-in delivers as the only user that it runs as.
    """
    place = home / ALIAS

    def find(name: str) -> pwd.struct_passwd | None:
        account = find_account(name)
        if name != ALIAS or (account is not None and account.pw_dir == str(place)):
            return account
        try:
            owner = place.stat()
        except OSError:
            return None
        return pwd.struct_passwd((ALIAS, "x", owner.st_uid, owner.st_gid, "", str(place), ""))

    return find


def _owner(account: pwd.struct_passwd) -> int:
    return Path(account.pw_dir).stat().st_uid


def getpw(
    local: bytes, find: PasswdLookup = find_account, owner_of: Callable[[pwd.struct_passwd], int] = _owner
) -> Assignment | Failure:
    """The account that qmail-getpw gives for a local part (qmail-getpw(8), Q-GETPW-1, -2).

    ``find`` searches passwd; ``owner_of`` gives the uid of the owner of its home, or raises the OSError of stat.
    """
    for end in _name_ends(local):
        account = find(os.fsdecode(local[:end].lower()))
        if account is None or account.pw_uid == 0:
            continue
        try:
            owner = owner_of(account)
        except OSError as error:
            if is_temporary(error.errno):
                return NFS_TROUBLE
            continue
        if owner == account.pw_uid:
            dash = local[end : end + 1]
            return _of_account(account, dash, local[end + 1 :], "passwd")
    alias = find(ALIAS)
    return NO_ALIAS if alias is None else _of_account(alias, b"-", local, "alias")


def _name_ends(local: bytes) -> Iterator[int]:
    """Where a name can end: with the local part, and before each dash; longest first (Q-GETPW-1)."""
    if len(local) < NAME_OCTETS:
        yield len(local)
    end = local.rfind(BREAK, 0, NAME_OCTETS)
    while end >= 0:
        yield end
        end = local.rfind(BREAK, 0, end)


def _of_account(account: pwd.struct_passwd, dash: bytes, ext: bytes, source: str) -> Assignment:
    name, home = os.fsencode(account.pw_name), os.fsencode(account.pw_dir)
    return Assignment(name, account.pw_uid, account.pw_gid, home, dash, ext, source, name)


def locate(home: Path, local: bytes, find: PasswdLookup = find_account) -> Assignment | Failure:
    """The assignment of a non-empty local part: from users/cdb, opened now, or from qmail-getpw (Q-LSP-3, -8)."""
    try:
        with Cdb(home / CDB_FILE) as cdb:
            found = lookup(cdb, local)
    except FileNotFoundError:
        found = None
    except RecordError:
        return INTERNAL
    except (OSError, CdbError):
        return CDB_TROUBLE
    return getpw(local, find) if found is None else found


def resolve(home: Path, local: bytes, find: PasswdLookup = find_account) -> Assignment | Failure:
    """What qmail-lspawn does with a non-empty local part: the assignment for qmail-local, or why it is not run."""
    found = locate(home, local, find)
    return found if isinstance(found, Failure) else found.failure or found


def split(address: bytes) -> tuple[bytes, bytes] | Failure:
    """(local part, host) of a rewritten address, at the last ``@`` (Q-LSP-2).

    The caller must handle an empty local part: its mail is dropped, with success, before users/cdb is read.
    """
    local, at, host = address.rpartition(b"@")
    return (local, host) if at else NO_HOST
