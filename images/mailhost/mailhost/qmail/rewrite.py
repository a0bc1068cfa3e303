"""How qmail-send rewrites a recipient: to a local, virtual or remote address. Source: Q-SEND-1..6, Q-VDOM-1..9."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailhost.qmail.control import Controls, suffixes
from mailhost.qmail.controlfile import Table, c_string


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was applied: its ``file`` and ``line`` (0: no single line), and the address after it."""

    rule: str  # "envnoathost" | "percenthack" | "locals" | "virtualdomains"
    file: str
    line: int
    key: bytes
    address: bytes


@dataclass(frozen=True, slots=True)
class Local:
    """A recipient for qmail-lspawn: ``address`` = local part @ host; ``prefix``: the text of virtualdomains, or None.

    A NUL (envnoathost can hold one) ends the address after all rules, because the queue terminates it with NUL.
    """

    address: bytes
    steps: tuple[Step, ...]
    prefix: bytes | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """A recipient for qmail-rspawn: no local rule matched, or an empty virtualdomains value made it remote."""

    address: bytes
    steps: tuple[Step, ...]


def rewrite(controls: Controls, rcpt: bytes) -> Local | Remote:
    """Apply envnoathost, percenthack, locals and virtualdomains, in that order (qmail-send(8), Q-SEND-1)."""
    steps: list[Step] = []
    user, host = _with_host(controls, rcpt, steps)
    user, host = _percenthack(controls.percenthack, user, host, steps)
    address = user + b"@" + host
    user, _, host = address.rpartition(b"@")  # what came in as host may hold an @ itself (Q-SEND-5)
    line = controls.locals.find(host) if controls.locals is not None else None
    if line is not None and controls.locals is not None:
        steps.append(Step("locals", controls.locals.file, line.number, line.key, address))
        return Local(c_string(address), tuple(steps))
    return _virtual(controls.virtualdomains, user, host, steps)


def _with_host(controls: Controls, rcpt: bytes, steps: list[Step]) -> tuple[bytes, bytes]:
    user, at, host = rcpt.rpartition(b"@")
    if at:
        return user, host
    address = rcpt + b"@" + controls.envnoathost
    steps.append(Step("envnoathost", "control/envnoathost", 0, controls.envnoathost, address))
    return rcpt, controls.envnoathost


def _percenthack(table: Table, user: bytes, host: bytes, steps: list[Step]) -> tuple[bytes, bytes]:
    """``user%next@listed`` becomes ``user@next``, as often as it applies (Q-SEND-2)."""
    while b"%" in user and (line := table.find(host)) is not None:
        user, _, host = user.rpartition(b"%")
        steps.append(Step("percenthack", table.file, line.number, line.key, user + b"@" + host))
    return user, host


def virtual_keys(user: bytes, host: bytes) -> Iterator[bytes]:
    """The virtualdomains keys in the order tried: whole address, host, each .suffix, the empty key (facts B.1)."""
    yield user + b"@" + host
    yield from suffixes(host)
    yield b""


def _virtual(table: Table, user: bytes, host: bytes, steps: list[Step]) -> Local | Remote:
    address = user + b"@" + host
    for key in virtual_keys(user, host):
        line = table.find(key)
        if line is None:
            continue
        prefixed = line.value + b"-" + address if line.value else address
        steps.append(Step("virtualdomains", table.file, line.number, line.key, prefixed))
        if line.value:
            return Local(c_string(prefixed), tuple(steps), prefix=line.value)
        break
    return Remote(c_string(address), tuple(steps))
