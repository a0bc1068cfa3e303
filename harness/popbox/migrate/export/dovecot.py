"""For Dovecot: dovecot-uidlist, which keeps UIDLs and order, beside each Maildir; users; what its settings must say."""

from __future__ import annotations

import os
import re
import secrets
import time
from hashlib import blake2b

from popbox.migrate.copy.folder import Folder
from popbox.migrate.export.beside import Beside, twin_of
from popbox.migrate.export.place import Out
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.oldhost.dovecot_uidlist import Row, Uidlist, fits, parse, render
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.model import OldHost, Store
from popbox.migrate.oldhost.stores import DOVECOT_IDS, Contents
from popbox.migrate.oldhost.tree import OldHostTree
from popbox.migrate.verify.files.maildrop import Maildrops

POP3_UIDL_FORMAT = "%f"
_SIZES = re.compile(rb",([SW])=(\d+)")

CONFIGURATION = """\
# What an export of popbox needs of Dovecot 2.3. Put the users file and the mail where these lines say.
protocols = pop3 imap
mail_location = maildir:~/Maildir
auth_username_format = %u
auth_username_chars =
# Old messages keep their UIDLs by dovecot-uidlist whatever stands here; new ones get them by file name, as before.
pop3_uidl_format = {form}
passdb {{
  driver = passwd-file
  args = username_format=%u {users}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {users}
}}
first_valid_uid = {uid}
first_valid_gid = {gid}
"""


def renamed(_tree: OldHostTree, _host: OldHost, _store: Store, there: Contents) -> Contents:
    """The same messages under names that Dovecot reads as we do; their UIDLs are in dovecot-uidlist."""
    messages = [one._replace(name=name_for(one.name, one.entry.size)) for one in there.messages]
    return there._replace(messages=messages)


def name_for(name: bytes, size: int) -> bytes:
    """A file's name; another one where it says sizes (``,S=``, ``,W=``) that Dovecot would believe and are not true."""
    base, colon, flags = name.partition(b":")
    if all(key == b"S" and int(octets) == size for key, octets in _SIZES.findall(base)):
        return name
    return blake2b(base, digest_size=16).hexdigest().encode() + b".popbox" + colon + flags


def write_uidlist(out: Out, box: Box, drops: Maildrops) -> list[str]:
    """Write the file beside one Maildir; returns what of it cannot be kept, in words. ``drops`` are those exported.

    Raises:
        FolderError: a link or something else has the place of one of its folders.
        OldHostError: the Maildir cannot be listed.
        OSError: the disk refuses a write.
    """
    rows: list[Row] = []
    problems = []
    folder = Folder(out.popboxes, out.maildir(box))
    with folder.open(b"new") as new, folder.open(b"cur") as cur:
        here = {os.fsencode(name).partition(b":")[0] for name in [*os.listdir(new), *os.listdir(cur)]}
        for item in drops.items(box.store, [], {}):
            name, uidl = item.path.rpartition(b"/")[2], os.fsencode(item.uidl)
            base = name_for(name, item.entry.size).partition(b":")[0]
            why = _why(name.partition(b":")[0], base, uidl)
            if why:
                problems.append(f"{box.address}: {shown(name)}: the UIDL cannot be kept: {why}")
            elif base in here:  # one that came since is copied by the next run
                rows.append(Row(len(rows) + 1, base, uidl, len(rows) + 1))
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=new)
        try:
            return problems + _put(out, box, above, rows)
        finally:
            os.close(above)


def _why(name: bytes, base: bytes, uidl: bytes) -> str:
    return twin_of(name, uidl) or ("" if fits(base, uidl) else "no line of dovecot-uidlist can hold it")


def _put(out: Out, box: Box, maildir: int, rows: list[Row]) -> list[str]:
    """Write the file, unless Dovecot has been at work on it."""
    noted = out.to / "state" / "uidlists" / box.domain / box.local
    beside = Beside(out, out.maildir(box), maildir, DOVECOT_IDS, noted)
    if not beside.ours:
        return [f"{box.address}: its dovecot-uidlist is not the one that an export wrote; left as it is"]
    new = Uidlist(int(time.time()), secrets.token_hex(16).encode(), ())
    known = new if beside.before is None else parse(beside.before)
    beside.write(render(Uidlist(known.validity, known.guid, rows)))
    return []


def user(box: Box, home: str, owner: tuple[int, int]) -> str:
    """The line of one login in Dovecot's passwd-file; empty for a locked login."""
    if box.login is None or not box.login.has_hash:
        return ""
    return f"{box.login.name}:{{CRYPT}}{box.login.crypt.decode('ascii')}:{owner[0]}:{owner[1]}::{home}::\n"
