"""One consistent archive of a mail host that runs, and an empty host made from it.

The services are frozen for as long as it takes to link the message files (which never change) and to copy the rest; the
archive is written afterwards, from that snapshot. A frozen service drops nothing: clients wait.

The archive is a tar, gzipped where its name says so: ``popbox.json`` (the manifest), then control/, users/, alias/,
popboxes/ and queue/ as they lay in the qmail home, numbers for owners; at last ``popbox.end``, which says how many
these were. Nothing else tells an archive that was cut from a whole one: for a tar reader both just end.
"""

from __future__ import annotations

import inspect
import io
import json
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import SERVICES, Host
from popbox.operate import on_host

MANIFEST, END, FORMAT = "popbox.json", "popbox.end", 2
UP_S = 60.0  # our choice: how long a restored service may take to answer
GZIP_OCTETS = 18  # head and tail of the shortest gzip file (RFC 1952); tarfile stumbles over less
PIECE_OCTETS = 1 << 20


class ArchiveError(PopboxError):
    """An archive cannot be used; names the file and the rule."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What an archive holds, and how long the host stood still for it, in seconds."""

    messages: int
    octets: int
    frozen_s: float


def backup(host: Host, path: Path) -> Saved:
    """Write the archive; it appears under its name only when it is complete. Raises HostError, OSError."""
    scratch = path.with_name(f".{path.name}.part")
    try:
        with _frozen(host) as began:
            seen = json.loads(_run(host, "snapshot"))
        saved = Saved(seen["messages"], seen["octets"], time.monotonic() - began)
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
    """Both services stand still meanwhile, whatever happens; gives the moment when they did."""
    try:
        for service in SERVICES:
            host.pause(service, True)
        yield time.monotonic()
    finally:
        for service in SERVICES:
            host.pause(service, False)


def _pack(host: Host, manifest: dict[str, Any], path: Path, gzipped: bool) -> None:
    """The manifest as the first member, then the host's own stream, member for member."""
    child = subprocess.Popen(_argv(host, "pack"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with child, tarfile.open(path, "w:gz" if gzipped else "w", format=tarfile.PAX_FORMAT) as archive:
        _note(archive, MANIFEST, manifest)
        assert child.stdout
        count = 0
        with tarfile.open(fileobj=child.stdout, mode="r|") as stream:
            for count, member in enumerate(_rest(stream), 1):  # noqa: B007 - wanted behind the loop
                archive.addfile(member, stream.extractfile(member) if member.isreg() else None)
        _note(archive, END, {"members": count})
    path.chmod(0o600)  # it holds everybody's mail and hashes
    if child.returncode:
        raise HostError(f"packing on {host.describe()} ended with {child.returncode}")


def _note(archive: tarfile.TarFile, name: str, facts: dict[str, Any]) -> None:
    octets = json.dumps(facts, indent=1).encode() + b"\n"
    about = tarfile.TarInfo(name)
    about.size, about.mtime, about.mode = len(octets), time.time(), 0o644
    archive.addfile(about, io.BytesIO(octets))


def restore(host: Host, path: Path) -> dict[str, Any]:
    """Make an empty host what the archive holds; returns the manifest. Raises ArchiveError, HostError.

    The archive is read to its end once before anything is done: one that is cut short or damaged changes nothing.
    """
    manifest = read_whole(path)
    _check(host, path, manifest)
    with _opened(path) as (archive, _):
        for service in SERVICES:
            host.stop(service)
        _unpack(host, archive)
        for service in SERVICES:
            host.restart(service, time.monotonic() + UP_S)
    return manifest


def read_whole(path: Path) -> dict[str, Any]:
    """The manifest of an archive that was read to its end. Raises ArchiveError: it is none, or not whole; OSError."""
    with _opened(path) as (archive, manifest):
        for _ in _members(archive):
            pass
    return manifest


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tarfile.TarFile, dict[str, Any]]]:
    """The archive, read up to behind its manifest."""
    if path.stat().st_size < GZIP_OCTETS:
        raise ArchiveError(f"{path}: not a whole tar archive: {path.stat().st_size} octets")
    try:
        with tarfile.open(path, "r|*") as archive:
            first = archive.next()
            file = archive.extractfile(first) if first and first.name == MANIFEST else None
            if file is None:
                raise ArchiveError(f"{path}: its first member is not {MANIFEST}: no archive of popbox backup")
            manifest = json.load(file)
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise ArchiveError(f"{path}: {MANIFEST}: format {FORMAT} is wanted")
            yield archive, manifest
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise ArchiveError(f"{path}: not a whole tar archive: {error}") from error


def _check(host: Host, path: Path, manifest: dict[str, Any]) -> None:
    """Nothing is overwritten, and nothing is given to an MTA that could not read it."""
    if manifest["mta"] != host.mta:
        raise ArchiveError(f"{path} was made on MTA {manifest['mta']}; its queue and owners do not fit MTA {host.mta}")
    if manifest["home"] != host.home():
        raise ArchiveError(f"{path}: its files name boxes below {manifest['home']}; this host's home is {host.home()}")
    there = _run(host, "empty").decode().split()
    if there:
        raise HostError(f"{host.describe()} is not empty, nothing was restored; it has {', '.join(there[:5])}")
    owner = json.loads(_run(host, "snapshot"))["qmailq"]
    _run(host, "clean")
    if manifest["qmailq"] is not None and owner != manifest["qmailq"]:
        raise ArchiveError(f"{path}: its queue is uid {manifest['qmailq']}'s, this host's qmailq is uid {owner}")


def _unpack(host: Host, archive: tarfile.TarFile) -> None:
    child = subprocess.Popen(_argv(host, "unpack"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin
    with child, suppress(BrokenPipeError), child.stdin as sink:  # then its exit code tells
        _copy(archive, sink)
    if child.returncode:
        raise HostError(f"unpacking on {host.describe()} ended with {child.returncode}; the host is partly restored")


def _copy(archive: tarfile.TarFile, sink: IO[bytes]) -> None:
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as stream:
        for member in _members(archive):
            stream.addfile(member, archive.extractfile(member) if member.isreg() else None)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The host's own, those between the manifest and the end. Raises TarError: there is no end, or another number."""
    for count, member in enumerate(_rest(archive)):
        if member.name == END:
            file = archive.extractfile(member)
            if file is None or json.load(file) != {"members": count}:
                raise tarfile.ReadError(f"{END}: {count} members are there, it says another number")
            return
        yield member
    raise tarfile.ReadError(f"it ends without {END}")


def _rest(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """What is still to come: iteration would begin with those read before, which a stream has no more."""
    while (member := archive.next()) is not None:
        yield member


def _argv(host: Host, verb: str) -> list[str]:
    return host.beside("-c", inspect.getsource(on_host), verb, host.home())


def _run(host: Host, verb: str) -> bytes:
    done = subprocess.run(_argv(host, verb), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise HostError(f"{verb} on {host.describe()} ended with {done.returncode}: {said}")
    return done.stdout
