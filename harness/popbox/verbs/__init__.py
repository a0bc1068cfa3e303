"""The closed set of verbs: each takes the run's context, its own table and a deadline, and returns what it saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from popbox.model import Observation
from popbox.verbs import declared, expected, faults, files, mail, talk
from popbox.verbs.context import Context, Sent

__all__ = ["VERBS", "Context", "Sent"]

VERBS: dict[str, Callable[[Context, Any, float], Observation]] = {
    "declare": declared.declare,
    "explain": declared.explain,
    "send": mail.send,
    "expect-delivered": expected.delivered,
    "expect-nothing": expected.nothing,
    "expect-bounce": expected.bounce,
    "expect-deferred": expected.deferred,
    "expect-retrieved": talk.retrieved,
    "telnet": talk.telnet,
    "maildir": files.maildir,
    "file": files.file,
    "write": files.write,
    "shell": declared.shell,
    "log": files.log,
    "break": faults.break_,
    "heal": faults.heal,
    "wait-until": faults.wait,
    "restart": faults.restart,
    "hup": faults.hup,
}
