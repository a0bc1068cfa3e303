"""The interface of a mail host: addresses, programs, files and logs. Each kind of host implements it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from popbox.clients.wire import Address, Wire
from popbox.hosts.following import Follower
from popbox.scenario.names import Disk as Disk
from popbox.scenario.names import Service as Service

POPUSER_UID = 888  # HOWTO, INTRO
SERVICES: tuple[Service, ...] = ("smtp", "pop3")
CHAIN = ("checkpoppasswd", "pop3d", "Maildir")  # what the HOWTO has popup run


class Ability(StrEnum):
    """What a scenario may need of a host. A scenario that needs what its host cannot do is skipped with the reason."""

    DECLARE = "declare"  # run mailhost to change accounts
    EXPLAIN = "explain"  # run mailhost to ask
    SEND = "send"  # hand mail over
    DELETE = "delete"  # take messages away, by POP3
    FILES = "files"  # look at files
    CHANGE = "change"  # write files, signal the MTA
    LOG = "log"
    CHAIN = "chain"
    SYSLOG = "syslog"  # hear what the chain logs there
    SHELL = "shell"  # run a shell script as the operator
    OWN_HOST = "own-host"
    OWN_DISK = "own-disk"
    STOP, KILL, PAUSE, PARTITION = "stop", "kill", "pause", "partition"
    FILL, READ_ONLY = "fill", "read-only"


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's end on the mail host."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @classmethod
    def of(cls, argv: tuple[str, ...], code: int, out: bytes, err: bytes) -> Ran:
        """From octets, what is no UTF-8 replaced."""
        return cls(argv, code, out.decode(errors="replace"), err.decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run on this machine, and its whole environment, see ``popbox.environment``."""

    argv: list[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DirEntry:
    """A file on the mail host. ``path`` is relative to the Maildir, or after ``search`` to the qmail home.

    ``mode`` holds the permission bits.
    """

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float


@dataclass(frozen=True, slots=True)
class Found:
    """A message file with all its octets; empty where the mail host has no permission to read it."""

    entry: DirEntry
    octets: bytes
    readable: bool = True


class Host(Protocol):
    """A running mail host. All methods raise HostError when the host itself cannot answer."""

    name: str  # local, docker, remote
    mta: str  # qmail, stand-in
    uid: int  # who must own mail: 888, or the caller where popbox does not run as root

    def address(self, service: Service) -> Address:
        """Where the service accepts connections from here.

        Raises:
            ConnectionFailed: the service does not listen.
        """

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        """Run ``mailhost ARGV`` on the mail host."""

    def find(self, maildir: str, needle: str) -> list[Found]:
        """Messages in new/ and cur/ of a Maildir (a path below the qmail home) that hold the text ``needle``."""

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        """Every regular file below popboxes/ that holds one of the texts, and each that cannot be read."""

    def read(self, path: str) -> bytes:
        """A file's octets; the path is below the qmail home."""

    def write(self, path: str, octets: bytes) -> None:
        """Make a file, or replace its octets in place, keeping owner and mode; below popboxes/ it is popuser's."""

    def mode(self, path: str) -> int:
        """Permission bits of a path below the qmail home."""

    def remove(self, path: str) -> None:
        """Take a file or a directory away."""

    def chmod(self, path: str, mode: int) -> None:
        """Change permission bits of a path below the qmail home."""

    def cannot(self, ability: Ability) -> str:
        """Why the host cannot do that; empty when it can."""

    def stop(self, service: Service) -> None:
        """End the service in order, and keep it down."""

    def kill(self, service: Service) -> None:
        """End the service at once, as kill -9 does, and keep it down."""

    def restart(self, service: Service, deadline: float) -> None:
        """End the service in order where it runs, start it, wait for its greeting until the monotonic ``deadline``."""

    def pause(self, service: Service, on: bool) -> None:
        """Freeze the service, or let it go on."""

    def cut(self, service: Service, on: bool) -> None:
        """Cut the service off its network, or connect it again."""

    def fill(self, disk: Disk, on: bool) -> None:
        """Fill a disk of our own to its last octet, or free that space again."""

    def read_only(self, disk: Disk, on: bool) -> None:
        """Make a disk of our own read-only, or writable again."""

    def ailments(self) -> list[str]:
        """What the host itself sees that is wrong: services ended, frozen or cut off, disks full or read-only."""

    def hup(self) -> None:
        """Send HUP to what sends mail, as an operator does after editing virtualdomains or locals."""

    def chain(self, timeout_s: float, runs: tuple[str, ...] = CHAIN, syslog: bool = False) -> Wire:
        """A conversation with ``popup HOST RUNS...``, run on the mail host for it alone.

        Among RUNS, ``checkpoppasswd`` and ``pop3d`` stand for the host's own programs. ``syslog``: what the programs
        logged to syslog follows at the end, one line ``syslog <36>...`` for each message.
        """

    def shell(self, script: str) -> Ran:
        """Run a script with sh(1), as the operator: root where the host has one. ``mailhost`` is on its PATH."""

    def beside(self, *argv: str) -> Command:
        """The command that starts a child process ``python3 ARGV`` with access to the host's files, as root if it can.

        It works while the services are frozen or down.
        """

    def alive(self, service: Service) -> str:
        """Empty while the service's process runs, else how it ended, in words."""

    def pid(self, service: Service) -> int:
        """The service's first process, as this machine sees it; 0 where it does not, or where it is down."""

    def log(self, service: Service) -> str:
        """All that the service has logged."""

    def log_end(self, service: Service, octets: int) -> str:
        """The end of what the service has logged: whole lines of at most so many octets; no more than that is read."""

    def follow(self, service: Service, position: str = "") -> Follower:
        """The service's log line by line, from a position that an earlier follower gave; empty: all that is there.

        Raises:
            HostError: the host shows no log; NotPossibleError: it never will.
        """

    def home(self) -> str:
        """Absolute path of the qmail home on the mail host."""

    def describe(self) -> str:
        """``host local, MTA stand-in``."""

    def by_hand(self) -> str:
        """The command line, without its verb, that runs ``mailhost`` on this host from a shell here."""

    def keep(self) -> None:
        """Let the host outlive this process, until ``popbox down``."""

    def close(self) -> None:
        """Remove the host and leave nothing behind; harmless when done twice."""


@contextmanager
def closing(host: Host, keep: bool = False) -> Iterator[Host]:
    """The host, removed at the end, also after an error or an interrupt; ``keep`` leaves it up after success."""
    try:
        yield host
    except BaseException:
        host.close()
        raise
    if not keep:
        host.close()


def tail(text: str, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(text.splitlines()[-lines:])
