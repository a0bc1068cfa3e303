"""The POP3 client of ``popbox.clients`` under gevent, whose sockets wait by their own timeouts."""

from __future__ import annotations

from popbox.clients.bulk_pop3 import BulkPop3


class GreenPop3(BulkPop3):
    """One connection; each read has a deadline, and lets other greenlets run."""

    def _let_the_kernel_wait(self) -> None:
        """Not here: a greenlet that waited in the kernel would stop all others of its process."""
        self._socket.settimeout(self.timeout_s)
