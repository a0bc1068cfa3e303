"""What the MTA's queue holds, real qmail's or the stand-in's: how many messages, over time, and which lines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import Ability, Host
from popbox.load.books.journal import Journal
from popbox.load.stage.beside import Beside

EACH_S = 10.0  # our choice: in a container a look costs a process or two
FEWEST = 20  # our choice: in a short run so many
# One file a message: real qmail's in mess/, the stand-in's in standin/msg/. A host that has neither says so.
_QUEUES = """cd {home}/queue && set -- && for one in mess standin/msg; do [ ! -d $one ] || set -- "$@" $one; done &&
[ $# -gt 0 ] && """


def depth(host: Host) -> int:
    """How many messages the queue holds.

    Raises:
        HostError: the host does not answer, or has no queue that is known here.
    """
    return int(_look(host, 'find "$@" -type f | wc -l'))


def held(host: Host, lines: Sequence[str]) -> set[str]:
    """Those of the lines that a message of the queue has.

    Raises:
        HostError: as of ``depth``.
    """
    wanted = " ".join(f"-e {shlex.quote(one)}" for one in lines)
    return set(_look(host, f'{{ grep -rhxF {wanted} "$@" || true; }}').splitlines())


def _look(host: Host, script: str) -> str:
    ran = host.shell(_QUEUES.format(home=shlex.quote(host.home())) + script)
    if ran.code:
        raise HostError(f"the queue of {host.describe()} cannot be looked at: {ran.stderr.strip() or 'it has none'}")
    return ran.stdout


class Depth(Beside):
    """Notes how many messages the queue holds, while the load lasts."""

    def __init__(self, host: Host, journal: Journal, lasts_s: float) -> None:
        """``journal`` is this thread's alone until ``end``."""
        super().__init__("look at the queue")
        self._host, self._journal = host, journal
        self._each_s = min(EACH_S, lasts_s / FEWEST)

    def _run(self) -> None:
        while not self._host.cannot(Ability.SHELL):
            with suppress(PopboxError):  # it is being broken
                self._journal.write("depth", octets=depth(self._host))
            if self._over.wait(self._each_s):
                return
