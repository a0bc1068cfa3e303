"""What a run's process gets of the host: looks, its log, and ``mailhost`` commands that a scenario may run. No more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import SERVICES, Ability, Host, Ran, Service
from popbox.hosts.following import Follower
from popbox.journey.recorder import MAIL, POP3
from popbox.journey.store import Store
from popbox.scenario.names import HOWTO_HASH
from popbox.serve.writes.scenario.own import Own, Things

SOURCES: dict[Service, str] = {"smtp": MAIL, "pop3": POP3}  # in the store, which knows how far it has read
POPPASSWD = "users/poppasswd"
SHARED = "this host is served to others too: `popbox run` runs it, on a host of its own"
NO_CHAIN = "programs of the host are not run for a client: `popbox run` runs it"
NOT_HERE = {
    Ability.OWN_HOST: SHARED,
    Ability.OWN_DISK: SHARED,
    Ability.CHAIN: NO_CHAIN,
    Ability.SYSLOG: NO_CHAIN,
}


class Shared:
    """A host as ``run.needs`` asks about it: one that is served to others cannot be broken, nor run programs."""

    def __init__(self, host: Host) -> None:
        self.name, self.mta, self._host = host.name, host.mta, host

    def cannot(self, ability: Ability) -> str:
        """See Host."""
        return NOT_HERE.get(ability) or self._host.cannot(ability)


class Reach:
    """Answers what is asked about the host, by the names of ``hosts.base.Host``. For one thread."""

    def __init__(self, host: Host, store: Store, keep: Callable[[Things], None]) -> None:
        """``keep``: see ``Own``."""
        self._host, self.own = host, Own(host, keep)
        self._public = {HOWTO_HASH.encode()}  # and the hashes that were made for the run
        self._logs = {} if host.cannot(Ability.LOG) else {one: _Log(host, store, one) for one in SERVICES}
        self._asked: dict[str, Callable[..., Any]] = {
            "address": host.address,
            "ailments": host.ailments,
            "alive": host.alive,
            "by_hand": host.by_hand,
            "cannot": Shared(host).cannot,
            "describe": host.describe,
            "find": host.find,
            "home": host.home,
            "log": self._log,
            "read": self._read,
            "run": self._run,
            "search": host.search,
        }

    def ask(self, method: str, *said: Any, **named: Any) -> Any:
        """What the method answers.

        Raises:
            PopboxError: of the host's, or it is no method that a scenario's run may use.
            OSError: the host's files or log cannot be read.
        """
        if method not in self._asked:
            raise HostError(f"{method} is not for a scenario that a client sends")
        return self._asked[method](*said, **named)

    def close(self) -> None:
        """Let go of the logs."""
        for log in self._logs.values():
            log.close()

    def _read(self, path: str) -> bytes:
        """The ledger logs in to boxes whose password it knows by the hash: it gets no other hash."""
        if path != POPPASSWD:
            raise HostError(f"{path} is not shown to a scenario that a client sends")
        rows = (line.split(b":", 2) for line in self._host.read(path).splitlines())
        shown = ((one[0], *(crypt if crypt in self._public else b"*" for crypt in one[1:2]), *one[2:]) for one in rows)
        return b"".join(b":".join(one) + b"\n" for one in shown)

    def _log(self, service: Service) -> str:
        if service not in self._logs:
            raise HostError(self._host.cannot(Ability.LOG))
        return self._logs[service].text()

    def _run(self, *argv: str, stdin: bytes = b"") -> Ran:
        ran = self.own.run(argv, stdin)
        if argv[0] == "mkpasswd" and not ran.code:
            self._public.add(ran.stdout.strip().encode())
        return ran


class _Log:
    """What a service has logged since this was made. What is older, of a host that runs for weeks, is not read."""

    def __init__(self, host: Host, store: Store, service: Service) -> None:
        self._lines: list[str] = []
        self._follower: Follower = host.follow(service, store.position(SOURCES[service])[0])
        for _ in self._follower.lines():  # what came before, and was not recorded yet
            pass

    def text(self) -> str:
        """All of it."""
        self._lines += [line.text + "\n" for line in self._follower.lines()]
        if self._follower.gap:
            raise HostError(f"a part of the log is missing: {self._follower.gap}")
        return "".join(self._lines)

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError, PopboxError):
            self._follower.close()
