"""Mail in and beside the homes that nothing leads to: no login opens it, no line delivers to it, no mailbox has it."""

from __future__ import annotations

from popbox.migrate.oldhost.dialects.text import file_of
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import MAILDIR, MBOX, OldHost, Store
from popbox.migrate.oldhost.opened import holds_mail
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, DirEntry, OldHostError, OldHostTree

MBOXES = (b"Mailbox", b"mbox")
GUESSED = "a program of which nothing is known may deliver to it, and no mailbox of the new host has it"


def name_strays(tree: OldHostTree, host: OldHost) -> None:
    """Name Maildirs and mbox files that hold mail and do not come; lost where an unknown program may fill them."""
    above = {home.rpartition(b"/")[0] for home in host.homes} - {b""} - host.homes
    beside = [
        path for path, entry in _listed(tree, sorted(above)) if entry.kind == DIRECTORY and path not in host.homes
    ]
    tree.prepare(beside, deep=False)
    found = [(path + b"/Maildir", entry) for path in beside if (entry := tree.lstat(path + b"/Maildir"))]
    found += _listed(tree, sorted(host.homes))
    found = [(path, entry) for path, entry in found if path not in host.box_paths and path not in host.homes]
    tree.prepare([path for path, entry in found if entry.kind == DIRECTORY], deep=False)
    for path, entry in found:
        if _is_mail(tree, path, entry):
            host.wrong("mail-not-opened", Where(file_of(path)), "mail that nothing leads to")
            guessed = path.rpartition(b"/")[0] in host.guessed
            note = host.lose if guessed else host.leave
            note(Where(file_of(path)), "mail", GUESSED if guessed else "no login opens it")


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
