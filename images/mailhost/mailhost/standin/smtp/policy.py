"""The policy of one SMTP connection: the current control files, and whether its peer may relay.

control/relayclients replaces the environment variable RELAYCLIENT that tcpserver would set. A line is
``ADDRESS-OR-NETWORK [SUFFIX]``; the most specific network wins, and SUFFIX is added to every recipient (Q-RCPT-7).
"""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mailhost.qmail.control import BAD_SENDER, ControlError, Controls, Reader, accepts, badmailfrom, load
from mailhost.qmail.controlfile import list_lines, read
from mailhost.standin.smtp.address import localize
from mailhost.standin.smtp.session import NO_CONTROLS, Reply
from mailhost.system import late

RELAYCLIENTS = "control/relayclients"
_FILES = ("me", "rcpthosts", "morercpthosts.cdb", "badmailfrom", "smtpgreeting", "localiphost", "databytes",
          "timeoutsmtpd", "relayclients")  # fmt: skip
_SETTLED_NS = 50_000_000  # a file younger than this may change again without a new time stamp

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Snapshot:
    """The files as one connection sees them."""

    controls: Controls
    relayclients: tuple[tuple[Network, bytes], ...]

    def relayclient(self, ip: str) -> bytes | None:
        """The text added to this client's recipients, possibly empty; None: it may not relay (qmail-smtpd(8))."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return None
        matches = [(net.prefixlen, suffix) for net, suffix in self.relayclients if address in net]
        return max(matches, default=(0, None), key=lambda match: match[0])[1]


class HostPolicy:
    """``session.Policy`` over a snapshot, for the peer ``ip``."""

    def __init__(
        self,
        snapshot: Snapshot,
        ip: str,
        interfaces: frozenset[str],
        waiting: late.Session | None = None,
        *,
        starttls: bool = False,
    ) -> None:
        """``waiting`` is older than the snapshot.

        Raises:
            ControlError: neither smtpgreeting nor me exists, so qmail-smtpd could not greet (Q-SMTP-4).
        """
        controls = snapshot.controls
        if controls.smtpgreeting is None:
            raise ControlError("control/me", "does not exist, and no smtpgreeting either")
        self.greeting = controls.smtpgreeting
        self.databytes = controls.databytes
        self.starttls = starttls
        self.timeout_s = controls.timeoutsmtpd
        self._snapshot, self._ip, self._interfaces, self._waiting = snapshot, ip, interfaces, waiting

    @cached_property
    def relayclient(self) -> bytes | None:
        """The suffix for the peer's recipients; None: rcpthosts decides (qmail-smtpd(8), Q-RCPT-7)."""
        return self._snapshot.relayclient(self._ip)

    def localize(self, address: bytes) -> bytes:
        """The address, with an IP address of this host in brackets replaced by localiphost (Q-ADDR-7)."""
        if b"[" not in address:
            return address
        return localize(address, self._interfaces, self._snapshot.controls.localiphost)

    def refusal(self, sender: bytes, recipient: bytes) -> Reply | None:
        """The reply that refuses a recipient, or None: badmailfrom first, then rcpthosts.

        A list that cannot be read ends the session (Q-SMTP-4). A recipient that only another node knows yet is
        deferred before rcpthosts is asked; one that this node may know by now is deferred after
        (`mailhost.system.late`). Source: RFC 5321 §4.1.1.3, qmail-smtpd(8), Q-RCPT-9.
        """
        controls = self._snapshot.controls
        if badmailfrom(controls, sender) is not None:
            return _reply(BAD_SENDER)
        try:
            if self._waiting is not None and self._waiting.waits(recipient):
                return _reply(late.REPLY)
            decision = accepts(controls, recipient, self.relayclient)
            if decision.accepted:
                return None
            stale = self._waiting is not None and self._waiting.stale()
        except (ControlError, OSError):
            return NO_CONTROLS
        return _reply(late.REPLY if stale else decision.reply)


def _reply(line: bytes) -> Reply:
    code, _, text = line.partition(b" ")
    return Reply(int(code), (text,))


class Policies:
    """The current snapshot: read again when a file has changed, shared between connections until then."""

    def __init__(self, home: Path) -> None:
        """Reads nothing yet."""
        self._home = home
        self._signature: tuple[object, ...] | None = None
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()

    def waiting(self) -> late.Session:
        """What a new session must know of changes that wait for other nodes. Source: `mailhost.system.late`.

        Raises:
            ControlError: the record of waiting changes cannot be read.
        """
        try:
            return late.Session(self._home)
        except OSError as error:
            raise ControlError(late.FILE, f"cannot be read: {error.strerror}") from error

    def snapshot(self) -> Snapshot:
        """The control files as they are now. Source: qmail-control(5), Q-SMTP-1.

        Raises:
            ControlError: a file is there and cannot be read, or relayclients has a line without an address or network.
        """
        with self._lock:
            signature, newest = _signature(self._home)
            if self._snapshot is None or signature != self._signature:
                self._snapshot = Snapshot(load(self._home, Reader.SMTPD), _relayclients(self._home))
                settled = newest < time.time_ns() - _SETTLED_NS
                self._signature = signature if settled else None
            return self._snapshot


def _signature(home: Path) -> tuple[tuple[object, ...], int]:
    """A value that differs between two states of the files, and the newest time stamp among them."""
    marks: list[object] = []
    newest = 0
    for name in _FILES:
        try:
            found = os.stat(f"{home}/control/{name}")
        except OSError as error:
            marks.append(error.errno)
            continue
        marks.append((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode))
        newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
    return tuple(marks), newest


def _relayclients(home: Path) -> tuple[tuple[Network, bytes], ...]:
    clients = []
    for number, line in list_lines(read(home, RELAYCLIENTS)):
        network, *suffix = line.split(None, 1)
        try:
            clients.append((ipaddress.ip_network(network.decode("ascii")), b"".join(suffix)))
        except ValueError as error:
            raise ControlError(RELAYCLIENTS, f"line {number}: not an address or network") from error
    return tuple(clients)
