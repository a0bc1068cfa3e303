"""One host for each world of a test run, also when several processes (pytest-xdist) run it.

The run has one owner, pytest's first process. The process that needs a host first starts it under a file lock and
records it as the owner's; the others find that record and use the same host. The owner removes all of them at its end;
if it was killed, ``popbox down`` does.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from popbox.errors import HostError
from popbox.hosts.base import SERVICES, Host
from popbox.hosts.choose import Choice, attach, start
from popbox.hosts.process import undisturbed
from popbox.hosts.readiness import wait_ready
from popbox.hosts.state import Process, Registry
from popbox.settings import Settings

SERVES_S = 10.0  # our choice: a host that another process brought up has answered already


class SharedHosts:
    """The hosts of one run, as one of its processes sees them."""

    def __init__(self, settings: Settings, owner: Process) -> None:
        """``owner`` is the process whose end is the run's end."""
        self._settings, self._owner = settings, owner
        self._registry = Registry(settings.state, owner, shared=True)
        self._up: dict[Choice, Host] = {}
        self._failed: dict[Choice, HostError] = {}

    def host(self, choice: Choice) -> Host:
        """The host of that world. It is started once; the tests that need it fail with the same error, without waiting.

        Raises:
            HostError: it cannot be started, or does not answer any more.
        """
        if choice in self._failed:
            raise self._failed[choice]
        if choice not in self._up:
            try:
                with self._locked(choice):
                    self._up[choice] = self._found(choice) or start(choice, self._settings, self._registry)
            except HostError as error:
                self._failed[choice] = error
                raise
        return self._up[choice]

    def _found(self, choice: Choice) -> Host | None:
        for record in self._registry.mine():
            if (record.host, record.mta) == (choice.host, choice.mta):
                host = attach(record, self._settings, self._registry)
                for service in SERVICES:
                    wait_ready(host, service, time.monotonic() + SERVES_S)
                return host
        return None

    @contextmanager
    def _locked(self, choice: Choice) -> Iterator[None]:
        """One process at a time; the lock ends with the process that holds it."""
        path = self._settings.state / f"shared-{self._owner.pid}-{choice.host}-{choice.mta}.lock"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def end(self, keep: bool = False) -> list[Host]:
        """The owner's last call: take every host of the run away, or mark them as kept; returns those that stay up."""
        hosts = [attach(record, self._settings, self._registry) for record in self._registry.mine()]
        self._up.clear()
        with undisturbed():  # a second signal does not stop us half-way
            for host in hosts:
                if keep:
                    host.keep()
                else:
                    host.close()
        for path in self._locks():
            path.unlink(missing_ok=True)
        return hosts if keep else []

    def _locks(self) -> list[Path]:
        return sorted(self._settings.state.glob(f"shared-{self._owner.pid}-*.lock"))
