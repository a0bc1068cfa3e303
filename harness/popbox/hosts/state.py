"""Records of hosts that are up, one file each, so that ``popbox down`` finds what an earlier popbox left."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from popbox.environment import RUN
from popbox.errors import HostError
from popbox.hosts.process import kept, owned

_PLACE = re.compile(r"/.+|[a-z0-9][a-z0-9_-]*")  # a directory, or a compose project (its own rule for names)


@dataclass(frozen=True, slots=True)
class Process:
    """A process, named so that a reused pid is not mistaken for it: pid, start time in clock ticks, and where."""

    pid: int
    started: int
    where: str = ""  # machine, its boot, pid namespace; empty: here

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has ``pid`` now."""
        return cls(pid, _start_ticks(pid), here())

    @property
    def mark(self) -> str:
        """For `kill_marked`: what stands in the environment of programs that the hosts of this process share."""
        return f"{self.pid}.{self.started}"

    def lives(self) -> bool:
        """Whether that very process still runs; a zombie does not. Of one that cannot be seen from here: it does.

        A state directory may lie on a disk that machines share, or be mounted into containers.
        """
        if self.where and self.where != here():
            machine, boot, _ = self.where.rsplit(" ", 2)
            our_machine, our_boot, _ = here().rsplit(" ", 2)
            return machine != our_machine or boot == our_boot  # the machine has been started again: all of them ended
        return self.started != 0 and _start_ticks(self.pid) == self.started

    def seen_from_here(self) -> bool:
        """Whether ``lives`` knows, and does not only assume it."""
        return not self.where or self.where == here() or not self.lives()

    def group_lives(self) -> bool:
        """Whether any process of the group that this one leads, or led, still runs."""
        stats = (_stat(int(one.name)) for one in Path("/proc").iterdir() if one.name.isdigit())
        return any(fields and fields[0] not in "ZX" and int(fields[2]) == self.pid for fields in stats)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the group that this one leads, if it is still that very process, and one of this pid namespace."""
        if self.seen_from_here() and self.lives():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stopped(self) -> bool:
        """Whether that very process lives and has been stopped, as by SIGSTOP."""
        return self.lives() and _stat(self.pid)[:1] == ["T"]


@cache
def here() -> str:
    """Which pids these are: those of this host name, of this boot of its kernel, in this pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return f"{socket.gethostname()} {boot} {namespace}"


def kill_marked(run: str, within_s: float = 5.0) -> None:
    """Kill the processes that a host is made of, but for those in containers: they have its id in their environment.

    A record names daemons only; others are those started just before popbox was killed, and commands that were cut off.
    """
    deadline = time.monotonic() + within_s
    while (left := _processes_with(f"{RUN}={run}")) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes_with(variable: str) -> list[int]:
    """The pids, but for ours, in whose environment this ``NAME=value`` stands, as far as we may read them."""
    wanted, found = os.fsencode(variable), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is another user's
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid() and _start_ticks(pid)]


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)); 0 when there is no such process or it is a zombie."""
    fields = _stat(pid)
    return 0 if not fields or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on, the state; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Record:
    """A host that is up. ``place`` is a directory (local) or a compose project (docker)."""

    id: str
    host: str
    mta: str
    place: str
    owner: Process
    kept: bool = False
    shared: bool = False  # by all processes of the owner's run
    up: bool = False  # its start has ended in order
    processes: dict[str, Process] = field(default_factory=dict)


class Registry:
    """The records below one state directory."""

    def __init__(self, state: Path, owner: Process | None = None, shared: bool = False) -> None:
        """``state`` need not exist yet. New records belong to ``owner``, or else to this process."""
        self._folder = state / "hosts"
        self._owner, self._shared = owner or Process.of(os.getpid()), shared

    def new(self, host: str, mta: str, place: str = "", *, below: str = "") -> Record:
        """Make and save the record of a host that is about to be started; its place, if none, is ``below``popbox-ID."""
        name = secrets.token_hex(4)
        record = Record(name, host, mta, place or f"{below}popbox-{name}", self._owner, shared=self._shared)
        owned(record.id, True)
        try:
            self.save(record)
        except HostError:
            owned(record.id, False)
            raise
        return record

    def save(self, record: Record) -> None:
        """Write a record, whole or not at all; we can read it again, whatever the umask.

        Raises:
            HostError: it cannot be written.
        """
        scratch = self._folder / f".{record.id}.{os.getpid()}"
        try:
            self._make_folder()
            try:
                scratch.touch()
                scratch.chmod(0o600)
                scratch.write_text(json.dumps(asdict(record), indent=1), "utf-8")
                scratch.replace(self._folder / f"{record.id}.json")
            finally:
                scratch.unlink(missing_ok=True)
        except OSError as error:
            rule = f"the record of a host cannot be written ({error.strerror}); XDG_STATE_HOME names another place"
            raise HostError(f"{self._folder}: {rule}") from error

    def forget(self, record: Record) -> None:
        """Remove a record and the host's journeys; harmless when they are gone."""
        owned(record.id, False)
        for what in ("json", *(f"journeys{more}" for more in ("", "-wal", "-shm", ".lock"))):
            (self._folder / f"{record.id}.{what}").unlink(missing_ok=True)

    def journeys(self, name: str) -> Path:
        """Where the store of a host's journeys lies; of a host with a record it goes with that. Makes the folder."""
        self._make_folder()
        return self._folder / f"{name}.journeys"

    def _make_folder(self) -> None:
        """With the folders above it, each open to us whatever the umask."""
        for folder in reversed([one for one in (self._folder, *self._folder.parents) if not one.exists()]):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)

    def _found(self, pattern: str) -> list[Path]:
        try:
            return sorted(self._folder.glob(pattern))
        except PermissionError as error:
            raise HostError(f"{self._folder}: the records of hosts cannot be read ({error.strerror})") from error

    def tidy(self) -> None:
        """Remove what killed processes were writing when they ended."""
        for path in self._found(".*.*"):  # also what is no scratch file of ours: an editor's, a file server's
            if path.suffix[1:].isdecimal() and not Process.of(int(path.suffix[1:])).lives():
                path.unlink(missing_ok=True)

    def all(self) -> list[Record]:
        """All records, by id; one that another popbox removes while we read is left out."""
        found = []
        for path in self._found("*.json"):
            with suppress(FileNotFoundError):
                found.append(_load(path))
        return found

    def now(self, record: Record) -> Record:
        """The record as it stands now: another popbox may have started a service again; as it was, where it is gone."""
        try:
            return _load(self._folder / f"{record.id}.json")
        except FileNotFoundError:
            return record

    def mine(self) -> list[Record]:
        """The records that this registry's owner has made, shared ones or not, as this registry makes them."""
        return [one for one in self.all() if (one.owner, one.shared) == (self._owner, self._shared)]

    def removable(self) -> list[Record]:
        """Hosts kept on purpose, and those whose popbox has ended without taking them away."""
        return [record for record in self.all() if record.kept or not record.owner.lives()]

    def orphans(self) -> list[Record]:
        """Hosts that were not kept, and whose popbox has ended without taking them away."""
        return [record for record in self.all() if not record.kept and not record.owner.lives()]


def _load(path: Path) -> Record:
    try:
        table = json.loads(path.read_text("utf-8"))
        processes = {name: Process(**_known(Process, one)) for name, one in table["processes"].items()}
        owner = Process(**_known(Process, table["owner"]))
        record = Record(**{**_known(Record, table), "owner": owner, "processes": processes})
        ours = record.id == path.stem and _PLACE.fullmatch(record.place)  # what a record names is removed
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HostError(f"{path} is no record of a host ({error}); look what it names, and remove it") from error
    except PermissionError as error:
        raise HostError(f"{path}: the record of a host cannot be read ({error.strerror})") from error
    if not ours:
        rule = "its id is not the file's name, or its place neither an absolute path nor a compose project"
        raise HostError(f"{path} is no record of a host ({rule}); look what it names, and remove it")
    return record


def _known(kind: type[Process] | type[Record], table: dict[str, Any]) -> dict[str, Any]:
    """What this popbox knows of a table; a newer one may have written more."""
    return {each.name: table[each.name] for each in fields(kind) if each.name in table}


def keep(registry: Registry, record: Record) -> None:
    """Mark a host as kept: it outlives this process until ``popbox down``."""
    registry.save(replace(registry.now(record), kept=True))
    kept(record.id)
