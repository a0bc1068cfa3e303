"""AUTHORIZATION: one handler for each command, in the order parse, check, act, reply (RFC 1939 §4, §7)."""

from __future__ import annotations

import base64

from mailhost.pop3.protocol.capabilities import capability_reply, sasl_mechanisms
from mailhost.pop3.protocol.events import Authenticate, Close, Event, Reply, StartTls
from mailhost.pop3.protocol.profiles import err, ok
from mailhost.pop3.protocol.sasl import Exchange, Plain, SaslError, decode
from mailhost.pop3.protocol.scram import Scram
from mailhost.pop3.protocol.state import SessionState, State

QUIT_BEFORE_LOGIN = "quit before login"
_PLAINTEXT_OFF = err(b"[AUTH] use STLS first")
_NO_MECHANISM = err(b"mechanism is not offered")
_CANCELLED = err(b"authentication cancelled")
_MALFORMED = err(b"[AUTH] malformed response")
_BEGIN_TLS = ok(b"begin TLS")
_NO_TLS = err(b"TLS is on already, or unavailable")
_UTF8_ON = ok(b"UTF8 enabled")
_LANG_LIST = Reply(b"+OK languages:\r\nen English\r\ni-default Default\r\n.\r\n")
_LANG_SET = ok(b"en the language of the replies is English")
_LANG_NONE = err(b"this language is unavailable")


def user(context: SessionState, argument: bytes) -> Event:
    """USER name (RFC 1939 §7): any name is accepted here, so that the reply does not tell which names exist."""
    login = argument.lstrip(b" ") if context.profile.qmail_quirks else argument.strip(b" ")
    if not login:
        return context.profile.texts.empty_argument
    if not context.features.plaintext:
        return _PLAINTEXT_OFF
    context.login = login
    return context.profile.texts.user


def password(context: SessionState, argument: bytes) -> Event:
    """PASS secret: all behind the first space, spaces included (RFC 1939 §7); qmail loses leading ones (E-83)."""
    texts = context.profile.texts
    secret = argument.lstrip(b" ") if context.profile.qmail_quirks else argument
    if context.login is None:
        return texts.user_first
    if not secret:
        return texts.empty_argument
    return _check(context, Authenticate("plain", context.login, secret))


def apop(context: SessionState, argument: bytes) -> Event:
    """APOP name digest (RFC 1939 §7); the digest is checked against the banner's timestamp."""
    qmail = context.profile.qmail_quirks
    login, space, digest = (argument.lstrip(b" ") if qmail else argument.strip(b" ")).partition(b" ")
    if not (
        space if qmail else digest
    ):  # qmail takes all behind the first space as the digest, even if empty (Q-POPUP-7)
        return context.profile.texts.empty_argument
    return _check(context, Authenticate("apop", login, digest, context.stamp))


def auth(context: SessionState, argument: bytes) -> Event:
    """AUTH [mechanism [initial-response]] (RFC 5034)."""
    mechanism, _, initial = argument.strip(b" ").partition(b" ")
    offered = sasl_mechanisms(context)
    if not mechanism:
        return Reply(b"+OK mechanisms\r\n" + b"".join(name + b"\r\n" for name in offered) + b".\r\n")
    mechanism = mechanism.upper()
    if mechanism not in offered:
        return _NO_MECHANISM
    context.sasl = _EXCHANGES[mechanism]()
    return continued(context, initial) if initial else Reply(b"+ \r\n")


def continued(context: SessionState, line: bytes) -> Event:
    """One response of a SASL exchange, or ``*`` which cancels it (RFC 5034 §4)."""
    exchange, context.sasl = context.sasl, None
    if exchange is None or line == b"*":
        return _CANCELLED
    try:
        answer = exchange.respond(decode(line))
    except SaslError:
        return _MALFORMED
    if isinstance(answer, Authenticate):
        context.sasl = exchange if answer.method == "scram" else None
        return _check(context, answer)
    context.sasl = exchange
    if isinstance(answer, bytes):
        return challenge(answer)
    context.state = State.CHECKING
    return answer


def looked_up(context: SessionState, stored: bytes) -> Event:
    """The exchange has got what it asked for (RFC 5802 §5.1)."""
    try:
        return _CANCELLED if context.sasl is None else challenge(context.sasl.found(stored))
    except SaslError:
        context.sasl = None
        return _CANCELLED


def proves(context: SessionState) -> bool:
    """Whether the proof that SCRAM's client has sent is right (RFC 5802 §3)."""
    return isinstance(context.sasl, Scram) and context.sasl.proves()


def signature(context: SessionState) -> Event:
    """SCRAM's answer to a proof that is right (RFC 5802 §5)."""
    return challenge(context.sasl.signature()) if isinstance(context.sasl, Scram) else _CANCELLED


def challenge(octets: bytes) -> Reply:
    """A challenge on the wire (RFC 5034 §4)."""
    return Reply(b"+ " + base64.b64encode(octets) + b"\r\n")


def _check(context: SessionState, claim: Authenticate) -> Event:
    """Hand a claim to the I/O layer; in the qmail profile what was pipelined behind it is lost (E-80)."""
    context.login = claim.login
    context.state = State.CHECKING
    context.forget_input = context.profile.qmail_quirks
    return claim


def stls(context: SessionState, _: bytes) -> Event:
    """STLS (RFC 2595 §4): whatever came in the same packet behind it is forgotten, for it was sent in the clear."""
    if not context.features.tls or context.features.secure:
        return _NO_TLS
    context.forget_input = True
    return StartTls(_BEGIN_TLS)


def capa(context: SessionState, _: bytes) -> Event:
    """CAPA, before and after login (RFC 2449 §5)."""
    return capability_reply(context)


def noop(context: SessionState, _: bytes) -> Event:
    """NOOP before login: qmail-popup answers it, RFC 1939 has it in TRANSACTION only."""
    return context.profile.texts.done if context.profile.qmail_quirks else context.profile.texts.not_now


def utf8(context: SessionState, _: bytes) -> Event:
    """UTF8 (RFC 6856 §2): messages and names go out unchanged, with UTF8 and without.

    Without it the RFC would have messages with 8-bit headers converted or refused. That breaks signatures, or keeps a
    client from mail that every other server gives it: so it is done only where the operator says so.
    """
    context.utf8 = True
    return _UTF8_ON


def lang(context: SessionState, argument: bytes) -> Event:
    """LANG [tag] (RFC 6856 §3): English, and ``*`` which means the same."""
    tag = argument.strip(b" ").lower()
    if not tag:
        return _LANG_LIST
    return _LANG_SET if tag in (b"*", b"en", b"i-default") or tag.startswith(b"en-") else _LANG_NONE


def quit_(context: SessionState, _: bytes) -> Event:
    """QUIT before login: nothing to update (RFC 1939 §4)."""
    context.state = State.CLOSED
    return Close(context.profile.texts.bye, QUIT_BEFORE_LOGIN)


_EXCHANGES: dict[bytes, type[Exchange]] = {b"PLAIN": Plain, b"SCRAM-SHA-256": Scram}
