"""TRANSACTION: one handler for each command, in the order parse, check, act, reply (RFC 1939 §5, §7)."""

from __future__ import annotations

import re
from collections.abc import Callable

from mailhost.pop3.protocol.events import Close, Event, Reply, Transmit, Update
from mailhost.pop3.protocol.listing import Heading, Message
from mailhost.pop3.protocol.profiles import err
from mailhost.pop3.protocol.state import SessionState, State

_UTF8_FIRST = err(b"[UTF8] this message has UTF-8 in its header: say UTF8 before the login")
_STRICT = re.compile(rb"[0-9]{1,10}\Z")
_LEADING = re.compile(rb"([0-9]+) *([0-9]+)?")


def stat(memory: SessionState, _: bytes) -> Event:
    """STAT: in the qmail profile the count includes deleted messages, the octets do not (E-71)."""
    listing, deleted = memory.listing, memory.deleted
    count = len(listing.entries) if memory.profile.qmail_quirks else len(listing.entries) - len(deleted)
    return Reply(b"+OK %d %d\r\n" % (count, listing.total - memory.deleted_octets))


def list_(memory: SessionState, argument: bytes) -> Event:
    """LIST [n]."""
    return _one_or_all(memory, argument, lambda entry: b"%d" % entry.size, memory.listing.scan_reply)


def uidl(memory: SessionState, argument: bytes) -> Event:
    """UIDL [n]."""
    return _one_or_all(memory, argument, lambda entry: entry.uid, memory.listing.uid_reply)


def retr(memory: SessionState, argument: bytes) -> Event:
    """RETR n; in the qmail profile RETR n m is TOP n m (E-72)."""
    if memory.profile.qmail_quirks:
        return top(memory, argument)
    number = _number(memory, argument.rstrip(b" "))
    if isinstance(number, Reply):
        return number
    entry = memory.listing.entries[number - 1]
    head = b"+OK %d octets\r\n" % entry.size
    return Transmit(entry, None, head, memory.profile.texts.missing, refusal=_unless_asked(memory))


def top(memory: SessionState, argument: bytes) -> Event:
    """TOP n m; in the qmail profile TOP n sends everything (E-73)."""
    texts = memory.profile.texts
    if memory.profile.qmail_quirks:
        match = _LEADING.match(argument.lstrip(b" "))
        number = _number(memory, argument.lstrip(b" "))
        lines = int(match[2]) if match and match[2] else None
        head = texts.done.data
    else:
        first, _, second = argument.rstrip(b" ").partition(b" ")
        number = _number(memory, first)
        if not isinstance(number, Reply) and not _STRICT.match(second):
            return texts.bad_number
        lines = int(second) if _STRICT.match(second) else None
        head = b"+OK top of message follows\r\n"
    if isinstance(number, Reply):
        return number
    return Transmit(memory.listing.entries[number - 1], lines, head, texts.missing, refusal=_unless_asked(memory))


def _unless_asked(memory: SessionState) -> Reply | None:
    """What is said of an 8-bit header, where the operator keeps to RFC 6856 §2.1 and the client has not said UTF8."""
    return _UTF8_FIRST if memory.features.utf8_asked and not memory.utf8 else None


def dele(memory: SessionState, argument: bytes) -> Event:
    """DELE n: marked now, removed at QUIT."""
    number = _number(memory, argument.strip(b" "))
    if isinstance(number, Reply):
        return number
    memory.deleted.add(number)
    memory.deleted_octets += memory.listing.entries[number - 1].size
    memory.highest = max(memory.highest, number)
    return memory.profile.texts.deleted


def rset(memory: SessionState, _: bytes) -> Event:
    """RSET: no marks, and LAST starts anew."""
    memory.deleted.clear()
    memory.deleted_octets = 0
    memory.highest = 0
    return memory.profile.texts.reset


def noop(memory: SessionState, _: bytes) -> Event:
    """NOOP."""
    return memory.profile.texts.done


def last(memory: SessionState, _: bytes) -> Event:
    """LAST, qmail's: the highest number given to DELE (E-84)."""
    return Reply(b"+OK %d\r\n" % memory.highest)


def quit_(memory: SessionState, _: bytes) -> Event:
    """QUIT: enter UPDATE; where nothing is to be done on disk, the session ends at once."""
    entries, deleted = memory.listing.entries, memory.deleted
    delete: tuple[Message, ...] = tuple([entries[n - 1] for n in sorted(deleted)])
    keep = memory.listing.fresh_without(deleted)
    memory.state = State.UPDATE
    if not delete and not keep:
        return updated(memory, failed=0)
    return Update(delete, keep)


def updated(memory: SessionState, *, failed: int) -> Event:
    """The answer to QUIT when ``failed`` messages could not be removed; qmail says so for each, then +OK (E-85)."""
    texts = memory.profile.texts
    memory.state = State.CLOSED
    if not failed:
        return Close(texts.bye, "quit")
    if memory.profile.qmail_quirks:
        return Close(Reply(texts.unlink_failed.data * failed + texts.bye.data, ok=False), "quit, not all removed")
    return Close(texts.unlink_failed, "quit, not all removed")


def _one_or_all(
    memory: SessionState,
    argument: bytes,
    field: Callable[[Message], bytes],
    reply: Callable[[Heading, set[int]], bytes],
) -> Reply:
    """``n field`` of one message, or the ``reply`` with all that are not marked."""
    argument = argument.strip(b" ")
    if not argument:
        return Reply(reply(memory.profile.listed, memory.deleted))
    number = _number(memory, argument)
    if isinstance(number, Reply):
        return number
    return Reply(b"+OK %d %b\r\n" % (number, field(memory.listing.entries[number - 1])))


def _number(memory: SessionState, argument: bytes) -> int | Reply:
    """A number of a message that is there and not marked, or the reply that says what is wrong.

    ``rfc1939`` takes 1 to 10 digits and nothing else; ``qmail`` leading digits, whatever follows (Q-POP3-10).
    """
    texts = memory.profile.texts
    match = _LEADING.match(argument) if memory.profile.qmail_quirks else _STRICT.match(argument)
    if match is None:
        return texts.bad_number
    digits = match[1] if memory.profile.qmail_quirks else argument
    number = int(digits) if len(digits) <= 20 else 1 << 64  # int() of a 100 kB number would hold the loop up
    if number == 0:
        return texts.zero_number
    if number > len(memory.listing.entries):
        return texts.high_number
    return texts.gone_number if number in memory.deleted else number
