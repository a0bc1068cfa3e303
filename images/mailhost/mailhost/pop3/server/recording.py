"""``--log-messages``: a connection that says which messages its client has taken whole.

A class of its own, so that a server without the option pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from mailhost.pop3.protocol.events import Transmit
from mailhost.pop3.server.connection import Connection

if TYPE_CHECKING:
    from mailhost.pop3.maildrop.transfer import Transfer
    from mailhost.pop3.protocol.listing import Message
    from mailhost.pop3.protocol.session import Session
    from mailhost.pop3.server.connection import Registry, Service
    from mailhost.pop3.server.event_loop import Loop

Report = Callable[[Connection, "list[Message]"], None]


class Recording(Connection):
    """A ``Connection`` that reports messages when the last octet of theirs, the final dot's line end, is sent.

    Sent is what the system has taken for the peer. A message that breaks off is not reported, nor is TOP with a number
    of lines, even of a message that has no more.
    """

    __slots__ = ("_begun", "_current", "_prepared", "_report")

    def __init__(
        self,
        loop: Loop,
        registry: Registry,
        service: Service,
        fd: int,
        peer: str,
        session: Session,
        report: Report,
    ) -> None:
        """``report`` is called with the messages, on the loop."""
        super().__init__(loop, registry, service, fd, peer, session)
        self._report = report
        self._begun = 0
        self._current: Message | None = None
        self._prepared: list[Message] = []

    def _begin(self, event: Transmit) -> None:
        super()._begin(event)  # which calls this again where the message had to be searched for
        before, self._begun = self._begun, self.retrieved
        if before == self._begun or event.lines is not None:
            return
        if self._transfer is None:
            self._prepared.append(event.message)
        else:
            self._current = event.message

    def _send_piece(self, transfer: Transfer) -> None:
        super()._send_piece(transfer)
        if transfer.done and self._current is not None:
            self._prepared.append(self._current)
            self._current = None

    def _send(self, data: bytes | memoryview) -> bool:
        sent = super()._send(data)
        if sent and self._prepared and not self._out:
            messages, self._prepared = self._prepared, []
            self._report(self, messages)
        return sent

    _takes: ClassVar[dict[type, Callable[[Any, Any], None]]] = {**Connection._takes, Transmit: _begin}
