"""A mail host whose files and logs are readable where popbox runs, and whose services are elsewhere: only looked at.

So is a deployment seen from a container that has its volumes, read-only, and so is a mail host on which popbox itself
runs. popbox never starts, breaks or removes it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from popbox.environment import NOTHING, of_programs
from popbox.errors import HostError, NotPossibleError
from popbox.hosts.base import POPUSER_UID, Ability, Command, Ran, Service
from popbox.hosts.following import FileFollower, end_of
from popbox.hosts.local_files import LocalReading
from popbox.hosts.remote import COMMAND_S, Remote, RemoteHost
from popbox.hosts.warm import Warm

DECLARED = "accounts are changed on the mail host itself: host mounted only reads its files"
LINTED = "lint is for the mail host itself: run `mailhost lint` there"
NO_POP3_LOG = "host mounted has no log of POP3: --pop3-log names one"


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where its files are here. A log is the newest file; rotated ones are beside it (see ``hosts.following``)."""

    home: Path
    smtp_log: Path
    pop3_log: Path | None = None


class MountedHost(LocalReading, RemoteHost):
    """See ``hosts.base.Host`` for the methods; those that would change the host raise HostError."""

    name = "mounted"

    def __init__(self, remote: Remote, mounts: Mounts, environ: Mapping[str, str] = NOTHING) -> None:
        """``remote`` says where its services are. ``environ``: what children may have of it. Connects to nothing."""
        super().__init__(remote)
        self._mounts, self._environ = mounts, of_programs(environ)
        self._program = shlex.split(remote.mailhost_command) or ["mailhost"]
        self._warm = Warm(self._program, env=self._environ)
        self.uid = os.geteuid() or POPUSER_UID

    def cannot(self, ability: Ability) -> str:
        """See Host."""
        if ability is Ability.DECLARE:
            return DECLARED
        seen = (Ability.FILES, Ability.EXPLAIN, Ability.LOG)
        return "" if ability in seen else super().cannot(ability)

    def describe(self) -> str:
        """See Host."""
        return RemoteHost.describe(self)

    def home(self) -> str:
        """See Host."""
        return str(self._mounts.home)

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        """See Host. What this process may write says nothing of the mail host: addresses are judged by modes.

        Raises:
            NotPossibleError: `lint`, where the home is read-only here: it tries what can be written and read.
        """
        if argv[:1] == ("lint",) and not os.access(self._mounts.home / "users", os.W_OK):
            raise NotPossibleError(LINTED)
        by_modes = ("explain", "--by-modes") if argv[:2] == ("explain", "--json") else argv[:1]
        words = ["--home", self.home(), *by_modes, *argv[1:]]
        return Ran.of(argv, *self._warm.run_anyway(words, stdin, COMMAND_S))

    def beside(self, *argv: str) -> Command:
        """See Host."""
        return Command([sys.executable, "-P", *argv], self._environ)

    def follow(self, service: Service, position: str = "") -> FileFollower:
        """See Host."""
        path = self._log_path(service)
        if path is None:
            raise NotPossibleError(NO_POP3_LOG)
        if not path.exists():
            raise HostError(f"the log of {service}, {path}, is not there")
        return FileFollower(path, position)

    def log(self, service: Service) -> str:
        """See Host: of a log that was rotated, the newest file."""
        path = self._log_path(service)
        return path.read_text("utf-8", "replace") if path and path.exists() else ""

    def log_end(self, service: Service, octets: int) -> str:
        """See Host: of a log that was rotated, the newest file."""
        path = self._log_path(service)
        return end_of(path, octets) if path else ""

    def _log_path(self, service: Service) -> Path | None:
        return self._mounts.smtp_log if service == "smtp" else self._mounts.pop3_log

    def by_hand(self) -> str:
        """See Host."""
        return shlex.join([*self._program, "--home", self.home()])

    def close(self) -> None:
        """See Host: it stays as it is."""
        self._warm.close()
