"""A maildrop as one session sees it: numbered messages, their sizes and ids. Values only, no I/O."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Container, Mapping
from itertools import chain, compress
from typing import NamedTuple

UID_OCTETS = 70
"""RFC 1939 §7 (UIDL): an id is 1 to 70 characters in the range 0x21 to 0x7E."""

LARGE = 4_096
"""From this many messages on, work that takes over 1 ms is done in a thread."""

RUN = 1_024
"""Lines rendered by one call, during which no other thread runs: about 0.2 ms."""

# Content flags: what the sizing pass has seen in a file. Without KNOWN nothing is known and every conversion is done.
KNOWN = 1
HAS_CR = 2
HAS_DOT = 4
PARTIAL = 8
"""The last line has no line end."""


_TWIN = b".twin"

Heading = Callable[[int], bytes]
"""The first line, with its line end, of a reply that lists this many messages."""


class Message(NamedTuple):
    """One message: ``path`` below the Maildir (``new/...`` or ``cur/...``), ``size`` in octets as LIST shows it.

    ``content_flags`` are the flags above; ``disk``, ``mtime_ns`` and ``inode`` identify the file they were taken from.
    A NamedTuple, not a dataclass: a box of 100,000 messages makes 100,000 of them at login.
    """

    path: bytes
    uid: bytes
    size: int
    content_flags: int
    disk: int
    mtime_ns: int
    inode: int


class Listing:
    """The messages of one maildrop in message order; shared by sessions, so nothing in it changes after it is made.

    ``total`` is the sum of sizes, ``fresh`` what QUIT moves: what lies in new/, and twins. The replies to LIST and UIDL
    are rendered once: a client that polls a large box asks for the same octets each time, and sessions that have not
    read them yet share them. So a listing is one profile's, and ``heading`` the same each time.
    """

    __slots__ = ("_scan_reply", "_uid_reply", "fresh", "messages", "total")

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self.messages = messages
        self.total = sum([message.size for message in messages])
        self.fresh = tuple([(n, message) for n, message in enumerate(messages, 1) if message.path.startswith(b"new/")])
        moving = [(n, message) for n, message in enumerate(messages, 1) if _TWIN in message.uid and renamed(message)]
        if moving:
            self.fresh = tuple(sorted({*self.fresh, *moving}))
        """Numbers and messages."""
        self._scan_reply: bytes | None = None
        self._uid_reply: bytes | None = None

    def prepare(self, heading: Heading) -> None:
        """Render now, in a thread, what would delay other sessions later."""
        if len(self.messages) > LARGE:
            self.scan_reply(heading, set())
            self.uid_reply(heading, set())

    def scan_reply(self, heading: Heading, deleted: set[int]) -> bytes:
        """The reply to LIST (RFC 1939 §5): ``n size`` for messages whose number is not in ``deleted``."""
        if self._scan_reply is None:
            sizes = [(n, message.size) for n, message in enumerate(self.messages, 1)]
            self._scan_reply = heading(len(sizes)) + _size_lines(sizes) + b".\r\n"
        return self._left(self._scan_reply, heading, deleted) if deleted else self._scan_reply

    def uid_reply(self, heading: Heading, deleted: set[int]) -> bytes:
        """The reply to UIDL (RFC 1939 §7): ``n id`` for messages whose number is not in ``deleted``."""
        if self._uid_reply is None:
            lines = [b"%d %b\r\n" % (n, message.uid) for n, message in enumerate(self.messages, 1)]
            self._uid_reply = heading(len(lines)) + b"".join(lines) + b".\r\n"
        return self._left(self._uid_reply, heading, deleted) if deleted else self._uid_reply

    def _left(self, reply: bytes, heading: Heading, deleted: set[int]) -> bytes:
        """A whole reply without the lines of ``deleted``: ten times faster than to render the others again."""
        lines = reply.split(b"\r\n")
        if len(lines) != len(self.messages) + 3:  # a file name with CR LF in it, which the profile qmail shows as it is
            lines = [b"", *[b"%d %b" % (n, message.uid) for n, message in enumerate(self.messages, 1)], b".", b""]
        lines[0] = heading(len(self.messages) - len(deleted))[:-2]
        shown = bytearray(b"\1") * len(lines)
        for number in deleted:
            shown[number] = 0
        return b"\r\n".join(compress(lines, shown))

    def fresh_without(self, deleted: set[int]) -> tuple[Message, ...]:
        """What QUIT moves to cur/ (maildir(5)), except messages whose number is in ``deleted``."""
        return tuple([message for number, message in self.fresh if number not in deleted])


def _size_lines(pairs: list[tuple[int, int]]) -> bytes:
    """``n size`` lines; one format call for many is twice as fast as one for each; one for all delays others."""
    parts = [pairs[start : start + RUN] for start in range(0, len(pairs), RUN)]
    return "".join(["%d %d\r\n" * len(part) % tuple(chain.from_iterable(part)) for part in parts]).encode("ascii")


def base_name(path: bytes) -> bytes:
    """The unique part of a Maildir file's path: no directory, nothing from the first colon on (maildir(5))."""
    return path[4:].partition(b":")[0]


def legal_uid(name: bytes) -> bool:
    """Whether RFC 1939 allows ``name`` as a unique-id."""
    return 0 < len(name) <= UID_OCTETS and not name.translate(None, _UID_OCTET_SET)


_UID_OCTET_SET = bytes(range(0x21, 0x7F))


def strict_uids(messages: list[Message], earlier: Mapping[int, Message]) -> list[bytes]:
    """Unique ids that RFC 1939 allows, one for each message, the same at every login.

    A legal base name is its own id, as in qmail-pop3d. An illegal one is hashed. Of twins (one base name in new/ and
    cur/, or with two suffixes) one keeps that id: the one that was listed with it before (``earlier``, by inode),
    otherwise the one in cur/, otherwise the oldest. The others get ``twin_uid``, and QUIT makes it their name
    (``Maildrop.keep``): so they keep it, whatever happens to the first.
    """
    uids = [e.uid if legal_uid(e.uid) else _hashed(base_name(e.path)) for e in messages]
    taken = set(uids)
    if len(taken) == len(uids):
        return uids
    groups: dict[bytes, list[int]] = {}
    for index, uid in enumerate(uids):
        groups.setdefault(uid, []).append(index)

    def newness(index: int) -> tuple[bool, bool, int, bytes]:
        message = messages[index]
        before = earlier.get(message.inode)
        known = before is not None and before.uid == uids[index] and base_name(before.path) == base_name(message.path)
        return not known, message.path.startswith(b"new/"), message.mtime_ns, message.path

    for group in [group for group in groups.values() if len(group) > 1]:
        for index in sorted(group, key=newness)[1:]:
            uids[index] = twin_uid(base_name(messages[index].path), messages[index].inode, taken)
            taken.add(uids[index])
    return uids


def twin_uid(name: bytes, inode: int, taken: Container[bytes] = ()) -> bytes:
    """The id, and later the base name, of a message whose base name ``name`` another message has too.

    It begins with the same time, and is no longer than an id may be (RFC 1939 §7).
    """
    digits = name[: len(name) - len(name.lstrip(b"0123456789"))][:20] or b"0"
    for count in itertools.count():
        mark = hashlib.blake2b(b"%b\0%d\0%d" % (name, inode, count), digest_size=16).hexdigest()
        uid = digits + _TWIN + mark.encode("ascii")
        if uid not in taken:
            return uid
    raise AssertionError("unreachable")


def settled_name(message: Message) -> bytes:
    """The base name (maildir(5)) a message has from QUIT on: its own, or a twin's id."""
    return message.uid if _TWIN in message.uid and b"/" not in message.uid else base_name(message.path)


def renamed(message: Message) -> bool:
    """Whether QUIT gives a message another base name, see ``settled_name``."""
    return settled_name(message) != base_name(message.path)


def _hashed(name: bytes) -> bytes:
    """A 40-character id for a name that cannot be one itself."""
    return hashlib.blake2b(name, digest_size=20).hexdigest().encode("ascii")
