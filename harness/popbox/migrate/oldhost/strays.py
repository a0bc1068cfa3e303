"""What nothing that was read leads to: mail beside the homes and below the spool, logins of other POP3 servers."""

from __future__ import annotations

import re

from popbox.migrate.oldhost.dialects.system import SPOOLS
from popbox.migrate.oldhost.dialects.text import file_of, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import MAILDIR, MBOX, OldHost, Store
from popbox.migrate.oldhost.opened import holds_mail
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, DirEntry, OldHostError, OldHostTree, look

MBOXES = (b"Mailbox", b"mbox")
GUESSED = "a program of which nothing is known may deliver to it, and no mailbox of the new host has it"
LOGIN_FILES = (
    b"/etc/dovecot/users", b"/etc/dovecot/passwd", b"/etc/dovecot.users", b"/etc/dovecot.passwd",
    b"/etc/courier/userdb", b"/etc/authlib/userdb", b"/usr/local/etc/authlib/userdb", b"/etc/userdb",
)  # fmt: skip
"""Dovecot's passwd-file, and userdb of courier-authlib, where their packages and manuals have them."""
END_OF_NAME = re.compile(rb"[:\t]")
SPOOL_DEPTH = 4  # below /var/mail: h/a/hans, or vhosts/domain/hans/Maildir


def name_strays(tree: OldHostTree, host: OldHost) -> None:
    """Name what an import would leave behind without a word."""
    _beside_homes(tree, host)
    _below_spools(tree, host)
    _other_logins(tree, host)


def _beside_homes(tree: OldHostTree, host: OldHost) -> None:
    """Name Maildirs and mbox files that hold mail and do not come; lost where an unknown program may fill them."""
    above = {home.rpartition(b"/")[0] for home in host.homes} - {b""} - host.homes
    beside = [
        path for path, entry in _listed(tree, sorted(above)) if entry.kind == DIRECTORY and path not in host.homes
    ]
    tree.prepare(beside, deep=False)
    found = [(path + b"/Maildir", entry) for path in beside if (entry := tree.lstat(path + b"/Maildir"))]
    found += _listed(tree, sorted(host.homes))
    found = [(path, entry) for path, entry in found if path not in host.box_paths and path not in host.homes]
    for path in [path for path, _ in found if path.rpartition(b"/")[2] == b"passwd.cdb"]:  # vmailmgr(7)
        host.lose(Where(file_of(path)), "virtual users of vmailmgr", "no dialect reads them, nor the mail in users/")
    tree.prepare([path for path, entry in found if entry.kind == DIRECTORY], deep=False)
    for path, entry in found:
        if _is_mail(tree, path, entry):
            host.wrong("mail-not-opened", Where(file_of(path)), "mail that nothing leads to")
            guessed = path.rpartition(b"/")[0] in host.guessed
            note = host.lose if guessed else host.leave
            note(Where(file_of(path)), "mail", GUESSED if guessed else "no login opens it")


def _below_spools(tree: OldHostTree, host: OldHost) -> None:
    """Mail in directories of the spool: a hashed spool, or mailboxes of another server. One line for each directory."""
    tree.prepare(SPOOLS, deep=False)
    tops = {look(tree, spool.rstrip(b"/"))[0] for spool in SPOOLS}
    for directory in [path for path, entry in _listed(tree, sorted(tops)) if entry.kind == DIRECTORY]:
        found, level = dict[bytes, DirEntry](), [directory]
        for _ in range(SPOOL_DEPTH):
            tree.prepare(level, deep=False)
            inside = dict(_listed(tree, level))
            maildirs = {path for path in level if {path + b"/new", path + b"/cur"} <= inside.keys()}
            inside = {path: entry for path, entry in inside.items() if path.rpartition(b"/")[0] not in maildirs}
            found |= {path: DirEntry(DIRECTORY) for path in maildirs}
            found |= {path: entry for path, entry in inside.items() if entry.kind == FILE}
            level = [path for path, entry in inside.items() if entry.kind == DIRECTORY]
        found = {path: entry for path, entry in found.items() if path not in host.box_paths}
        first = next((path for path, entry in sorted(found.items()) if _is_box(tree, path, entry)), None)
        if first is not None:
            why = "only files of the spool itself are read, none in its directories: move them up in a copy"
            host.lose(Where(file_of(directory)), f"mail of a hashed spool or of another server ({shown(first)})", why)


def _is_box(tree: OldHostTree, path: bytes, entry: DirEntry) -> bool:
    """A Maildir with mail, or a file that begins as an mbox; one too large to look at is taken for mail."""
    if entry.kind == DIRECTORY:
        tree.prepare([path])
        return holds_mail(tree, Store(MAILDIR, path))
    if entry.size == 0 or path.rpartition(b"/")[2].startswith(b"."):
        return False
    try:
        return tree.read(path).startswith(b"From ")
    except OldHostError:
        return True


def _other_logins(tree: OldHostTree, host: OldHost) -> None:
    """Files in which another POP3 server of the host has logins that no file which was read has."""
    tree.prepare(LOGIN_FILES, deep=False)
    files = []
    for path in LOGIN_FILES:
        real, entry = look(tree, path)
        if entry is not None and entry.kind == DIRECTORY:  # userdb may be one: all files in it count
            files += [inside for inside, each in _listed(tree, [real]) if each.kind == FILE]
        elif entry is not None and entry.kind == FILE:
            files.append(real)
    known = {login.name.encode("latin-1") for login in host.logins}
    for path in files:
        lines = [line for _, line in numbered(text_of(tree, host, path) or b"") if END_OF_NAME.search(line)]
        names = {END_OF_NAME.split(line)[0] for line in lines if not line.startswith(b"#")}
        if others := sorted(names - known):
            what = f"{len(others)} logins of another POP3 server" if others[1:] else "a login of another POP3 server"
            host.lose(Where(file_of(path)), what, f"{shown(others[0])}: no dialect reads this file; declare by hand")


def _listed(tree: OldHostTree, folders: list[bytes]) -> list[tuple[bytes, DirEntry]]:
    found = []
    for folder in folders:
        try:
            found += [(folder + b"/" + name, entry) for name, entry in tree.scan(folder)]
        except OldHostError:
            continue  # who looked into it has said so
    return found


def _is_mail(tree: OldHostTree, path: bytes, entry: DirEntry) -> bool:
    if entry.kind == FILE:
        return path.rpartition(b"/")[2] in MBOXES and holds_mail(tree, Store(MBOX, path))
    is_maildir = entry.kind == DIRECTORY and all(tree.lstat(path + part) for part in (b"/new", b"/cur"))
    return is_maildir and holds_mail(tree, Store(MAILDIR, path))
