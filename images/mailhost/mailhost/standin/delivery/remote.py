"""Remote recipients: by smtproutes, by MX where allowed, or into a sink directory. One recipient at a time.

The SMTP client is aiosmtplib, the resolver dnspython; both are loaded for the first remote recipient.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mailhost.qmail.control import Controls, suffixes
from mailhost.standin import header_fields
from mailhost.standin.delivery import maildir
from mailhost.standin.delivery.mx import before_us, exchangers
from mailhost.standin.delivery.report import Outcome, Report, Stopped
from mailhost.standin.queue.message_reader import Stored

if TYPE_CHECKING:
    import aiosmtplib

SMTP_PORT = 25
NO_ROUTE = "No line of control/smtproutes covers this host, and MX lookups are off. (#4.4.4)"
NO_SUCH_NAME = "Sorry, this address cannot be said in SMTP: it holds a control character or brackets. (#5.1.3)"
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NO_HOST = re.compile(rb'[ <>"]')
_ROUTE = re.compile(rb"(?:\[([^]]*)\]|([^:]*))(?::(\d+))?")


class Remote(Protocol):
    """Where remote mail goes."""

    async def send(self, sender: bytes, recipient: bytes, message: Stored) -> Report:
        """Try one recipient; an error of the network or of the other side is a Report, never an exception."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A server to try."""

    host: str
    port: int = SMTP_PORT


class Sink:
    """Keeps remote mail in a Maildir, with the recipient in Delivered-To, so that nothing leaves this machine."""

    def __init__(self, directory: Path) -> None:
        """Make the Maildir where there is none.

        Raises:
            OSError: it cannot be made.
        """
        self._directory = os.fsencode(directory)
        for name in ("tmp", "new", "cur"):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    async def send(self, sender: bytes, recipient: bytes, message: Stored) -> Report:
        """See Remote."""
        local, _, host = recipient.rpartition(b"@")
        head = header_fields.return_path(sender) + header_fields.delivered_to(local, host)
        try:
            await asyncio.to_thread(maildir.deliver, self._directory, head, message)
        except Stopped as stopped:
            return stopped.report()
        return Report(Outcome.SUCCESS, b"Kept in the sink directory.\n")


class Relays:
    """Sends by control/smtproutes, and by MX records when ``mx``."""

    def __init__(self, controls: Controls, *, mx: bool) -> None:
        """``controls``: smtproutes, helohost, timeouts; read at start."""
        self._controls, self._mx = controls, mx

    async def send(self, sender: bytes, recipient: bytes, message: Stored) -> Report:
        """See Remote. The first server that answers decides, unless it defers."""
        try:
            path = said(sender), said(recipient)
            relays = await self._relays(recipient.rpartition(b"@")[2])
            content = b"".join(message.pieces())
            report = Report(Outcome.DEFERRAL, b"Sorry, I couldn't find a server to take it. (#4.4.1)\n")
            for relay in relays:
                report = await self._try(relay, path, content)
                if report.outcome is not Outcome.DEFERRAL:
                    break
        except Stopped as stopped:
            return stopped.report()
        return report

    async def _relays(self, host: bytes) -> list[Relay]:
        route = self._route(host)
        if route is not None and route.host:
            return [route]
        if route is None and not self._mx:
            raise Stopped(NO_ROUTE)
        port = route.port if route is not None else SMTP_PORT
        return [Relay(name, port) for name in await before_us(await exchangers(host))]

    def _route(self, host: bytes) -> Relay | None:
        """The smtproutes line for the host, a suffix, or everything; an empty relay means MX after all."""
        for key in (*suffixes(host), b""):
            line = self._controls.smtproutes.find(key)
            if line is not None:
                return parse_route(line.value)
        return None

    async def _try(self, relay: Relay, path: tuple[bytes, bytes], content: bytes) -> Report:
        import aiosmtplib

        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            timeout=self._controls.timeoutconnect,
            local_hostname=(self._controls.helohost or b"localhost").decode("ascii", "replace"),
            start_tls=None,  # used where offered; certificates are not checked, as is usual between MTAs
            validate_certs=False,
        )
        name = f"{relay.host}:{relay.port}"
        try:
            async with client:
                client.timeout = self._controls.timeoutremote
                answer = await _talk(client, path, content)
        except aiosmtplib.SMTPResponseException as error:
            return _refused(name, error)
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
            return _report(Outcome.DEFERRAL, f"{name} did not take it: {_reason(error)}. (#4.4.2)")
        return _report(Outcome.SUCCESS, f"{name} accepted message.\nRemote host said: {answer}")


def said(address: bytes) -> bytes:
    """``<address>`` for a command, its local part quoted where needed (RFC 5321 §4.1.2).

    Raises:
        Stopped: (permanent) it holds a control character, or its host a blank, quote or bracket.
    """
    host = address.rpartition(b"@")[2] if b"@" in address else b""
    if _CONTROL.search(address) or _NO_HOST.search(host):
        raise Stopped(NO_SUCH_NAME, permanent=True)
    return b"<" + header_fields.quoted(address) + b">"


async def _talk(client: aiosmtplib.SMTP, path: tuple[bytes, bytes], content: bytes) -> str:
    """Send one message; returns the reply to its content. The library's ``sendmail`` would parse our addresses again.

    Raises:
        SMTPResponseException: the server refused a command.
    """
    import aiosmtplib

    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError:
            await client.helo()
    for verb, argument in ((b"MAIL", b"FROM:" + path[0]), (b"RCPT", b"TO:" + path[1])):
        answer = await client.execute_command(verb, argument)
        if answer.code // 100 != 2:
            raise aiosmtplib.SMTPResponseException(answer.code, answer.message)
    return (await client.data(content)).message


def _reason(error: BaseException) -> str:
    """The operating system's text for the error where there is one, which is what operators search for."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, TimeoutError) and not cause.errno:
        return "timed out"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return type(error).__name__


class _Answer(Protocol):
    code: int
    message: str


def _refused(name: str, answer: _Answer) -> Report:
    outcome = Outcome.FAILURE if answer.code >= 500 else Outcome.DEFERRAL
    return _report(outcome, f"{name} does not take it.\nRemote host said: {answer.code} {answer.message}")


def _report(outcome: Outcome, text: str) -> Report:
    return Report.of(outcome, text.encode("utf-8", "replace") + b"\n")


def parse_route(value: bytes) -> Relay:
    """``relay``, ``relay:port``, ``[address]:port``, ``:port``: the right-hand side of an smtproutes line.

    Source: qmail-remote(8).

    Raises:
        Stopped: (temporary) the line has none of these forms.
    """
    found = _ROUTE.fullmatch(value.strip())
    if found is None:
        raise Stopped("control/smtproutes has a line that cannot be understood. (#4.3.5)")
    host = (found[1] or found[2] or b"").decode("ascii", "replace")
    return Relay(host, int(found[3] or SMTP_PORT))
