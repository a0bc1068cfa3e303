"""The mail host as one object in the manner of testcontainers, for tests without the pytest plugin.

    with MailHostContainer() as host:
        joe = host.mail.mailbox("joe")
        joe.expect(host.mail.send(joe, "Subject: hello\n\nIt works.\n"))

It is the compose project that users deploy: two containers, started and removed as one.
"""

from __future__ import annotations

import atexit
import logging
import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Host, Ran, Service
from popbox.hosts.choose import MtaName, choose, start
from popbox.settings import Settings
from popbox.testing import MailHost

PORTS: dict[int, Service] = {25: "smtp", 110: "pop3"}


class MailHostContainer:
    """Real qmail or the stand-in beside the POP3 server, on ephemeral ports of this machine."""

    def __init__(self, mta: MtaName = "auto") -> None:
        """``auto`` takes qmail where an image of it is available; an explicit ``qmail`` without one is a HostError."""
        self._wanted: MtaName = mta
        self._settings = Settings.from_environment(os.environ, logging.getLogger("popbox").info)
        self._host: Host | None = None
        self._mail: MailHost | None = None

    def with_qmail_base(self, image: str) -> Self:
        """Build the qmail image on ``image``, any image with /var/qmail (instead of ``qmail-base:local``).

        ``start`` raises HostError where that image is not here; the stand-in never takes its place.

        Raises:
            UnusableError: this object was made for the stand-in.
        """
        if self._wanted == "standin":
            raise UnusableError(f"with_qmail_base({image!r}): MailHostContainer('standin') has no qmail")
        self._settings = replace(self._settings, qmail_base=image)
        return self

    def start(self) -> Self:
        """Bring it up and wait for both greetings.

        A host that is not stopped is removed when this process ends. HUP and TERM remove it as Ctrl-C does, where this
        was called from the main thread and the signal is not ignored or handled. Otherwise, and after KILL, the next
        host's start removes it.

        Raises:
            HostError: it did not come up; carries the containers' logs. Nothing is left of it.
        """
        self._host = start(choose("docker", self._wanted, self._settings), self._settings)
        atexit.register(self._stop_if_ours, os.getpid())
        self._mail = MailHost(self._host, "MailHostContainer", Path())
        return self

    def stop(self) -> None:
        """Remove containers, volumes and networks; harmless when done twice."""
        atexit.unregister(self._stop_if_ours)
        mail, host, self._mail, self._host = self._mail, self._host, None, None
        if mail:
            mail.close()
        if host:
            host.close()

    def _stop_if_ours(self, starter: int) -> None:
        """At the end of the process that started it; a fork of that only has a copy of this object."""
        if os.getpid() == starter:
            self.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def mail(self) -> MailHost:
        """Mailboxes, messages and sessions.

        Raises:
            HostError: the host is not started.
        """
        if self._mail is None:
            raise HostError("the mail host is not started")
        return self._mail

    @property
    def mta(self) -> str:
        """The MTA that takes the mail: ``qmail`` or ``stand-in``."""
        return self._up().mta

    def get_container_host_ip(self) -> str:
        """Where the published ports are, as seen from here."""
        return self._up().address("smtp").host

    def get_exposed_port(self, port: int) -> int:
        """The published port of 25 (SMTP) or 110 (POP3).

        Raises:
            ValueError: another port.
        """
        if port not in PORTS:
            raise ValueError(f"port {port} is not published; there are {', '.join(map(str, PORTS))}")
        return self._up().address(PORTS[port]).port

    def get_logs(self) -> dict[Service, str]:
        """What each side has logged so far."""
        return {service: self._up().log(service) for service in PORTS.values()}

    def exec(self, *argv: str, stdin: bytes = b"") -> Ran:
        """Run ``mailhost ARGV`` in the container that takes the mail."""
        return self._up().run(*argv, stdin=stdin)

    def _up(self) -> Host:
        if self._host is None:
            raise HostError("the mail host is not started")
        return self._host
