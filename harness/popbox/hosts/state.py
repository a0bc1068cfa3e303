"""Records of hosts that are up, one file each, so that ``popbox down`` finds what an earlier popbox left."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process, named so that a reused pid is not mistaken for it: pid and start time in clock ticks."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has ``pid`` now."""
        return cls(pid, _start_ticks(pid))

    def lives(self) -> bool:
        """Whether that very process still runs; a zombie does not."""
        return self.started != 0 and _start_ticks(self.pid) == self.started

    def group_lives(self) -> bool:
        """Whether any process of the group that this one leads, or led, still runs."""
        stats = (_stat(int(one.name)) for one in Path("/proc").iterdir() if one.name.isdigit())
        return any(fields and fields[0] not in "ZX" and int(fields[2]) == self.pid for fields in stats)

    def stopped(self) -> bool:
        """Whether that very process lives and has been stopped, as by SIGSTOP."""
        return self.lives() and _stat(self.pid)[:1] == ["T"]


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)); 0 when there is no such process or it is a zombie."""
    fields = _stat(pid)
    return 0 if not fields or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on, the state; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
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
    processes: dict[str, Process] = field(default_factory=dict)


class Registry:
    """The records below one state directory."""

    def __init__(self, state: Path, owner: Process | None = None, shared: bool = False) -> None:
        """``state`` need not exist yet. New records belong to ``owner``, or else to this process."""
        self._folder = state / "hosts"
        self._owner, self._shared = owner or Process.of(os.getpid()), shared

    def new(self, host: str, mta: str, place: str) -> Record:
        """Make and save the record of a host that is about to be started."""
        record = Record(secrets.token_hex(4), host, mta, place, self._owner, shared=self._shared)
        self.save(record)
        return record

    def placed(self, record: Record, place: str) -> Record:
        """Say where the host of a record lives; returns the record as saved."""
        record = replace(record, place=place)
        self.save(record)
        return record

    def save(self, record: Record) -> None:
        """Write a record, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self._folder / f".{record.id}"
        scratch.write_text(json.dumps(asdict(record), indent=1))
        scratch.replace(self._folder / f"{record.id}.json")

    def forget(self, record: Record) -> None:
        """Remove a record; harmless when it is gone."""
        (self._folder / f"{record.id}.json").unlink(missing_ok=True)

    def all(self) -> list[Record]:
        """All records, by id."""
        return [_load(path) for path in sorted(self._folder.glob("*.json"))]

    def mine(self) -> list[Record]:
        """The records that this registry's owner has made, shared ones or not, as this registry makes them."""
        return [one for one in self.all() if (one.owner, one.shared) == (self._owner, self._shared)]

    def removable(self) -> list[Record]:
        """Hosts kept on purpose, and those whose popbox has ended without taking them away."""
        return [record for record in self.all() if record.kept or not record.owner.lives()]


def _load(path: Path) -> Record:
    table = json.loads(path.read_text())
    processes = {name: Process(**process) for name, process in table.pop("processes").items()}
    return Record(**{**table, "owner": Process(**table["owner"]), "processes": processes})


def keep(registry: Registry, record: Record) -> None:
    """Mark a host as kept: it outlives this process until ``popbox down``."""
    registry.save(replace(record, kept=True))
