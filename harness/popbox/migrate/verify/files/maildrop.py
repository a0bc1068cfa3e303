"""A Maildir or an mbox as the listing that a server would give: which files, their ids, order and sizes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.opened import opened
from popbox.migrate.oldhost.mboxes.split import Piece
from popbox.migrate.oldhost.mboxes.survey import BY_THE_FILE, Choice
from popbox.migrate.oldhost.mboxes.trial import Doubt
from popbox.migrate.oldhost.model import MAILDIR, Store
from popbox.migrate.oldhost.stores import PARTS, UIDL_OCTETS
from popbox.migrate.oldhost.tree import (
    DIRECTORY,
    FILE,
    LINK,
    DirEntry,
    FileRequest,
    OldHostError,
    OldHostTree,
    Vanished,
    look,
)
from popbox.migrate.pop3.listing import Listing
from popbox.migrate.verify.digest import digest
from popbox.migrate.verify.files import courier
from popbox.migrate.verify.files.wire import sent
from popbox.migrate.verify.mailbox import Side
from popbox.migrate.verify.message import Message

TRIES = 3  # our choice: a box is listed again where a server renames or removes messages at the same time
SECOND_NS = 1_000_000_000
TWIN = ".twin"


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of new or cur that a server would list."""

    path: bytes
    uidl: str
    entry: DirEntry
    size: int | None = None
    """What its server has noted as the size that LIST gives; None: by the rules."""


@dataclass(frozen=True, slots=True)
class Maildrops:
    """The mailboxes of one host: its tree and the profile of its server: ``qmail``, ``rfc1939`` or ``courier``.

    ``auto``: courier's where it has left its ids in a Maildir, else qmail's.
    """

    tree: OldHostTree
    profile: str
    now_ns: int
    mbox: Choice = BY_THE_FILE

    def side(self, store: Store, content: bool, places: Mapping[str, int] | None = None) -> Side:
        """What a session would show; ``places``: UIDL -> number on the other host, where this one leaves order open.

        Raises:
            OldHostError: the box cannot be read.
        """
        for left in reversed(range(TRIES)):
            try:
                drops = replace(self, profile=self.profile_of(store))
                return drops._mbox(store) if store.kind != MAILDIR else drops._maildir(store, content, places)
            except Vanished:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def profile_of(self, store: Store) -> str:
        """By which rules a store is read; an mbox has none of a server."""
        if store.kind != MAILDIR:
            return "rfc1939"
        if self.profile != "auto":
            return self.profile
        return "courier" if courier.served(self.tree, look(self.tree, store.path)[0]) else "qmail"

    def _maildir(self, store: Store, content: bool, places: Mapping[str, int] | None) -> Side:
        odd: list[str] = []
        listing = Listing()
        items = self.items(store, odd, places or {})
        if self.profile == "courier":
            items, listing = self._by_courier(store, items, odd)
        messages = [Message(number, _written(item.uidl), item.entry.size) for number, item in enumerate(items, 1)]
        for message, item in zip(messages, items, strict=True):
            if item.entry.kind == LINK:
                message.trouble = f"{shown(item.path)} is a link, which is not followed"
        if content:
            self._read(messages, items)
        return Side(messages, listing=listing, odd=odd)

    def _by_courier(self, store: Store, items: list[Item], odd: list[str]) -> tuple[list[Item], Listing]:
        """UIDLs, sizes and order as courierpop3d has noted them; ``odd`` takes what it has not."""
        known = courier.ids(self.tree, look(self.tree, store.path)[0])
        found = []
        for item in sorted(items, key=lambda one: courier.rank(one.path)):
            uidl, size = known.of(item.path.rpartition(b"/")[2])
            found.append(replace(item, uidl="" if known.no_uidl else uidl, size=size))
        odd += known.odd
        return found, Listing(no_uidl=known.no_uidl if found else "", wrong=known.wrong)

    def items(self, store: Store, odd: list[str], places: Mapping[str, int]) -> list[Item]:
        """What a session would list of a Maildir, in its order; ``odd`` takes, in words, what is no message.

        Raises:
            OldHostError: it cannot be read.
        """
        return self._in_order(self._items(store, odd), places)

    def _items(self, store: Store, odd: list[str]) -> list[Item]:
        """Regular files, and for qmail-pop3d links too, dated before this second (Q-POP3-4)."""
        real, entry = look(self.tree, store.path)
        if entry is None or entry.kind != DIRECTORY:
            raise OldHostError(f"{shown(store.path)}: is no directory that could be read")
        found: list[Item] = []
        for part in PARTS:
            folder = look(self.tree, real + b"/" + part)[0]
            for name, one in self._scan(folder):
                if name.startswith(b"."):
                    continue
                path = folder + b"/" + name
                if one.kind == FILE or (one.kind == LINK and self.profile != "rfc1939"):
                    found.append(Item(path, os.fsdecode(name.partition(b":")[0]), one))
                else:
                    odd.append(f"has {shown(path)}, a {one.kind}, which is no message")
        if self.profile == "qmail":
            past = self.now_ns // SECOND_NS * SECOND_NS
            return [item for item in found if item.entry.mtime_ns < past]
        return found if self.profile == "courier" else _strict(found)

    def _scan(self, path: bytes) -> list[tuple[bytes, DirEntry]]:
        try:
            return self.tree.scan(path)
        except OldHostError as why:
            raise OldHostError(f"{shown(path)}: {why}") from why

    def _in_order(self, items: list[Item], places: Mapping[str, int]) -> list[Item]:
        """By date and name; qmail-pop3d leaves the order within a second open (Q-POP3-5): then as on the other host."""
        if self.profile != "qmail":
            return sorted(items, key=lambda item: (item.entry.mtime_ns, item.path.rpartition(b"/")[2]))

        def rank(item: Item) -> tuple[int, int, int, bytes]:
            ns = item.entry.mtime_ns
            return ns // SECOND_NS, places.get(_written(item.uidl), 0), ns, item.path

        return sorted(items, key=rank)

    def _read(self, messages: list[Message], items: list[Item]) -> None:
        """Fill in the contents and, by the profile, the sizes of what was read.

        Raises:
            Vanished: a message has gone or was changed since it was listed.
        """
        wanted = {item.path: message for message, item in zip(messages, items, strict=True) if not message.trouble}
        sizes = {item.path: item.size for item in items}
        requests = [FileRequest(item.path, item.entry) for item in items if item.path in wanted]
        for request, body in self.tree.bodies(requests):
            message = wanted[request.path]
            if isinstance(body, Vanished):
                raise body
            try:
                if isinstance(body, OldHostError):
                    raise body
                octets = _Counted(body)
                message.content = found = digest(sent(octets, self.profile))
            except Vanished:
                raise
            except OldHostError as why:
                message.trouble = f"{shown(request.path)} {why}"
                continue
            if octets.total != request.entry.size:
                raise Vanished(f"{shown(request.path)}: is changed while it is read")
            if self.profile == "courier":
                noted = sizes[request.path]
                message.size = courier.listed(found, request.entry.size) if noted is None else noted
            elif self.profile != "qmail":
                message.size = found.octets

    def _mbox(self, store: Store) -> Side:
        """Messages in the order of the file; what ids a server made for them is not in it."""
        real, entry = look(self.tree, store.path)
        listing = Listing(no_uidl="an mbox has no ids")
        if entry is None:
            return Side(listing=listing)  # nothing has been delivered yet
        if entry.kind != FILE:
            raise OldHostError(f"{shown(store.path)}: is no regular file but a {entry.kind}")
        doubts: list[Doubt] = []
        messages: list[Message] = []
        for _, body in self.tree.bodies([FileRequest(real, entry)]):
            if isinstance(body, OldHostError):
                raise body
            with opened(body, self.mbox) as (reading, split):
                doubts = reading.doubts
                for number, octets in enumerate(_messages(iter(split))):
                    if number or not reading.folder_data:
                        found = digest(sent([octets], "rfc1939"))
                        messages.append(Message(len(messages) + 1, "", found.octets, found))
        wrong = [f"has an mbox, {shown(store.path)}, that is not clear: line {line}: {text}" for line, text in doubts]
        return Side(messages, listing=replace(listing, wrong=wrong))


class _Counted:
    """Pieces, and how many octets they had."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self.total = pieces, 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.total += len(piece)
            yield piece


def _written(uidl: str) -> str:
    """An id as reports have it: octets that are no UTF-8, which JSON cannot hold, are escaped."""
    return os.fsencode(uidl).decode("utf-8", "backslashreplace")


def _messages(pieces: Iterator[Piece]) -> Iterator[bytes]:
    held: list[bytes] = []
    for piece in pieces:
        if piece.start and held:
            yield b"".join(held)
            held = []
        held.append(piece.octets)
    if held:
        yield b"".join(held)


def _strict(items: list[Item]) -> list[Item]:
    """Ids as ours gives them: what RFC 1939 does not allow is hashed, and one of twins alone keeps the name.

    Which new id a twin gets depends on its inode: it is named ``ID.twin`` here, which is none of the old host.
    """
    taken: set[str] = set()
    made: dict[bytes, str] = {}
    for item in sorted(items, key=lambda i: (i.path.split(b"/")[-2] == b"new", i.entry.mtime_ns, i.path)):
        name = os.fsencode(item.uidl)
        legal = 0 < len(name) <= UIDL_OCTETS and all(0x21 <= octet <= 0x7E for octet in name)
        uidl = item.uidl if legal else hashlib.blake2b(name, digest_size=20).hexdigest()
        made[item.path] = f"{uidl}{TWIN}" if uidl in taken else uidl
        taken.add(uidl)
    return [replace(item, uidl=made[item.path]) for item in items]
