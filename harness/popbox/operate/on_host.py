"""What runs on the mail host itself for backup and restore: ``python3 -c THIS VERB HOME``, nothing but the stdlib.

``snapshot``   while all stands still: link message files, copy the rest, into ``.backup`` folders; prints what it found
``pack``       write the snapshot as a tar stream to standard output
``clean``      remove the ``.backup`` folders
``empty``      name what a restore would overwrite; nothing where the host is empty
``unpack``     read a tar stream from standard input into the home, then give queued messages their new numbers
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

PARTS = ("control", "users", "alias", "popboxes", "queue")
SNAPSHOT = ".backup"
# qmail's queue, INTERNALS: one file each for a message, by its number; bounce/, todo/ and intd/ are flat, others split.
SPLIT, FLAT = ("info", "local", "remote"), ("bounce", "todo", "intd")


def immutable(folder: Path) -> bool:
    """Message files never change in place, so that a hard link keeps them: in Maildirs, and in both queues."""
    return folder.name in ("new", "cur", "msg") or "mess" in folder.parts


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below ``top``, relative to it, with its files; snapshots left out."""
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name != SNAPSHOT]
        yield Path(folder).relative_to(top), files


def snapshot(home: Path) -> None:
    """One folder in each part, because a hard link cannot leave its file system."""
    clean(home)
    count = octets = 0
    for top in (home / part for part in PARTS if (home / part).is_dir()):
        for folder, files in list(walk(top)):
            target = top / SNAPSHOT / folder
            target.mkdir(parents=True)
            for name in files:
                source, copy = top / folder / name, target / name
                found = source.lstat()
                if not stat.S_ISREG(found.st_mode):
                    continue  # FIFOs, sockets: who needs them makes them anew
                if immutable(folder):
                    copy.hardlink_to(source)
                    count, octets = count + 1, octets + found.st_size
                else:
                    shutil.copyfile(source, copy)
                    like(source, copy)
            like(top / folder, target)
    mess = home / "queue/mess"
    json.dump(
        {"messages": count, "octets": octets, "qmailq": mess.stat().st_uid if mess.is_dir() else None}, sys.stdout
    )


def like(source: Path, copy: Path) -> None:
    """Owner, group, mode and times."""
    found = source.stat()
    if os.geteuid() == 0:
        os.chown(copy, found.st_uid, found.st_gid)
    copy.chmod(stat.S_IMODE(found.st_mode))  # after chown, which takes set-id bits away
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))


def pack(home: Path) -> None:
    """The parts side by side, as they lie in the home."""
    # dereference: of messages that are hard links to each other, each is packed whole
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT, dereference=True) as tar:
        for part in PARTS:
            if (home / part / SNAPSHOT).is_dir():
                tar.add(home / part / SNAPSHOT, part)


def clean(home: Path) -> None:
    """Also what a backup that was cut off left behind."""
    for part in PARTS:
        shutil.rmtree(home / part / SNAPSHOT, ignore_errors=True)


def empty(home: Path) -> None:
    """No domain, no mail and no queued message may be there before a restore."""
    found = [one for place in ("users/domains", "popboxes") for one in (home / place).glob("[!.]*")]
    for folder, files in walk(home / "queue"):
        found += [home / "queue" / folder / name for name in files if immutable(folder)]
    print("\n".join(str(one.relative_to(home)) for one in sorted(found)[:20]))


def unpack(home: Path) -> None:
    """Names, owners, modes and times as packed."""
    folders: list[tarfile.TarInfo] = []
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        for member in tar:
            parts = Path(member.name).parts
            if parts[0] not in PARTS or ".." in parts or not (member.isreg() or member.isdir()):
                sys.exit(f"unpack: {member.name!r} does not belong into a mail host")
            tar.extract(member, home, set_attrs=not member.isdir(), numeric_owner=True)
            if member.isdir():
                folders.append(member)
    for member in reversed(folders):  # a folder's time comes last: its files would change it
        path = home / member.name
        if os.geteuid() == 0:
            os.chown(path, member.uid, member.gid)
        path.chmod(member.mode)
        os.utime(path, (member.mtime, member.mtime))
    if (home / "queue/mess").is_dir():
        renumber(home / "queue")


def renumber(queue: Path) -> None:
    """qmail's message number is the inode number of its file in mess/: after a copy, each gets its own again.

    First all go out of the way, because the old number of one may be the new number of another.
    """
    split = sum(1 for one in (queue / "mess").iterdir() if one.name.isdigit())

    def files(number: str, remainder: str) -> dict[Path, Path]:
        """Where a message's files lie -> where they are put aside."""
        places = {queue / kind / remainder / number: queue / kind for kind in ("mess", *SPLIT)}
        places |= {queue / kind / number: queue / kind for kind in FLAT}
        return {place: aside / f"moving-{number}" for place, aside in places.items()}

    old = [one.name for one in (queue / "mess").glob("*/*")]
    for number in old:
        for place, aside in files(number, str(int(number) % split)).items():
            if place.exists():
                place.rename(aside)
    for number in old:
        inode = (queue / "mess" / f"moving-{number}").stat().st_ino
        targets = files(str(inode), str(inode % split))
        for target, aside in targets.items():
            moving = aside.with_name(f"moving-{number}")
            if moving.exists():
                moving.rename(target)


if __name__ == "__main__":
    verbs = {"snapshot": snapshot, "pack": pack, "clean": clean, "empty": empty, "unpack": unpack}
    verbs[sys.argv[1]](Path(sys.argv[2]))
