"""The archive of a backup: what its members must be, and the reading of one to its end before anything is done with it.

A tar, gzipped if its name ends with ``gz``: ``popbox.json`` (the manifest), then control/, users/, alias/, popboxes/
and queue/ as they lay in the qmail home, with numeric owners; last ``popbox.end``, with the number of members and the
SHA-256 of them all. Only that member tells a complete archive from one that was cut: for a tar reader both just
end. An archive of an older version has no sum there.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from popbox.errors import PopboxError
from popbox.operate.on_host_walk import DEEPEST, OURS, PARTS

MANIFEST, END, FORMAT = "popbox.json", "popbox.end", 2
GZIP_OCTETS = 18  # head and tail of the shortest gzip file (RFC 1952); tarfile stumbles over less
PIECE_OCTETS = 1 << 20
NAME_OCTETS = 255  # NAME_MAX of the file systems there are
OWNERS = 1 << 32
MOST_S = 1 << 33  # our choice: a date of the year 2242
KEYS: dict[str, tuple[type, ...]] = {
    "mta": (str,),
    "home": (str,),
    "made": (str,),
    "messages": (int,),
    "octets": (int,),
    "qmailq": (int, type(None)),
}


class ArchiveError(PopboxError):
    """An archive cannot be used; names the file and the rule."""


@dataclass(slots=True)
class ArchiveSummary:
    """What an archive holds that was read to its end: part -> octets of its files, and how many files and folders."""

    manifest: dict[str, Any]
    octets: dict[str, int] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)


class Sum:
    """SHA-256 of members: of each one's header and octets, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, member: tarfile.TarInfo) -> None:
        """The header."""
        facts = [member.name, member.isdir(), member.size, member.mode, member.uid, member.gid]
        self._hash.update(json.dumps(facts).encode() + b"\n")

    def hexdigest(self) -> str:
        """Of all so far."""
        return self._hash.hexdigest()

    def through(self, file: IO[bytes]) -> Hashed:
        """The file; what is read of it counts."""
        return Hashed(file, self._hash)


class Hashed:
    """A file that is read from, and nothing else."""

    def __init__(self, file: IO[bytes], hash_: Any) -> None:
        """``hash_`` takes every octet."""
        self._file, self._hash = file, hash_

    def read(self, most: int = -1) -> bytes:
        """The next octets."""
        octets = self._file.read(most)
        self._hash.update(octets)
        return octets


def note(archive: tarfile.TarFile, name: str, facts: dict[str, Any]) -> None:
    """Add a member of our own."""
    octets = json.dumps(facts, indent=1).encode() + b"\n"
    about = tarfile.TarInfo(name)
    about.size, about.mtime, about.mode = len(octets), time.time(), 0o644
    archive.addfile(about, io.BytesIO(octets))


def read_whole(path: Path) -> dict[str, Any]:
    """The manifest of an archive that was read to its end.

    Raises:
        ArchiveError: it is no archive, or incomplete.
        OSError: it cannot be read.
    """
    return verified(path).manifest


def verified(path: Path) -> ArchiveSummary:
    """Read an archive to its end: every member must be one that can be restored, and the sum right.

    Raises:
        ArchiveError: it is none, not whole, or has a member that does not belong; names it and the rule.
    """
    with opened(path) as (archive, manifest):
        summary, sums = ArchiveSummary(manifest), Sum()
        paths = Paths()
        for member in members(archive, sums):
            rule = wrong(member) or paths.add(member)
            if rule:
                raise ArchiveError(f"{path}: member {member.name!r}: {rule}")
            part = member.name.partition("/")[0]
            summary.members[part] = summary.members.get(part, 0) + 1
            summary.octets[part] = summary.octets.get(part, 0) + member.size
            sums.add(member)
            if member.isreg() and (octets := archive.extractfile(member)) is not None:
                reader, left = sums.through(octets), member.size
                while left and (piece := reader.read(min(left, PIECE_OCTETS))):
                    left -= len(piece)
                if left:
                    raise ArchiveError(f"{path}: not a whole tar archive: {member.name!r} lacks {left} octets")
    return summary


def check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """See that a manifest says all that a restore has to know.

    Raises:
        ArchiveError: a field is missing or has another type.
    """
    for key, kinds in KEYS.items():
        value = manifest.get(key, ...)
        if isinstance(value, bool) or not isinstance(value, kinds):
            what = "is missing" if value is ... else f"is {value!r}"
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ArchiveError(f"{path}: {MANIFEST}: {key} {what}, and must be {wanted}")


class Paths:
    """The paths of members so far, so that each is one thing, and no file is in another's way."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: dict[str, bool] = {}  # a folder -> whether a member of its own said so

    def add(self, member: tarfile.TarInfo) -> str:
        """Note one; why it cannot be, empty where it can."""
        name, parts = member.name, member.name.split("/")
        if name in self._files or self._folders.get(name, False) or (member.isreg() and name in self._folders):
            return "is there twice"
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above in self._files:
                return "lies in a folder that is a file"
            self._folders.setdefault(above, False)
        if member.isreg():
            self._files.add(name)
        else:
            self._folders[name] = True
        return ""


def wrong(member: tarfile.TarInfo) -> str:
    """Why a member cannot be restored; empty where it can."""
    name = member.name
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\0" in name or parts[0] not in PARTS:
        return f"its path does not lie in {', '.join(PARTS)}"
    if len(parts) > 1 and parts[1] in OURS:
        return "its path is of popbox's own work"
    if len(parts) > DEEPEST or any(len(one.encode("utf-8", "surrogateescape")) > NAME_OCTETS for one in parts):
        return f"its path is deeper than {DEEPEST} folders, or has a name of more than {NAME_OCTETS} octets"
    if not (member.isreg() or member.isdir()) or member.issparse():
        return "is neither a file nor a folder"
    if len(parts) == 1 and not member.isdir():
        return "is no folder"
    if not (0 <= member.uid < OWNERS - 1 and 0 <= member.gid < OWNERS - 1):
        return f"its owner {member.uid}:{member.gid} is no uid and gid"
    if not -MOST_S < member.mtime < MOST_S:
        return f"its date {member.mtime} is none"
    return ""


@contextmanager
def opened(path: Path) -> Iterator[tuple[tarfile.TarFile, dict[str, Any]]]:
    """The archive, read up to behind its manifest.

    Raises:
        ArchiveError: it is no archive of popbox, or not whole.
    """
    if path.stat().st_size < GZIP_OCTETS:
        raise ArchiveError(f"{path}: not a whole tar archive: {path.stat().st_size} octets")
    try:
        with tarfile.open(path, "r|*", encoding="utf-8", errors="surrogateescape") as archive:
            first = archive.next()
            file = archive.extractfile(first) if first and first.name == MANIFEST else None
            if file is None or first is None or first.size > PIECE_OCTETS:
                raise ArchiveError(f"{path}: its first member is not {MANIFEST}: no archive of popbox backup")
            manifest = json.loads(file.read())
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise ArchiveError(f"{path}: {MANIFEST}: format {FORMAT} is wanted")
            yield archive, manifest
    except (tarfile.TarError, EOFError, ValueError, zlib.error, RecursionError, OverflowError) as error:
        raise ArchiveError(f"{path}: not a whole tar archive: {error}") from error


def members(archive: tarfile.TarFile, sums: Sum | None = None) -> Iterator[tarfile.TarInfo]:
    """The host's own, those between the manifest and the end.

    Raises:
        tarfile.TarError: there is no end, or it says another number, or another sum than ``sums``.
    """
    for count, member in enumerate(rest(archive)):
        if member.name == END:
            file = archive.extractfile(member)
            said = json.loads(file.read(PIECE_OCTETS)) if file else None
            if not isinstance(said, dict) or said.get("members") != count:
                raise tarfile.ReadError(f"{END}: {count} members are there, it says another number")
            if sums is not None and said.get("sha256") not in (None, sums.hexdigest()):
                raise tarfile.ReadError(f"{END}: the octets are not those that were written")
            return
        yield member
    raise tarfile.ReadError(f"it ends without {END}")


def rest(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """What is still to come: iteration would begin with those read before, which a stream has no more."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header, of a million messages too
        yield member
