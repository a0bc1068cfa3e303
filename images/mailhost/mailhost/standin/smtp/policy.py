"""What one SMTP connection is told: the control files of this moment, and whether its peer may relay.

control/relayclients takes the place of the environment variable RELAYCLIENT that a tcpserver would set: a line is
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
        """The text added to this client's recipients, possibly empty; None: it may not relay."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return None
        matches = [(net.prefixlen, suffix) for net, suffix in self.relayclients if address in net]
        return max(matches, default=(0, None), key=lambda match: match[0])[1]


class HostPolicy:
    """``smtp.Policy`` over a snapshot, for the peer ``ip``."""

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

        Raises ControlError where qmail-smtpd could not greet: neither smtpgreeting nor me (Q-SMTP-4).
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
        """None: rcpthosts decides."""
        return self._snapshot.relayclient(self._ip)

    def localize(self, address: bytes) -> bytes:
        """Q-ADDR-7."""
        if b"[" not in address:
            return address
        return localize(address, self._interfaces, self._snapshot.controls.localiphost)

    def refusal(self, sender: bytes, recipient: bytes) -> Reply | None:
        """badmailfrom first, then rcpthosts (Q-RCPT-9); a list that cannot be read ends the session (Q-SMTP-4).

        Before rcpthosts: what another node has already is asked to come again (`mailhost.system.late`), and after it
        what this one may have by now.
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
    """The current snapshot: read anew when a file has changed, else shared between connections."""

    def __init__(self, home: Path) -> None:
        """Reads nothing yet."""
        self._home = home
        self._signature: tuple[object, ...] | None = None
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()

    def waiting(self) -> late.Session:
        """What waits for other nodes, for a session that begins. Raises ControlError."""
        try:
            return late.Session(self._home)
        except OSError as error:
            raise ControlError(late.FILE, f"cannot be read: {error.strerror}") from error

    def snapshot(self) -> Snapshot:
        """The files as they are now. Raises ControlError."""
        with self._lock:
            signature, newest = _signature(self._home)
            if self._snapshot is None or signature != self._signature:
                self._snapshot = Snapshot(load(self._home, Reader.SMTPD), _relayclients(self._home))
                settled = newest < time.time_ns() - _SETTLED_NS
                self._signature = signature if settled else None
            return self._snapshot


def _signature(home: Path) -> tuple[tuple[object, ...], int]:
    """What tells one state of the files from another, and the newest time stamp among them."""
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
