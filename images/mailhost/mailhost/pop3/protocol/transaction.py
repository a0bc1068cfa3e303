"""TRANSACTION: one handler for each command, in the order parse, check, act, reply (RFC 1939 §5, §7)."""

from __future__ import annotations

import re
from collections.abc import Callable

from mailhost.pop3.protocol.events import Close, Event, Reply, Transmit, Update
from mailhost.pop3.protocol.listing import Heading, Message
from mailhost.pop3.protocol.profiles import err
from mailhost.pop3.protocol.state import SessionState, State

_UTF8_FIRST = err(b"[UTF8] this message has UTF-8 in its header: say UTF8 before the login")
STRICT_DIGITS = 10
"""The longest number that ``rfc1939`` takes (our choice): no maildrop has so many messages."""
_LEADING = re.compile(rb"([0-9]+) *([0-9]+)?")


def stat(context: SessionState, _: bytes) -> Event:
    """STAT (RFC 1939 §5): in the qmail profile the count includes deleted messages, the octets do not (E-71)."""
    listing, deleted = context.listing, context.deleted
    count = len(listing.messages) if context.profile.qmail_quirks else len(listing.messages) - len(deleted)
    return Reply(b"+OK %d %d\r\n" % (count, listing.total - context.deleted_octets))


def list_(context: SessionState, argument: bytes) -> Event:
    """LIST [n] (RFC 1939 §5)."""
    return _one_or_all(context, argument, lambda message: b"%d" % message.size, context.listing.scan_reply)


def uidl(context: SessionState, argument: bytes) -> Event:
    """UIDL [n] (RFC 1939 §7)."""
    return _one_or_all(context, argument, lambda message: message.uid, context.listing.uid_reply)


def retr(context: SessionState, argument: bytes) -> Event:
    """RETR n (RFC 1939 §5); in the qmail profile RETR n m is TOP n m (E-72)."""
    if context.profile.qmail_quirks:
        return top(context, argument)
    number = _number(context, argument.rstrip(b" "))
    if isinstance(number, Reply):
        return number
    message = context.listing.messages[number - 1]
    head = b"+OK %d octets\r\n" % message.size
    return Transmit(message, None, head, context.profile.texts.missing, -1, _unless_asked(context))


def top(context: SessionState, argument: bytes) -> Event:
    """TOP n m (RFC 1939 §7); in the qmail profile TOP n sends everything (E-73)."""
    texts = context.profile.texts
    if context.profile.qmail_quirks:
        match = _LEADING.match(argument.lstrip(b" "))
        number = _number(context, argument.lstrip(b" "))
        lines = int(match[2]) if match and match[2] else None
        head = texts.done.data
    else:
        first, _, second = argument.rstrip(b" ").partition(b" ")
        number = _number(context, first)
        strict = second.isdigit() and len(second) <= STRICT_DIGITS
        if not isinstance(number, Reply) and not strict:
            return texts.bad_number
        lines = int(second) if strict else None
        head = b"+OK top of message follows\r\n"
    if isinstance(number, Reply):
        return number
    return Transmit(context.listing.messages[number - 1], lines, head, texts.missing, refusal=_unless_asked(context))


def _unless_asked(context: SessionState) -> Reply | None:
    """What is said of an 8-bit header, where the operator keeps to RFC 6856 §2.1 and the client has not said UTF8."""
    return _UTF8_FIRST if context.features.utf8_asked and not context.utf8 else None


def dele(context: SessionState, argument: bytes) -> Event:
    """DELE n (RFC 1939 §5): marked now, removed at QUIT."""
    number = _number(context, argument.strip(b" "))
    if isinstance(number, Reply):
        return number
    context.deleted.add(number)
    context.deleted_octets += context.listing.messages[number - 1].size
    context.highest = max(context.highest, number)
    return context.profile.texts.deleted


def rset(context: SessionState, _: bytes) -> Event:
    """RSET (RFC 1939 §5): no marks, and LAST starts again at 0."""
    context.deleted.clear()
    context.deleted_octets = 0
    context.highest = 0
    return context.profile.texts.reset


def noop(context: SessionState, _: bytes) -> Event:
    """NOOP (RFC 1939 §5)."""
    return context.profile.texts.done


def last(context: SessionState, _: bytes) -> Event:
    """LAST, qmail's: the highest number given to DELE (E-84)."""
    return Reply(b"+OK %d\r\n" % context.highest)


def quit_(context: SessionState, _: bytes) -> Event:
    """QUIT (RFC 1939 §6): enter UPDATE; where nothing is to be done on disk, the session ends at once."""
    messages, deleted = context.listing.messages, context.deleted
    delete: tuple[Message, ...] = tuple([messages[n - 1] for n in sorted(deleted)])
    keep = context.listing.fresh_without(deleted)
    context.state = State.UPDATE
    if not delete and not keep:
        return updated(context, failed=0)
    return Update(delete, keep)


def updated(context: SessionState, *, failed: int) -> Event:
    """The answer to QUIT (RFC 1939 §6) when ``failed`` messages could not be removed; qmail says so for each (E-85)."""
    texts = context.profile.texts
    context.state = State.CLOSED
    if not failed:
        return Close(texts.bye, "quit")
    if context.profile.qmail_quirks:
        return Close(Reply(texts.unlink_failed.data * failed + texts.bye.data, ok=False), "quit, not all removed")
    return Close(texts.unlink_failed, "quit, not all removed")


def _one_or_all(
    context: SessionState,
    argument: bytes,
    field: Callable[[Message], bytes],
    reply: Callable[[Heading, set[int]], bytes],
) -> Reply:
    """``n field`` of one message, or the ``reply`` with all that are not marked."""
    argument = argument.strip(b" ")
    if not argument:
        return Reply(reply(context.profile.listed, context.deleted))
    number = _number(context, argument)
    if isinstance(number, Reply):
        return number
    return Reply(b"+OK %d %b\r\n" % (number, field(context.listing.messages[number - 1])))


def _number(context: SessionState, argument: bytes) -> int | Reply:
    """A number of a message that is there and not marked, or the reply that says what is wrong.

    ``rfc1939`` takes 1 to 10 digits and nothing else; ``qmail`` leading digits, whatever follows (Q-POP3-10).
    """
    texts, digits = context.profile.texts, argument
    if context.profile.qmail_quirks:
        match = _LEADING.match(argument)
        digits = match[1] if match else b""
    elif len(digits) > STRICT_DIGITS:
        return texts.bad_number
    if not digits.isdigit():
        return texts.bad_number
    number = int(digits) if len(digits) <= 20 else 1 << 64  # int() of a 100 kB number would hold the loop up
    if number == 0:
        return texts.zero_number
    if number > len(context.listing.messages):
        return texts.high_number
    return texts.gone_number if number in context.deleted else number
