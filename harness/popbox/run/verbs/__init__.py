"""The closed set of verbs: each takes the run's context, its own table and a deadline, and returns what it saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from popbox.ledger.sent import Sent
from popbox.result import Observation
from popbox.run.context import Context
from popbox.run.verbs import declare, expect, faults, files, send, telnet

__all__ = ["VERBS", "Context", "Sent"]

VERBS: dict[str, Callable[[Context, Any, float], Observation]] = {
    "declare": declare.declare,
    "explain": declare.explain,
    "send": send.send,
    "expect-delivered": expect.delivered,
    "expect-nothing": expect.nothing,
    "expect-bounce": expect.bounce,
    "expect-deferred": expect.deferred,
    "expect-retrieved": telnet.retrieved,
    "telnet": telnet.telnet,
    "maildir": files.maildir,
    "file": files.file,
    "write": files.write,
    "shell": declare.shell,
    "log": files.log,
    "break": faults.break_,
    "heal": faults.heal,
    "wait-until": faults.wait,
    "restart": faults.restart,
    "hup": faults.hup,
}
