"""The mail of the old host: what lies in a Maildir or an mbox, how much, and what is wrong with it."""

from __future__ import annotations

from typing import NamedTuple

from popbox.migrate.oldhost.dialects.text import file_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.mboxes.formats import directory
from popbox.migrate.oldhost.model import MAILDIR, OldHost, Store
from popbox.migrate.oldhost.tree import (
    DIRECTORY,
    ESCAPES,
    FILE,
    LINK,
    OUTSIDE,
    DirEntry,
    FileRequest,
    OldHostError,
    OldHostTree,
    hidden,
    look,
)

PARTS = (b"new", b"cur")
UIDL_OCTETS = 70  # RFC 1939 §7
COURIER_IDS = b"courierpop3dsizelist"
DOVECOT_IDS = b"dovecot-uidlist"


class Message(NamedTuple):
    """One file of a Maildir: ``sub`` is new or cur; ``path`` the real one on the old host.

    ``known_as``: what an import's journal knows it by, where that is not ``uid``, as its name is another one there.
    """

    sub: bytes
    name: bytes
    path: bytes
    entry: DirEntry
    known_as: bytes = b""

    @property
    def uid(self) -> bytes:
        """The name up to the first colon, qmail-pop3d's UIDL (Q-POP3-9)."""
        return self.name.partition(b":")[0]

    @property
    def where(self) -> Where:
        """As findings name it."""
        return Where(file_of(self.path))


class Contents(NamedTuple):
    """What a store holds. ``whole`` False: not all of it could be listed, so no mail may be taken for gone."""

    messages: list[Message]
    mbox: FileRequest | None
    whole: bool

    @property
    def octets(self) -> int:
        """Octets on the old host's disk."""
        return sum(message.entry.size for message in self.messages) + (self.mbox.entry.size if self.mbox else 0)


NOTHING = Contents([], None, whole=False)


def contents(tree: OldHostTree, host: OldHost, store: Store, now_ns: int) -> Contents:
    """List a store without opening a message; what is wrong goes to the findings."""
    real, entry = look(tree, store.path)
    where = Where(file_of(store.path))
    if entry is not None and entry.kind == ESCAPES:
        host.wrong("home-escapes", where, "the store is not followed")
        host.lose(where, "mail", "a link leads out of the copy, or in a circle")
        return NOTHING
    if entry is not None and entry.kind == OUTSIDE:
        host.lose(where, "mail", "the copy does not hold it")
    if store.kind == MAILDIR:
        if entry is None or entry.kind != DIRECTORY:
            why = hidden(tree, store.path) if entry is None else ""
            if entry is None or entry.kind != OUTSIDE:
                host.wrong("maildir-missing", where, why or "there is no such directory")
            if why:
                host.lose(where, "mail", why)
            return NOTHING
        return _maildir(tree, host, real, now_ns)
    if entry is None and (why := hidden(tree, store.path)):
        host.lose(where, "mail", why)
        return NOTHING
    if entry is None or entry.kind == OUTSIDE:
        return Contents([], None, whole=entry is None)  # an mbox to which nothing has been delivered yet
    if entry.kind != FILE:
        told = f"it is a {entry.kind}" if entry.kind != DIRECTORY else directory(_names(tree, real))
        host.wrong("mbox-not-mbox", where, told)
        host.lose(where, "mail", f"{told}, and an mbox file is expected")
        return NOTHING
    return Contents([], FileRequest(real, entry), whole=True)


def _maildir(tree: OldHostTree, host: OldHost, real: bytes, now_ns: int) -> Contents:
    messages: list[Message] = []
    whole = True
    for part in (b"tmp", *PARTS):
        path, entry = look(tree, real + b"/" + part)
        if entry is None or entry.kind != DIRECTORY:
            _no_part(tree, host, real + b"/" + part, entry)
            whole = whole and part == b"tmp"
        elif part != b"tmp":
            whole = _part(tree, host, path, part, messages) and whole
    names = [name for name in _names(tree, real) if name != b"tmp"]
    if names and not set(PARTS) & set(names):
        host.lose(Where(file_of(real)), "mail", f"{directory(names)}, and a Maildir is expected")
    _beside(tree, host, real)
    _judge(host, messages, now_ns)
    return Contents(messages, None, whole)


def _no_part(tree: OldHostTree, host: OldHost, path: bytes, entry: DirEntry | None) -> None:
    where, elsewhere = Where(file_of(path)), entry is not None and entry.kind in (OUTSIDE, ESCAPES)
    why = "a link leads out of the copy, or in a circle" if elsewhere else "" if entry else hidden(tree, path)
    told = why or (f"it is a {entry.kind}" if entry else "there is no such directory")
    host.wrong("maildir-part-missing", where, told)
    if why and not path.endswith(b"/tmp"):
        host.lose(where, "mail", why)


def _beside(tree: OldHostTree, host: OldHost, real: bytes) -> None:
    """What servers of IMAP keep in a Maildir: folders, which POP3 has not, and courier's own ids of messages."""
    try:
        found = tree.scan(real)
    except OldHostError:
        return  # new, cur and tmp have said so
    for name, entry in found:
        path = real + b"/" + name
        where = Where(file_of(path))
        if name == COURIER_IDS and entry.kind == FILE:
            host.wrong("uidl-courier", where, "courier-pop3d has served this Maildir")
        elif name == DOVECOT_IDS and entry.kind == FILE:
            host.wrong("uidl-dovecot", where, "Dovecot has served this Maildir")
        elif entry.kind == DIRECTORY and name.startswith(b".") and tree.lstat(path + b"/cur"):
            if path in host.box_paths:
                continue
            count = sum(_messages_in(tree, path + b"/" + part) for part in PARTS)
            held = f"a folder of {count} message{'' if count == 1 else 's'}"
            host.wrong("maildir-folder", where, held)
            host.leave(where, held, "POP3 has no folders")


def _names(tree: OldHostTree, path: bytes) -> list[bytes]:
    try:
        return [name for name, _ in tree.scan(path)]
    except OldHostError:
        return []


def _messages_in(tree: OldHostTree, path: bytes) -> int:
    try:
        return sum(entry.kind == FILE and not name.startswith(b".") for name, entry in tree.scan(path))
    except OldHostError:
        return 0


def _part(tree: OldHostTree, host: OldHost, path: bytes, part: bytes, messages: list[Message]) -> bool:
    """Add the messages of new or cur; False where it cannot be listed."""
    try:
        found = tree.scan(path)
    except OldHostError as why:
        host.unreadable(Where(file_of(path)), str(why))
        return False
    for name, entry in found:
        if name.startswith(b"."):
            continue
        if entry.kind != FILE:
            where = Where(file_of(path + b"/" + name))
            host.wrong("message-not-regular", where, f"it is a {entry.kind}")
            note = host.lose if entry.kind == LINK else host.leave  # qmail-pop3d follows a link
            note(where, f"a {entry.kind} among the messages", "it is no file")
        else:
            messages.append(Message(part, name, path + b"/" + name, entry))
    return True


def _judge(host: OldHost, messages: list[Message], now_ns: int) -> None:
    seen: dict[bytes, Message] = {}
    for message in messages:
        uid = message.uid
        first = seen.setdefault(uid, message)
        if first is not message:
            host.wrong("uidl-twice", message.where, f"{shown(uid)} is {shown(first.path)} too")
        if not 0 < len(uid) <= UIDL_OCTETS or uid.translate(None, bytes(range(0x21, 0x7F))):
            host.wrong("uidl-not-rfc1939", message.where, f"UIDL {shown(uid)!r}, {len(uid)} octets")
        if message.entry.mtime_ns > now_ns:
            days = (message.entry.mtime_ns - now_ns) / 86_400e9
            host.wrong("message-future", message.where, f"dated {days:.1f} days ahead")
