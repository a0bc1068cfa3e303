"""What the protocol core hands to the I/O layer: frozen values, compared by equality (no I/O, no clocks)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mailhost.pop3.protocol.listing import Message


@dataclass(frozen=True, slots=True)
class Reply:
    """Octets to send, complete with their line ends; ``ok`` says whether the first line is ``+OK`` (or ``+ ``)."""

    data: bytes
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Authenticate:
    """The client claims to be ``login``; the I/O layer answers with ``Session.opened`` or ``Session.refused``.

    ``method`` is ``plain`` (``secret`` is the password), ``apop`` (``secret`` is the digest as sent, ``stamp`` the
    banner's timestamp), ``scram`` (the session has the proof, see ``Session.proves``) or ``proven`` (it was right,
    and the client has seen the server's signature). The secret stays out of ``repr``.
    """

    method: str
    login: bytes
    secret: bytes = field(repr=False)
    stamp: bytes = b""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A SASL mechanism needs what is stored for ``login``; the I/O layer always answers with ``Session.found``."""

    login: bytes


class Transmit(NamedTuple):
    """Send one message after ``head``: whole (``lines`` None) or its header and ``lines`` lines of the body.

    If the file cannot be opened nothing of ``head`` is sent, but ``missing`` instead. A NamedTuple since there is one
    for each message: a frozen dataclass takes 0.7 us longer. ``fd``: the open message, where it had to be searched for.
    ``refusal``: what is said instead where the header has octets beyond US-ASCII.
    """

    message: Message
    lines: int | None
    head: bytes
    missing: Reply
    fd: int = -1
    refusal: Reply | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """QUIT in TRANSACTION: remove ``delete``, move ``keep`` to cur/; then call ``Session.updated``."""

    delete: tuple[Message, ...]
    keep: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send ``reply``, forget what the peer sent in the clear, and begin the TLS handshake."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Close:
    """Send ``reply`` and end the connection; ``why`` goes to the log."""

    reply: Reply
    why: str


Event = Reply | Authenticate | Lookup | Transmit | Update | StartTls | Close
