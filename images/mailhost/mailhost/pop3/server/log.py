"""One JSON line on stderr for each session and each error. Never a secret, never message text."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING

from mailhost.pop3.protocol.authorization import QUIT_BEFORE_LOGIN
from mailhost.pop3.protocol.listing import Message, base_name
from mailhost.system.proxy_protocol import NEVER_BEGAN

if TYPE_CHECKING:
    from mailhost.pop3.server.connection import Connection

_LOOPBACK = ("127.0.0.1", "::1")


class Log:
    """Collects lines during one round of the loop and writes them with one call."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._lines: list[str] = []

    def line(self, event: str, **fields: object) -> None:
        """Add one line; values that are octets are shown as latin-1, so that any login can be told from any other."""
        shown = {k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in fields.items()}
        self._lines.append(json.dumps({"time": round(time.time(), 3), "event": event, **shown}) + "\n")

    def session(self, connection: Connection, profile: str, now: float) -> None:
        """The line of a session that has ended; formatted by hand, since json takes a tenth of a short session."""
        c, context = connection, connection.session.context
        if c.why == NEVER_BEGAN or (c.why == QUIT_BEFORE_LOGIN and c.peer in _LOOPBACK and not context.failures):
            return  # a health check, every few seconds for years: it would bury what matters
        login, tls = context.login or b"", "true" if c.secure else "false"
        shown = login.decode("ascii") if login.isalnum() else json.dumps(login.decode("latin-1"))[1:-1]
        self._lines.append(
            f'{{"time": {time.time():.3f}, "event": "session", "id": "{context.stamp.decode("ascii", "replace")}", '
            f'"peer": "{c.peer}", "login": "{shown}", "profile": "{profile}", "tls": {tls}, '
            f'"received": {c.received}, "sent": {c.sent}, "retrieved": {c.retrieved}, "deleted": {c.deleted}, '
            f'"seconds": {now - c.started:.3f}, "why": "{c.why}"}}\n'
        )

    def messages(self, event: str, connection: Connection, messages: Iterable[Message]) -> None:
        """A line for each of a session's messages; by hand as well, as a QUIT may remove 50,000 of them.

        ``octets`` is the size that LIST gave, ``file`` the name up to its flags (they change), ``id`` the session's.
        """
        context = connection.session.context
        head = (
            f'{{"time": {time.time():.3f}, "event": "{event}", "id": "{context.stamp.decode("ascii", "replace")}", '
            f'"login": {quoted((context.login or b"").decode("latin-1"))}, "uidl": '
        )
        self._lines += [
            f'{head}{quoted(one.uid.decode("latin-1"))}, "octets": {one.size}, '
            f'"file": {quoted(base_name(one.path).decode("latin-1"))}}}\n'
            for one in messages
        ]

    def flush(self) -> None:
        """Write what has been collected; a log that cannot be written does not stop mail."""
        if self._lines:
            data = "".join(self._lines).encode("ascii")
            self._lines.clear()
            try:
                os.write(self._fd, data)
            except OSError:
                return
