"""For Dovecot: dovecot-uidlist, which keeps UIDLs and order, beside each Maildir; users; what its settings must say."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from hashlib import blake2b, sha256

from popbox.migrate.copy.accounts import write_private
from popbox.migrate.copy.folder import Folder
from popbox.migrate.copy.journal import sync_directory
from popbox.migrate.export.place import Out
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.oldhost.dovecot_uidlist import Row, Uidlist, fits, parse, render
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.model import OldHost, Store
from popbox.migrate.oldhost.stores import DOVECOT_IDS, Contents
from popbox.migrate.oldhost.tree import OldHostTree
from popbox.migrate.verify.files.maildrop import TWIN, Maildrops

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SIZES = re.compile(rb",([SW])=(\d+)")
_STAGED = b".dovecot-uidlist.popbox"

CONFIGURATION = """\
# What an export of popbox needs of Dovecot 2.3. Put the users file and the mail where these lines say.
protocols = pop3 imap
mail_location = maildir:~/Maildir
auth_username_format = %u
auth_username_chars =
# Old messages keep their UIDLs by dovecot-uidlist whatever stands here; new ones get them by file name, as before.
pop3_uidl_format = %f
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
    if uidl.endswith(TWIN.encode()) and uidl != name:
        return "another message has its name too"
    return "" if fits(base, uidl) else "no line of dovecot-uidlist can hold it"


def _put(out: Out, box: Box, maildir: int, rows: list[Row]) -> list[str]:
    """Write the file, unless Dovecot has been at work on it."""
    noted = out.to / "state" / "uidlists" / box.domain / box.local
    before = _read(maildir)
    ours = noted.read_text().split() if noted.exists() else []
    if before is not None and sha256(before).hexdigest() not in ours:
        return [f"{box.address}: its dovecot-uidlist is not the one that an export wrote; left as it is"]
    known = parse(before) if before is not None else Uidlist(int(time.time()), secrets.token_hex(16).encode(), ())
    text = render(Uidlist(known.validity, known.guid, rows))
    if text == before:
        return []
    noted.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{sha256(one).hexdigest()}\n" for one in (before, text) if one is not None)
    write_private(noted, "".join(lines).encode())  # both: a killed run may leave either
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_STAGED, dir_fd=maildir)
    file = os.open(_STAGED, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=maildir)
    with os.fdopen(file, "wb") as written:
        written.write(text)
        written.flush()
        if out.owner is not None:
            os.fchown(file, *out.owner)
        os.fsync(file)
    os.rename(_STAGED, DOVECOT_IDS, src_dir_fd=maildir, dst_dir_fd=maildir)
    sync_directory(out.maildir(box))
    return []


def _read(maildir: int) -> bytes | None:
    try:
        with os.fdopen(os.open(DOVECOT_IDS, _READ, dir_fd=maildir), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError:
        return b""  # a link, a directory: none of ours


def user(box: Box, home: str, owner: tuple[int, int]) -> str:
    """The line of one login in Dovecot's passwd-file; empty for a locked login."""
    if box.login is None or not box.login.crypt or box.login.crypt.startswith((b"!", b"*")):
        return ""
    return f"{box.login.name}:{{CRYPT}}{box.login.crypt.decode('ascii')}:{owner[0]}:{owner[1]}::{home}::\n"
