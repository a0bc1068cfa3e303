"""A mail host that is nothing but what a test says of it: for what real programs never do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from popbox.clients.wire import Address, Wire
from popbox.errors import ConnectionFailed, HostError
from popbox.hosts.base import Ability, DirEntry, Found, Ran, Service

HOME = "/var/qmail"


def entry(path: str = "new/1.2.mx", mode: int = 0o600, uid: int = 888) -> DirEntry:
    """A message file as it should be, but for what the test says."""
    return DirEntry(path, mode, uid, 888, 100, 1795693732.0)


@dataclass
class FakeHost:
    """Says what its fields hold. See ``popbox.hosts.base.Host``."""

    name: str = "local"
    mta: str = "stand-in"
    uid: int = 888
    found: list[Found] = field(default_factory=list)
    ran: Ran = field(default_factory=lambda: Ran((), 0, "", ""))
    logs: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    serves: dict[str, Address] = field(default_factory=dict)
    broken: str = ""  # what every change of the host ends with
    ill: list[str] = field(default_factory=list)

    def address(self, service: Service) -> Address:
        if service not in self.serves:
            raise ConnectionFailed(f"{service} has no port: its container is on no network")
        return self.serves[service]

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        if argv[:2] == ("mailbox", "show"):
            return Ran(argv, 0, json.dumps({"directory": f"{HOME}/popboxes/domain-com/joe"}), "")
        return Ran(argv, self.ran.code, self.ran.stdout, self.ran.stderr)

    def find(self, maildir: str, needle: str) -> list[Found]:
        return [one for one in self.found if needle.encode() in one.octets]

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        return []

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise HostError(f"cannot read {path}: No such file or directory")
        return self.files[path]

    def mode(self, path: str) -> int:
        self.read(path)
        return 0o644

    def _change(self) -> None:
        if self.broken:
            raise HostError(self.broken)

    def write(self, path: str, octets: bytes) -> None:
        self._change()
        self.files[path] = octets

    def chmod(self, path: str, mode: int) -> None:
        self._change()

    def remove(self, path: str) -> None:
        self._change()

    def stop(self, service: Service) -> None:
        self._change()

    def kill(self, service: Service) -> None:
        self._change()

    def restart(self, service: Service, deadline: float) -> None:
        self._change()

    def pause(self, service: Service, on: bool) -> None:
        self._change()

    def cut(self, service: Service, on: bool) -> None:
        self._change()

    def fill(self, disk: str, on: bool) -> None:
        self._change()

    def read_only(self, disk: str, on: bool) -> None:
        self._change()

    def hup(self) -> None:
        self._change()

    def cannot(self, ability: Ability) -> str:
        return ""

    def ailments(self) -> list[str]:
        return self.ill

    def shell(self, script: str) -> Ran:
        return Ran(("sh",), self.ran.code, self.ran.stdout, self.ran.stderr)

    def chain(self, timeout_s: float, runs: tuple[str, ...] = (), syslog: bool = False) -> Wire:
        return Wire(self.address("pop3"), timeout_s)

    def alive(self, service: Service) -> str:
        return self.ended.get(service, "")

    def pid(self, service: Service) -> int:
        return 0

    def log(self, service: Service) -> str:
        return self.logs.get(service, "")

    def log_end(self, service: Service, octets: int) -> str:
        return self.log(service)[-octets:]

    def home(self) -> str:
        return HOME

    def describe(self) -> str:
        return "host fake, MTA stand-in"

    def by_hand(self) -> str:
        return "mailhost"

    def keep(self) -> None: ...

    def close(self) -> None: ...
