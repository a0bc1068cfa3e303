"""A look at a server's STARTTLS: EHLO, STARTTLS, the handshake, QUIT. No mail is named and nothing else is sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum

from popbox.clients.smtp import Smtp
from popbox.clients.wire import Address, Wire
from popbox.errors import ConnectionFailed, PopboxError, StepTimeout
from popbox.migrate.plan.preflight import certificate
from popbox.migrate.plan.preflight.certificate import Certificate

EHLO = "EHLO popbox.invalid"
SESSION_S = 10.0  # our choice: for one connection with all that is said on it


class Chain(Enum):
    """Whether the certificate's chain leads to one that this machine trusts."""

    VALID = "valid"
    NOT_VALID = "not valid"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Seen:
    """One address of a host. ``offered`` None: not known, for ``why``.

    ``broken``: how STARTTLS ended, where it was offered and gave no TLS. ``chain_why``: why the chain is not valid, or
    not known.
    """

    name: str
    address: Address
    offered: bool | None = None
    why: str = ""
    broken: str = ""
    version: str = ""
    certificate: Certificate | None = None
    chain: Chain = Chain.NOT_KNOWN
    chain_why: str = ""
    days: int | None = None  # until the end of the certificate


class _Broken(PopboxError):
    """STARTTLS was offered and gave no TLS."""


def see(name: str, address: Address) -> Seen:
    """Connect twice at most: once to see what is there, and once to have this machine's store judge the chain."""
    seen = Seen(name, address)
    try:
        with _session(address) as session:
            seen = _seen(seen, session)
    except _Broken as error:
        return replace(seen, offered=True, broken=_short(error))
    except PopboxError as error:
        return replace(seen, why=_short(error))
    if seen.certificate is None:
        return seen
    chain, why = _chain(name, address)
    return replace(seen, chain=chain, chain_why=why)


def _seen(seen: Seen, session: Smtp) -> Seen:
    """What one session shows, after QUIT."""
    answer = session.greeting
    if answer.code == 220:
        answer = session.command(EHLO)
    offered = "STARTTLS" in (line.strip().upper() for line in answer.lines[1:])
    if answer.code == 250 and offered:
        try:
            _begin(session, seen.name, verify=False)
        except ConnectionFailed as error:
            raise _Broken(str(error)) from error
    _quit(session)
    if answer.code != 250:
        return replace(seen, why=_short(f"it says {answer}"))
    return _read(seen, session.wire) if offered else replace(seen, offered=False)


def _read(seen: Seen, wire: Wire) -> Seen:
    version, der = wire.tls
    try:
        return replace(seen, offered=True, version=version, certificate=certificate.read(der))
    except ValueError as error:
        raise _Broken(f"its certificate cannot be read: {error}") from error


def _chain(name: str, address: Address) -> tuple[Chain, str]:
    try:
        with _session(address) as session:
            if session.greeting.code == 220:
                session.command(EHLO)
            _begin(session, name, verify=True)
            _quit(session)
    except PopboxError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return Chain.NOT_VALID, error.__cause__.verify_message
        return Chain.NOT_KNOWN, _short(error)
    return Chain.VALID, ""


@contextmanager
def _session(address: Address) -> Iterator[Smtp]:
    """A session that ends after SESSION_S, whatever the server does: deadlines for each line have no sum.

    Raises:
        ConnectionFailed: no connection, no SMTP, or its end.
        StepTimeout: SESSION_S are over.
    """
    try:
        connection = socket.create_connection(address, timeout=SESSION_S)
    except TimeoutError as error:
        raise StepTimeout("a connection", "nothing", SESSION_S) from error
    except OSError as error:
        raise ConnectionFailed(f"no connection: {error.strerror or error}") from error
    over = threading.Event()
    with connection.dup() as handle:  # TLS takes the other one over
        clock = threading.Timer(SESSION_S, _end, (handle, over))
        clock.daemon = True
        clock.start()
        try:
            with Wire.over(connection, str(address), 2 * SESSION_S, lambda: None) as wire:
                yield Smtp.over(wire)
        except PopboxError as error:
            if over.is_set():
                raise StepTimeout(
                    "the end of the session", str(wire.log[-1]) if wire.log else "nothing", SESSION_S
                ) from error
            raise
        finally:
            clock.cancel()


def _end(handle: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


def _begin(session: Smtp, name: str, *, verify: bool) -> None:
    """STARTTLS and the handshake.

    Raises:
        ConnectionFailed: no agreement on TLS, or with ``verify`` a chain that this machine does not trust.
        StepTimeout: no answer.
    """
    answer = session.command("STARTTLS")
    if answer.code != 220:
        _quit(session)
        raise ConnectionFailed(f"STARTTLS: {answer}")
    context = ssl.create_default_context()
    context.check_hostname = False  # names are judged apart
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED  # an old host is described, not refused
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    session.wire.secure(context, name)


def _quit(session: Smtp) -> None:
    with suppress(PopboxError):  # what was asked is answered
        session.command("QUIT")


def _short(text: object) -> str:
    return " ".join(str(text).split())[:200]
