"""A mail host that exists already, given by its addresses: read, and changed only where that is allowed.

popbox never starts, breaks or removes it. A scenario that needs what it cannot do is skipped with the reason.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, NoReturn

from popbox.clients.wire import Address, Wire
from popbox.errors import HostError
from popbox.hosts.base import CHAIN, Ability, Command, Found, Ran, Service
from popbox.hosts.command_log import CommandFollower
from popbox.hosts.following import Follower
from popbox.hosts.process import run_bounded, undisturbed
from popbox.hosts.remote_accounts import Changes
from popbox.scenario.names import Disk
from popbox.settings import unsaid

COMMAND_S = 60.0  # our choice: a command that has not answered by then has failed
WRITES = {
    Ability.SEND: "sends mail",
    Ability.DELETE: "deletes mail",
    Ability.DECLARE: "changes accounts",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """What the operator tells of the host. The MTA is what they say it is, else unknown."""

    smtp: Address
    pop3: Address
    mta: Literal["qmail", "stand-in", "unknown"] = "unknown"
    log_command: str = ""  # prints the log, whole or its end, in qmail-send's form
    mailhost_command: str = ""  # the words before a verb of mailhost, such as `ssh mx mailhost`
    allow_writes: bool = False


class RemoteHost:
    """See ``hosts.base.Host`` for the methods; those that would change the host raise HostError."""

    name, uid = "remote", 888

    def __init__(self, remote: Remote, say: Callable[[str], None] = unsaid) -> None:
        """Connects to nothing yet. ``say`` gets a line for each change undone at the end, and for each left."""
        self._remote, self._say = remote, say
        self._changes = Changes(self._mailhost)
        self.mta: str = remote.mta
        self._log = ""

    def cannot(self, ability: Ability) -> str:
        """See Host."""
        if ability in WRITES and not self._remote.allow_writes:
            return f"it {WRITES[ability]}, and host {self.name} is read-only: --allow-writes allows that"
        if ability in (Ability.DECLARE, Ability.EXPLAIN) and not self._remote.mailhost_command:
            return "host remote has no mailhost program to run: --mailhost-command gives one"
        if ability is Ability.LOG and not self._remote.log_command:
            return "host remote shows no log: --log-command gives one"
        allowed = (*WRITES, Ability.EXPLAIN, Ability.LOG)
        return "" if ability in allowed else f"host {self.name} is not ours: {REFUSED[ability]}"

    def address(self, service: Service) -> Address:
        """See Host."""
        return self._remote.smtp if service == "smtp" else self._remote.pop3

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        """See Host. What it declares is taken back by ``close``."""
        self._changes.note(argv, stdin)
        return self._mailhost(*argv, stdin=stdin)

    def _mailhost(self, *argv: str, stdin: bytes = b"") -> Ran:
        """Over ssh each word is quoted, since the shell there splits them again."""
        words = shlex.split(self._remote.mailhost_command)
        if not words:
            raise HostError(self.cannot(Ability.EXPLAIN))
        over_ssh = PurePath(words[0]).name == "ssh"
        command = [*words, *(map(shlex.quote, argv) if over_ssh else argv)]
        done = run_bounded(command, within_s=COMMAND_S, env=None, stdin=stdin)
        return Ran.of(argv, done.returncode, done.stdout, done.stderr)

    def log(self, service: Service) -> str:
        """See Host. A command that prints only the end of the log is followed: what is new is put behind the old."""
        if why := self.cannot(Ability.LOG):
            raise HostError(why)
        self._log = joined(self._log, self._shown_log())
        return self._log

    def log_end(self, service: Service, octets: int) -> str:
        """See Host. How much is read is the log command's own choice."""
        if why := self.cannot(Ability.LOG):
            raise HostError(why)
        shown = self._shown_log()
        return shown[-octets:].partition("\n")[2] if len(shown) > octets else shown

    def _shown_log(self) -> str:
        """What the log command prints."""
        done = run_bounded(shlex.split(self._remote.log_command), within_s=COMMAND_S, env=None)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise HostError(f"the log command ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")

    def follow(self, service: Service, position: str = "") -> Follower:
        """See Host."""
        if why := self.cannot(Ability.LOG):
            raise HostError(why)
        return CommandFollower(self._shown_log, position)

    def alive(self, service: Service) -> str:
        """See Host."""
        return ""

    def pid(self, service: Service) -> int:
        """See Host."""
        return 0

    def ailments(self) -> list[str]:
        """See Host."""
        return []

    def home(self) -> str:
        """See Host."""
        return "/var/qmail"

    def describe(self) -> str:
        """See Host."""
        return f"host {self.name}, MTA {self.mta}"

    def by_hand(self) -> str:
        """See Host."""
        return self._remote.mailhost_command or "mailhost"

    def close(self) -> None:
        """See Host: the accounts that this run declared go; it says which are left."""
        with undisturbed():
            for line in self._changes.take_back():
                self._say(line)

    def keep(self) -> None:
        """See Host."""

    def _not_ours(self, ability: Ability) -> NoReturn:
        raise HostError(self.cannot(ability))

    def find(self, maildir: str, needle: str) -> list[Found]:
        """See Host."""
        self._not_ours(Ability.FILES)

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        """See Host."""
        self._not_ours(Ability.FILES)

    def read(self, path: str) -> bytes:
        """See Host."""
        self._not_ours(Ability.FILES)

    def mode(self, path: str) -> int:
        """See Host."""
        self._not_ours(Ability.FILES)

    def write(self, path: str, octets: bytes) -> None:
        """See Host."""
        self._not_ours(Ability.CHANGE)

    def remove(self, path: str) -> None:
        """See Host."""
        self._not_ours(Ability.CHANGE)

    def chmod(self, path: str, mode: int) -> None:
        """See Host."""
        self._not_ours(Ability.CHANGE)

    def hup(self) -> None:
        """See Host."""
        self._not_ours(Ability.CHANGE)

    def shell(self, script: str) -> Ran:
        """See Host."""
        self._not_ours(Ability.SHELL)

    def chain(self, timeout_s: float, runs: tuple[str, ...] = CHAIN, syslog: bool = False) -> Wire:
        """See Host."""
        self._not_ours(Ability.CHAIN)

    def beside(self, *argv: str) -> Command:
        """See Host."""
        self._not_ours(Ability.FILES)

    def stop(self, service: Service) -> None:
        """See Host."""
        self._not_ours(Ability.STOP)

    def kill(self, service: Service) -> None:
        """See Host."""
        self._not_ours(Ability.KILL)

    def restart(self, service: Service, deadline: float) -> None:
        """See Host."""
        self._not_ours(Ability.STOP)

    def pause(self, service: Service, on: bool) -> None:
        """See Host."""
        self._not_ours(Ability.PAUSE)

    def cut(self, service: Service, on: bool) -> None:
        """See Host."""
        self._not_ours(Ability.PARTITION)

    def fill(self, disk: Disk, on: bool) -> None:
        """See Host."""
        self._not_ours(Ability.FILL)

    def read_only(self, disk: Disk, on: bool) -> None:
        """See Host."""
        self._not_ours(Ability.READ_ONLY)


BREAKS = "nothing is broken on it"
REFUSED = {
    Ability.FILES: "its files cannot be read from here",
    Ability.CHANGE: "no file is changed and no process signalled on it",
    **dict.fromkeys((Ability.CHAIN, Ability.SYSLOG, Ability.SHELL), "no program is started on it"),
    Ability.OWN_HOST: "others use it",
    Ability.OWN_DISK: BREAKS,
    **dict.fromkeys((Ability.STOP, Ability.KILL, Ability.PAUSE, Ability.PARTITION), BREAKS),
    **dict.fromkeys((Ability.FILL, Ability.READ_ONLY), BREAKS),
}


def joined(old: str, now: str) -> str:
    """A log and what a later look at it, or at its end, shows: nothing twice, and nothing new left out."""
    if now.startswith(old):
        return now
    lines = old.splitlines(keepends=True)
    for begin in range(len(lines)):
        shared = "".join(lines[begin:])
        if now.startswith(shared):
            return old + now[len(shared) :]
    return old + now
