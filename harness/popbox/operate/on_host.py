"""What runs on the mail host itself for a backup: ``python3 -c THIS VERB HOME``, nothing but the stdlib.

``snapshot``   while all stands still: link message files, copy the rest, into folders of ours; prints what it found
``pack``       write the snapshot as a tar stream to standard output
``clean``      remove those folders
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tarfile
from pathlib import Path
from typing import IO

from popbox.operate.on_host_walk import (
    FILE,
    OURS,
    SNAPSHOT,
    descend,
    drop_own,
    folders,
    lstat,
    our_own,
    run,
    say,
    second_name_of_others,
    tops,
)

HOLES_OCTETS = 64 << 20  # our choice: a file with more of nothing in it is no mail, and would fill the archive's disk


def immutable(folder: Path) -> bool:
    """Message files never change in place, so that a hard link keeps them: in Maildirs, and in both queues."""
    return folder.name in ("new", "cur", "msg") or "mess" in folder.parts


def snapshot(home: Path) -> None:
    """One folder in each part, because a hard link cannot leave its file system; ours alone until it is removed."""
    clean(home)
    count = octets = 0
    mess: int | None = None
    for part, top in tops(home):
        into = our_own(top, SNAPSHOT, make=True)
        assert into is not None
        for path, at, names in folders(top, OURS):
            target = made(into, path)
            for name in names:
                found = keep(at, name, target, f"{part}/{path}/{name}", link=immutable(Path(part, path)))
                if found is not None and immutable(Path(part, path)):
                    count, octets = count + 1, octets + found.st_size
            if path:
                dress(target, os.fstat(at))
            os.close(target)
            if (part, path) == ("queue", "mess"):
                mess = os.fstat(at).st_uid
        os.close(into)
    json.dump({"messages": count, "octets": octets, "qmailq": mess}, sys.stdout)


def made(into: int, path: str) -> int:
    """The folder of the snapshot that stands for ``path``."""
    above, _, name = path.rpartition("/")
    at = descend(into, above)
    try:
        if not path:
            return os.dup(at)
        os.mkdir(name, 0o700, dir_fd=at)
        return descend(at, name)
    finally:
        os.close(at)


def keep(at: int, name: str, target: int, shown: str, *, link: bool) -> os.stat_result | None:
    """Link or copy one file; None for what is no file, or not its box's: FIFOs, sockets, links, others' files."""
    found = lstat(at, name)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None  # who needs a FIFO or a socket makes it again
    try:
        if link:
            os.link(name, name, src_dir_fd=at, dst_dir_fd=target, follow_symlinks=False)
        source = os.open(name, FILE, dir_fd=target if link else at)
    except FileNotFoundError:
        return None  # its owner is not frozen
    try:
        found = os.fstat(source)
        why = not_ours(source, found, os.fstat(at), names=2 if link else 1)
        if why:
            say(f"left out: {shown}: {why}")
            if link:
                os.unlink(name, dir_fd=target)
            return None
        if not link:
            copy(source, target, name, found)
    finally:
        os.close(source)
    return found


def not_ours(file: int, found: os.stat_result, folder: os.stat_result, names: int) -> str:
    """Why a file is not saved; empty for most."""
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if second_name_of_others(found, folder, names):
        return f"is a second name of uid {found.st_uid}'s file in uid {folder.st_uid}'s folder"
    data, offset = 0, 0
    if found.st_blocks * 512 >= found.st_size - HOLES_OCTETS:
        return ""  # where a file system compresses, this is not the last word
    while offset < found.st_size:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError:
            break  # none behind it
        offset = os.lseek(file, start, os.SEEK_HOLE)
        data += offset - start
    os.lseek(file, 0, os.SEEK_SET)
    holes = found.st_size - data
    return f"is sparse: of {found.st_size} octets {holes} are holes" if holes > HOLES_OCTETS else ""


def copy(source: int, target: int, name: str, found: os.stat_result) -> None:
    """Octets, owner, mode and times; no one can read it before it has them."""
    out = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        with os.fdopen(os.dup(source), "rb") as octets, os.fdopen(os.dup(out), "wb") as file:
            while piece := octets.read(1 << 20):
                file.write(piece)
        for attribute in os.listxattr(source):
            if attribute.startswith("user."):
                os.setxattr(out, attribute, os.getxattr(source, attribute))
        dress(out, found)
    finally:
        os.close(out)


def dress(file: int, found: os.stat_result) -> None:
    """Owner, group, mode and times of another."""
    if os.geteuid() == 0:
        os.fchown(file, found.st_uid, found.st_gid)
    os.fchmod(file, stat.S_IMODE(found.st_mode))  # after chown, which takes set-id bits away
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


class Exactly:
    """A file of which exactly so many octets are read: one that is cut while it is read must not damage the archive."""

    def __init__(self, file: IO[bytes], octets: int) -> None:
        """``octets``: as its header says."""
        self.file, self.left = file, octets

    def read(self, most: int = -1) -> bytes:
        """The next ones, NUL where there are none any more."""
        wanted = self.left if most < 0 else min(most, self.left)
        piece = self.file.read(wanted)
        self.left -= wanted
        return piece.ljust(wanted, b"\0")


def pack(home: Path) -> None:
    """The parts side by side, as they lie in the home. Of messages that are hard links, each is packed whole."""
    coding = {"format": tarfile.PAX_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", **coding) as tar:  # type: ignore[call-overload]
        for part, top in tops(home):
            saved = our_own(top, SNAPSHOT)
            if saved is None:
                continue
            for path, at, names in folders(saved):
                place = f"{part}/{path}" if path else part
                tar.addfile(header(place, os.fstat(at if path else top), tarfile.DIRTYPE))
                for name in names:
                    add(tar, at, name, f"{place}/{name}")
            os.close(saved)


def add(tar: tarfile.TarFile, at: int, name: str, place: str) -> None:
    """One file of the snapshot."""
    file = os.open(name, FILE, dir_fd=at)
    with os.fdopen(file, "rb") as octets:
        member = header(place, os.fstat(file), tarfile.REGTYPE)
        for attribute in os.listxattr(file):
            if attribute.startswith("user."):
                value = os.getxattr(file, attribute).decode("utf-8", "surrogateescape")
                member.pax_headers = {**member.pax_headers, "SCHILY.xattr." + attribute: value}
        tar.addfile(member, Exactly(octets, member.size))


def header(place: str, found: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    """A member: numbers for owners."""
    member = tarfile.TarInfo(place)
    member.type, member.size = kind, found.st_size if kind == tarfile.REGTYPE else 0
    member.mode, member.uid, member.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
    member.mtime = found.st_mtime
    return member


def clean(home: Path) -> None:
    """Also what a backup that was cut off left behind."""
    for _, top in tops(home):
        drop_own(top, SNAPSHOT)


if __name__ == "__main__":
    run({"snapshot": snapshot, "pack": pack, "clean": clean})
