"""One consistent archive of a mail host that runs, and an empty host made from it.

The services are frozen for as long as it takes to link the message files (which never change) and to copy the rest; the
archive is written afterwards, from that snapshot. A frozen service drops nothing: clients wait.

A restore reads the archive to its end, writes all of it next to its place on the host while the services go on, and
only then stops them and renames it into its place. If that fails, or they do not come back, the host is as it was.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from popbox.errors import HostError
from popbox.hosts.base import SERVICES, Command, Host
from popbox.operate import on_host, on_host_restore, on_host_walk
from popbox.operate.archive import (
    END,
    FORMAT,
    MANIFEST,
    ArchiveError,
    ArchiveSummary,
    Sum,
    check_manifest,
    members,
    opened,
    read_whole,
    rest,
    verified,
)
from popbox.operate.archive import note as _note

__all__ = ["END", "FORMAT", "MANIFEST", "ArchiveError", "Saved", "backup", "read_whole", "restore", "take_back"]

UP_S = 60.0  # our choice: how long a restored service may take to answer
FILE_OCTETS = 4_096  # what a small file takes on disk, and a part of a folder
SPARE_OCTETS = 64 << 20  # our choice: a disk is never filled to its last block


@dataclass(frozen=True, slots=True)
class Saved:
    """What an archive holds, and how long the host stood still for it, in seconds; ``remarks``: what was left out."""

    messages: int
    octets: int
    frozen_s: float
    remarks: tuple[str, ...] = ()


def backup(host: Host, path: Path) -> Saved:
    """Write the archive; it gets its name only when it is complete.

    Raises:
        HostError: the host cannot be read, or does not answer.
        OSError: the archive cannot be written.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        with _frozen(host) as began:
            answer, remarks = _run(host, "snapshot")
        seen = json.loads(answer)
        saved = Saved(seen["messages"], seen["octets"], time.monotonic() - began, remarks)
        manifest = {
            "format": FORMAT,
            "mta": host.mta,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "home": host.home(),
            **seen,
        }
        _pack(host, manifest, scratch, path.name.endswith("gz"))
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
        with suppress(HostError):
            _run(host, "clean")
    return saved


@contextmanager
def _frozen(host: Host) -> Iterator[float]:
    """Freeze both services for the time of the block, whatever happens; yields the moment when they were frozen."""
    try:
        for service in SERVICES:
            host.pause(service, True)
        yield time.monotonic()
    finally:
        for service in SERVICES:
            host.pause(service, False)


def _pack(host: Host, manifest: dict[str, Any], path: Path, gzipped: bool) -> None:
    """The manifest as the first member, then the host's own stream, member for member, at last their number and sum."""
    path.unlink(missing_ok=True)
    path.touch(0o600)  # it holds all mail and password hashes
    pack = _command(host, "pack")
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(pack.argv, env=pack.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        try:
            _take(child, manifest, path, gzipped)
        except tarfile.TarError as error:  # it ended before its stream did
            raise HostError(_ended(host, child, said)) from error
        except OSError as why:
            raise OSError(why.errno, why.strerror or str(why), str(path)) from why
        if child.returncode:
            raise HostError(_ended(host, child, said))


def _ended(host: Host, child: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    said.seek(0)
    words = said.read().decode(errors="replace").strip()
    return f"packing on {host.describe()} ended with {child.returncode}: {words}"


def _take(child: subprocess.Popen[bytes], manifest: dict[str, Any], path: Path, gzipped: bool) -> None:
    with child, tarfile.open(path, "w:gz" if gzipped else "w", **CODING) as archive:
        _note(archive, MANIFEST, manifest)
        assert child.stdout
        count, sums = 0, Sum()
        with tarfile.open(fileobj=child.stdout, mode="r|", encoding="utf-8", errors="surrogateescape") as stream:
            for count, member in enumerate(rest(stream), 1):  # noqa: B007 - wanted behind the loop
                sums.add(member)
                octets = stream.extractfile(member) if member.isreg() else None
                archive.addfile(member, sums.through(octets) if octets else None)
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
        _note(archive, END, {"members": count, "sha256": sums.hexdigest()})


CODING: dict[str, Any] = {"format": tarfile.PAX_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}


def restore(host: Host, path: Path) -> dict[str, Any]:
    """Fill an empty host from the archive; returns the manifest.

    Whatever goes wrong, the host is as it was before, its services up as they were.

    Raises:
        ArchiveError: the archive cannot be used on this host.
        HostError: the host is not empty, has no room, or does not answer.
    """
    summary = verified(path)
    _check(host, path, summary)
    try:
        with opened(path) as (archive, _):
            _stage(host, archive)
        try:
            _switch(host)
        except BaseException:
            take_back(host)
            raise
    except BaseException:
        with suppress(HostError):
            _run(host, "undo")
        raise
    _run(host, "commit")
    return summary.manifest


def _switch(host: Host) -> None:
    """The only part for which the services are down."""
    for service in SERVICES:
        host.stop(service)
    _is_empty(host)  # mail may have come since we looked
    _run(host, "place")
    for service in SERVICES:
        host.restart(service, time.monotonic() + UP_S)


def take_back(host: Host) -> None:
    """Bring back what the host had before a restore that failed or was killed.

    Raises:
        HostError: the host does not answer, or its files cannot be moved back.
    """
    for service in SERVICES:
        host.stop(service)
    _run(host, "undo")
    for service in SERVICES:
        host.restart(service, time.monotonic() + UP_S)


def _check(host: Host, path: Path, summary: ArchiveSummary) -> None:
    """Nothing is overwritten, nothing is given to an MTA that could not read it, and all of it fits."""
    manifest = summary.manifest
    check_manifest(path, manifest)
    if manifest["mta"] != host.mta:
        raise ArchiveError(f"{path} was made on MTA {manifest['mta']}; its queue and owners do not fit MTA {host.mta}")
    if manifest["home"] != host.home():
        raise ArchiveError(f"{path}: its files name boxes below {manifest['home']}; this host's home is {host.home()}")
    _is_empty(host)
    facts = json.loads(_run(host, "facts")[0])
    if manifest["qmailq"] is not None and facts["qmailq"] != manifest["qmailq"]:
        raise ArchiveError(
            f"{path}: its queue is uid {manifest['qmailq']}'s, this host's qmailq is uid {facts['qmailq']}"
        )
    _fits(host, path, summary, facts["room"])


def _fits(host: Host, path: Path, summary: ArchiveSummary, room: dict[str, tuple[int, int | None, int]]) -> None:
    """The parts of one disk together."""
    disks: dict[int, list[str]] = {}
    for part in summary.members:
        disks.setdefault(room[part][2], []).append(part)
    for parts in disks.values():
        number = sum(summary.members[part] for part in parts)
        wanted = sum(summary.octets[part] for part in parts) + number * FILE_OCTETS + SPARE_OCTETS
        free, inodes, _ = room[parts[0]]
        where = f"{path}: {', '.join(parts)} on {host.describe()}"
        if wanted > free:
            raise HostError(f"{where} need {wanted} octets of disk, {free} are free; nothing was restored")
        if inodes is not None and number > inodes:
            raise HostError(f"{where} need {number} inodes, {inodes} are free; nothing was restored")


def _is_empty(host: Host) -> None:
    there = _run(host, "empty")[0].decode(errors="replace").split("\n")
    if there[0]:
        raise HostError(f"{host.describe()} is not empty, nothing was restored; it has {', '.join(there[:5])}")


def _stage(host: Host, archive: tarfile.TarFile) -> None:
    """Write all of it next to its final place."""
    stage, pipe = _command(host, "stage"), subprocess.PIPE
    child = subprocess.Popen(stage.argv, env=stage.env, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe)
    assert child.stdin
    with child:
        with suppress(BrokenPipeError), child.stdin as sink:  # then its exit code tells
            _copy(archive, sink)
        assert child.stderr
        said = child.stderr.read().decode(errors="replace").strip()
    if child.returncode:
        raise HostError(f"unpacking on {host.describe()} ended with {child.returncode}, nothing was restored: {said}")


def _copy(archive: tarfile.TarFile, sink: IO[bytes]) -> None:
    with tarfile.open(fileobj=sink, mode="w|", **CODING) as stream:
        for member in members(archive):
            stream.addfile(member, archive.extractfile(member) if member.isreg() else None)
            stream.members.clear()  # type: ignore[attr-defined]  # it would keep every header


def _command(host: Host, verb: str) -> Command:
    own = on_host if verb in ("snapshot", "pack", "clean") else on_host_restore
    return host.beside("-c", _source(on_host_walk, own), verb, host.home())


def _source(*modules: ModuleType) -> str:
    """One program of several modules: on the host there is nothing to import them from."""
    ours = re.compile(r"^from (?:__future__|popbox\.\S+) import (?:\([^)]*\)|[^\n]*)\n", re.MULTILINE)
    return "from __future__ import annotations\n" + "".join(ours.sub("", inspect.getsource(one)) for one in modules)


def _run(host: Host, verb: str) -> tuple[bytes, tuple[str, ...]]:
    """What it printed, and its remarks.

    Raises:
        HostError: it failed.
    """
    command, nothing = _command(host, verb), subprocess.DEVNULL
    done = subprocess.run(command.argv, env=command.env, stdin=nothing, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        raise HostError(f"{verb} on {host.describe()} ended with {done.returncode}: {said}")
    return done.stdout, tuple(said.splitlines())
