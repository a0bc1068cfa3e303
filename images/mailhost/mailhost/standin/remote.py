"""Remote recipients: by smtproutes, by MX where that is allowed, or into a sink directory. Never as root, one a time.

The SMTP client is aiosmtplib, the resolver dnspython; both are loaded when the first remote recipient comes.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mailhost.qmail.control import Controls, suffixes
from mailhost.standin import fields, maildir
from mailhost.standin.report import Outcome, Report, Stopped
from mailhost.standin.stored import Stored

SMTP_PORT = 25
NO_ROUTE = "No line of control/smtproutes covers this host, and MX lookups are off. (#4.4.4)"
_ROUTE = re.compile(rb"(?:\[([^]]*)\]|([^:]*))(?::(\d+))?")


class Remote(Protocol):
    """A way out."""

    async def send(self, sender: bytes, recipient: bytes, message: Stored) -> Report:
        """Try one recipient; never raises for what the network or the other side does."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A server to try."""

    host: str
    port: int = SMTP_PORT


class Sink:
    """Keeps remote mail in a Maildir, with the recipient in Delivered-To: nothing leaves this machine."""

    def __init__(self, directory: Path) -> None:
        """Makes the Maildir where there is none."""
        self._directory = os.fsencode(directory)
        for name in ("tmp", "new", "cur"):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    async def send(self, sender: bytes, recipient: bytes, message: Stored) -> Report:
        """See Remote."""
        local, _, host = recipient.rpartition(b"@")
        head = fields.return_path(sender) + fields.delivered_to(local, host)
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
        """See Remote: the first server that answers decides, unless it says that it cannot now."""
        try:
            relays = await self._relays(recipient.rpartition(b"@")[2])
            content = b"".join(message.pieces())
            report = Report(Outcome.DEFERRAL, b"Sorry, I couldn't find a server to take it. (#4.4.1)\n")
            for relay in relays:
                report = await self._try(relay, sender, recipient, content)
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
        return [Relay(name, port) for name in await exchangers(host)]

    def _route(self, host: bytes) -> Relay | None:
        """The smtproutes line for the host, a suffix, or everything; an empty relay means MX after all."""
        for key in (*suffixes(host), b""):
            line = self._controls.smtproutes.find(key)
            if line is not None:
                return parse_route(line.value)
        return None

    async def _try(self, relay: Relay, sender: bytes, recipient: bytes, content: bytes) -> Report:
        import aiosmtplib

        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            timeout=self._controls.timeoutconnect,
            local_hostname=(self._controls.helohost or b"localhost").decode("ascii", "replace"),
            start_tls=None,  # taken where offered; certificates of strangers prove nothing, as between any two MTAs
            validate_certs=False,
        )
        said = f"{relay.host}:{relay.port}"
        try:
            async with client:
                client.timeout = self._controls.timeoutremote
                names = os.fsdecode(sender), [os.fsdecode(recipient)]
                _, answer = await client.sendmail(*names, content)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _refused(said, error.recipients[0])
        except aiosmtplib.SMTPResponseException as error:
            return _refused(said, error)
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
            return _report(Outcome.DEFERRAL, f"{said} did not take it: {type(error).__name__}. (#4.4.2)")
        return _report(Outcome.SUCCESS, f"{said} accepted message.\nRemote host said: {answer}")


class _Answer(Protocol):
    code: int
    message: str


def _refused(said: str, answer: _Answer) -> Report:
    outcome = Outcome.FAILURE if answer.code >= 500 else Outcome.DEFERRAL
    return _report(outcome, f"{said} does not take it.\nRemote host said: {answer.code} {answer.message}")


def _report(outcome: Outcome, text: str) -> Report:
    return Report.of(outcome, text.encode("utf-8", "replace") + b"\n")


def parse_route(value: bytes) -> Relay:
    """``relay``, ``relay:port``, ``[address]:port``, ``:port`` (the right-hand side of an smtproutes line)."""
    found = _ROUTE.fullmatch(value.strip())
    if found is None:
        raise Stopped("control/smtproutes has a line that cannot be understood. (#4.3.5)")
    host = (found[1] or found[2] or b"").decode("ascii", "replace")
    return Relay(host, int(found[3] or SMTP_PORT))


async def exchangers(host: bytes) -> list[str]:
    """The servers of a domain by preference: MX, else the host itself (RFC 5321 §5.1). Raises Stopped."""
    import dns.asyncresolver
    import dns.exception
    import dns.rdtypes.ANY.MX
    import dns.resolver

    name = host.decode("ascii", "replace")
    if name.startswith("[") and name.endswith("]"):
        return [name[1:-1]]
    try:
        answer = await dns.asyncresolver.resolve(name, "MX")
    except dns.resolver.NoAnswer:
        return [name]
    except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.EmptyLabel) as error:
        raise Stopped(f"Sorry, I couldn't find any host named {name}. (#5.1.2)", permanent=True) from error
    except dns.exception.DNSException as error:
        raise Stopped("CNAME lookup failed temporarily. (#4.4.3)") from error
    records = sorted((one for one in answer if isinstance(one, dns.rdtypes.ANY.MX.MX)), key=lambda one: one.preference)
    names = [str(one.exchange).rstrip(".") for one in records]
    if names == [""]:
        raise Stopped(f"{name} takes no mail, its MX record says. (#5.1.10)", permanent=True)
    return names
