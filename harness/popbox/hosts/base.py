"""What a mail host is to the harness: addresses, programs, files and logs. Where it runs is its own business."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from popbox.clients.wire import Address, Wire

Service = Literal["smtp", "pop3"]


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's end on the mail host."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Entry:
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
    """A message file with all its octets; none where the mail host itself may not read it."""

    entry: Entry
    octets: bytes
    readable: bool = True


class Host(Protocol):
    """A running mail host. All methods raise HostError when the host itself cannot answer."""

    name: str  # local, docker, remote
    mta: str  # qmail, stand-in
    uid: int  # who must own mail: 888, or the caller where no root is to be had

    def address(self, service: Service) -> Address:
        """Where the service accepts connections from here. Raises ConnectionFailed when it does not listen."""

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

    def kill(self, service: Service) -> None:
        """End the service at once, as kill -9 does, and keep it down."""

    def restart(self, service: Service, deadline: float) -> None:
        """Start a killed service again and wait for its greeting until the monotonic ``deadline``."""

    def hup(self) -> None:
        """Send HUP to what sends mail, as an operator does after editing virtualdomains or locals."""

    def no_chain(self) -> str:
        """Why ``chain`` cannot work on this host; empty when it can."""

    def chain(self, timeout_s: float) -> Wire:
        """A conversation with ``popup HOST checkpoppasswd pop3d Maildir``, run on the mail host for it alone."""

    def alive(self, service: Service) -> str:
        """Empty while the service's process runs, else how it ended, in words."""

    def log(self, service: Service) -> str:
        """All that the service has logged."""

    def home(self) -> str:
        """Absolute path of the qmail home on the mail host."""

    def describe(self) -> str:
        """``host local, MTA stand-in``."""

    def by_hand(self) -> str:
        """The command line, without its verb, that runs ``mailhost`` on this host from a shell here."""

    def keep(self) -> None:
        """Let the host outlive this process, until ``popbox down``."""

    def close(self) -> None:
        """Take the host away and leave nothing behind; harmless when done twice."""


@contextmanager
def closing(host: Host, keep: bool = False) -> Iterator[Host]:
    """The host, taken away at the end, also after an error or an interrupt; ``keep`` leaves it up after success."""
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
