"""Messages as another POP3 server showed them: named by the UIDLs that it gave, dated in its order."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from hashlib import blake2b

from popbox.migrate.copy.dates import Dates
from popbox.migrate.copy.work import NS
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.stores import Message
from popbox.migrate.oldhost.uidls import not_kept

NAME_OCTETS = 255  # of one name in a directory, on the usual file systems


def named(host: OldHost, where: Where, wanted: Sequence[tuple[Message, bytes | None]]) -> list[Message]:
    """The same messages in the same order, each named by its UIDL; None: it has none yet, and keeps its name.

    A UIDL that no name can have, or that another message has as well, is lost and told with ``where``.
    """
    taken: set[bytes] = set()
    names: dict[int, bytes] = {}
    for number, (message, uidl) in enumerate(wanted):
        if uidl is None:
            continue
        flags = message.name[len(message.uid) :]
        if why := not_named(uidl, flags, taken):
            host.lose(where, f"UIDL {shown(uidl)} of {shown(message.name)}", why)
        else:
            taken.add(uidl)
            names[number] = uidl + flags
    return [
        message._replace(name=names.get(number) or _own(message, taken)) for number, (message, _) in enumerate(wanted)
    ]


def not_named(uidl: bytes, flags: bytes, taken: Container[bytes]) -> str:
    """Why no file can be named by a UIDL and these flags beside names that are ``taken``; empty where one can."""
    why = not_kept(uidl) or ("another message of the box has it too" if uidl in taken else "")
    return why or ("no file name is that long" if len(uidl + flags) > NAME_OCTETS else "")


def _own(message: Message, taken: set[bytes]) -> bytes:
    """Its own name, unless that is the UIDL of another one: then one that no client knows."""
    if message.uid not in taken:
        return message.name
    uid = blake2b(message.sub + b"/" + message.uid, digest_size=16).hexdigest().encode() + b".popbox"
    return uid + message.name[len(message.uid) :]


def dated(messages: list[Message]) -> list[Message]:
    """Dates moved where their order is not that of the list, a second apart then."""
    for unit in (1, NS):
        if sorted(messages, key=lambda one: (one.entry.mtime_ns // unit, one.name)) != messages:
            break
    else:
        return messages
    dates = Dates([None] * len(messages), int(time.time()))
    moments = [dates.at(index, one.entry.mtime_ns // NS) * NS for index, one in enumerate(messages)]
    return [
        one._replace(entry=one.entry._replace(mtime_ns=moment)) for one, moment in zip(messages, moments, strict=True)
    ]
