"""Counters that all workers share, and their text form for Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
from pathlib import Path

from mailhost.pop3.auth.shared_tables import Shared
from mailhost.pop3.auth.throttle import ENTRANCES
from mailhost.system.gauges import LOG, VOLUMES, certificate, gauge, volumes


class Count(enum.IntEnum):
    """Every counter, in its place in the shared memory."""

    CONNECTIONS = 0
    OPEN = 1
    REFUSED = 2
    LOGINS = 3
    FAILURES = 4
    THROTTLED = 5
    TLS = 6
    RETRIEVED = 7
    DELETED = 8
    RECEIVED = 9
    SENT = 10
    IN_USE = 11


_HELP: dict[Count, tuple[str, str, str]] = {
    Count.CONNECTIONS: ("popbox_pop3_connections_total", "counter", "Connections accepted."),
    Count.OPEN: ("popbox_pop3_connections_open", "gauge", "Connections open now."),
    Count.REFUSED: ("popbox_pop3_connections_refused_total", "counter", "Connections refused by a cap."),
    Count.LOGINS: ("popbox_pop3_logins_total", "counter", "Logins that succeeded."),
    Count.FAILURES: ("popbox_pop3_login_failures_total", "counter", "Wrong passwords and unknown logins."),
    Count.THROTTLED: ("popbox_pop3_logins_throttled_total", "counter", "Logins that had to wait for earlier failures."),
    Count.TLS: ("popbox_pop3_tls_handshakes_total", "counter", "TLS handshakes completed."),
    Count.RETRIEVED: ("popbox_pop3_messages_retrieved_total", "counter", "Messages sent by RETR or TOP."),
    Count.DELETED: ("popbox_pop3_messages_deleted_total", "counter", "Messages removed at QUIT."),
    Count.RECEIVED: ("popbox_pop3_received_octets_total", "counter", "Octets received."),
    Count.SENT: ("popbox_pop3_sent_octets_total", "counter", "Octets sent."),
    Count.IN_USE: ("popbox_pop3_maildrop_in_use_total", "counter", "Logins refused because the maildrop was locked."),
}


class Counters:
    """One row of 64-bit numbers for each worker in memory they share; each writes its own row only.

    ``entered`` is a table all write: when logins last began, for ``Throttle.too_soon``. ``shared`` is the throttles'.
    """

    def __init__(self, workers: int = 1) -> None:
        """Make it before forking."""
        self._all = memoryview(mmap.mmap(-1, workers * len(Count) * 8)).cast("q")
        self.entered = memoryview(mmap.mmap(-1, ENTRANCES * 8)).cast("Q")
        self.shared = Shared(workers)
        self.mine = self.row(0)

    def row(self, worker: int) -> memoryview:
        """The numbers of one worker."""
        return self._all[worker * len(Count) : (worker + 1) * len(Count)]

    def died(self, worker: int) -> None:
        """The system has closed what a worker had open: give it back to the caps, then say so."""
        self.shared.give_back(worker)
        self.row(worker)[Count.OPEN] = 0

    def totals(self) -> list[int]:
        """The sums over all workers."""
        return [sum(self._all[count :: len(Count)]) for count in Count]

    def render(self) -> bytes:
        """The page Prometheus reads."""
        lines: list[str] = []
        for count, value in zip(Count, self.totals(), strict=True):
            name, kind, text = _HELP[count]
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
        return ("\n".join(lines) + "\n").encode("ascii")


def machine(home: Path, chain: Path | None, canary: Path | None) -> bytes:
    """Gauges of what no session shows in time: disks, the certificate's end, and when the canary's box opened last.

    Unknown values are left out. ``canary`` is the file that the health check touches.
    """
    text = certificate("popbox_pop3_certificate_end_timestamp_seconds", chain) if chain is not None else ""
    with contextlib.suppress(OSError):
        disk = os.statvfs(home / "popboxes")
        for name, what, value in (
            ("disk_free_bytes", "Free for mail.", disk.f_bavail * disk.f_frsize),
            ("disk_size_bytes", "Size of the file system with the mail.", disk.f_blocks * disk.f_frsize),
            ("disk_free_inodes", "Inodes free for mail.", disk.f_favail),
        ):
            text += gauge(f"popbox_pop3_{name}", what, [("", value)])
    with contextlib.suppress(OSError):
        if canary is not None:
            at = canary.stat().st_mtime
            what = "When the canary's box was opened last."
            text += gauge("popbox_pop3_canary_success_timestamp_seconds", what, [("", at)])
    return (text + volumes([*(home / name for name in VOLUMES), LOG])).encode("ascii")
