"""What runs on the mail host itself for a restore: ``python3 -c THIS VERB HOME``, nothing but the stdlib.

``empty``   name what a restore would overwrite; nothing where the host is empty
``facts``   print, as JSON, who owns the queue, and for each part: free octets, free inodes, device
``stage``   read a tar stream from standard input into a folder of ours in each part, complete it there
``place``   rename it into its place; what was there is kept, and each step noted before it is done
``undo``    go back to what was there, also after a ``place`` that was killed
``commit``  forget what was there

No member of an archive becomes a device, a link, or a file with set-id bits. Its owner is one that exists on this host:
root, popuser, or a user who owns something in that part already.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import sys
import tarfile
from pathlib import Path

from popbox.operate.on_host_walk import (
    FOLDER,
    OURS,
    PARTS,
    STAGE,
    UNDO,
    descend,
    drop_own,
    folders,
    lstat,
    our_own,
    run,
    say,
    tops,
)

LOG = "log"
KINDS = ("folder", "new", "old")
POPUSER = 888  # the HOWTO's numbers, for a host without that account


def empty(home: Path) -> None:
    """No domain, no mail and no queued message may be there before a restore."""
    found: list[str] = []
    for part, top in tops(home):
        for path, at, names in folders(top, OURS):
            place = Path(part, path)
            if place in (Path("users/domains"), Path("popboxes")):
                found += [f"{place}/{name}" for name in os.listdir(at) if not name.startswith(".")]
            elif part == "queue" and (place.name in ("new", "cur", "msg") or "mess" in place.parts):
                found += [f"{place}/{name}" for name in names]
    print("\n".join(sorted(found)[:20]))


def facts(home: Path) -> None:
    """See above. A part that is missing will lie where the home lies."""
    found = {}
    for part in PARTS:
        place = home / part if (home / part).is_dir() else home
        disk = os.statvfs(place)
        inodes = disk.f_favail if disk.f_files else None
        found[part] = (disk.f_bavail * disk.f_frsize, inodes, place.stat().st_dev)
    mess = home / "queue/mess"
    json.dump({"qmailq": mess.stat().st_uid if mess.is_dir() else None, "room": found}, sys.stdout)


class Owners:
    """Who may own what is restored into one part; without root everything is the caller's."""

    def __init__(self, part: str, top: int) -> None:
        """``top``: the part as it is now."""
        try:
            entry = pwd.getpwnam("popuser")
            user = entry.pw_uid, entry.pw_gid
        except KeyError:
            user = POPUSER, POPUSER
        here = os.fstat(top)
        self.default = user if part == "popboxes" else (here.st_uid, here.st_gid)
        self.uids, self.gids = {0, user[0]}, {0, user[1]}
        self.strangers: dict[int, int] = {}
        for _, at, names in folders(top, OURS):
            for found in (os.fstat(at), *(one for name in names if (one := lstat(at, name)) is not None)):
                self.uids.add(found.st_uid)
                self.gids.add(found.st_gid)

    def of(self, member: tarfile.TarInfo) -> tuple[int, int]:
        """The owner of a member."""
        if member.uid in self.uids:
            return member.uid, member.gid if member.gid in self.gids else self.default[1]
        self.strangers[member.uid] = self.strangers.get(member.uid, 0) + 1
        return self.default


def stage(home: Path) -> None:
    """Nothing outside our own folders is touched, and no other user can read them."""
    for part in PARTS:
        if not (home / part).is_dir():
            (home / part).mkdir(mode=0o755)
    stages: dict[str, int] = {}
    owners: dict[str, Owners] = {}
    for part, top in tops(home):
        drop_own(top, STAGE)
        owners[part] = Owners(part, top)
        at = our_own(top, STAGE, make=True)
        assert at is not None
        stages[part] = at
    shut: list[tuple[tarfile.TarInfo, str, str]] = []
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            part, _, path = member.name.partition("/")
            inside = part in stages and not {"", ".", ".."} & set(member.name.split("/"))
            if not (inside and (member.isreg() or member.isdir())):
                sys.exit(f"{member.name!r} does not belong into a mail host")
            if member.isdir():
                os.close(descend(stages[part], path, make=True))
                shut.append((member, part, path))
            else:
                write(tar, member, stages[part], path, owners[part])
    if "queue" in stages:
        renumber(Path(f"/proc/self/fd/{stages['queue']}"), home / "queue/mess")
    for member, part, path in reversed(shut):  # a folder's time comes last: its files would change it
        if path:
            at = descend(stages[part], path)
            dress(at, member, owners[part], stat.S_IMODE(member.mode) & 0o3777)
            os.close(at)
    for part, those in owners.items():
        for uid, number in those.strangers.items():
            say(f"{part}: no uid {uid} exists here; {number} of its files and folders now are uid {those.default[0]}'s")
    os.sync()


def write(tar: tarfile.TarFile, member: tarfile.TarInfo, top: int, path: str, owners: Owners) -> None:
    """One file; its set-id and sticky bits are not taken."""
    above, _, name = path.rpartition("/")
    at = descend(top, above, make=True)
    try:
        out = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=at)
        octets = tar.extractfile(member)
        assert octets is not None
        with os.fdopen(out, "wb") as file:
            shutil.copyfileobj(octets, file, 1 << 20)
            file.flush()
            for key, value in member.pax_headers.items():
                if key.startswith("SCHILY.xattr.user."):
                    attribute = key.removeprefix("SCHILY.xattr.")
                    os.setxattr(file.fileno(), attribute, value.encode("utf-8", "surrogateescape"))
            dress(file.fileno(), member, owners, stat.S_IMODE(member.mode) & 0o777)
    finally:
        os.close(at)


def dress(file: int, member: tarfile.TarInfo, owners: Owners, mode: int) -> None:
    """Owner, mode and time."""
    if os.geteuid() == 0:
        os.fchown(file, *owners.of(member))
    os.fchmod(file, mode)
    os.utime(file, (member.mtime, member.mtime))


# qmail's queue, INTERNALS: one file each for a message, by its number; bounce/, todo/ and intd/ are flat, others split.
SPLIT, FLAT = ("info", "local", "remote"), ("bounce", "todo", "intd")


def renumber(queue: Path, there: Path) -> None:
    """qmail's message number is the inode number of its file in mess/: after a copy, each gets its own again.

    ``queue`` is the staged one: a rename keeps the inode. First all go out of the way, because the old number of one
    may be the new number of another.
    """
    if not (queue / "mess").is_dir():
        return
    split = sum(1 for one in (queue / "mess").iterdir() if one.name.isdigit())
    here = sum(1 for one in there.iterdir() if one.name.isdigit()) if there.is_dir() else split
    if split != here:
        sys.exit(f"the archive's queue is split into {split} folders, this host's into {here}")

    def files(number: str, remainder: str) -> dict[Path, Path]:
        """Where a message's files lie -> where they are put aside."""
        places = {queue / kind / remainder / number: queue / kind for kind in ("mess", *SPLIT)}
        places |= {queue / kind / number: queue / kind for kind in FLAT}
        return {place: aside / f"moving-{number}" for place, aside in places.items()}

    old = [one.name for one in (queue / "mess").glob("*/*") if one.name.isdigit()]
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


class Log:
    """What `place` is about to do, on disk before it is done; and what had the names that it takes."""

    def __init__(self, top: int) -> None:
        """Begin one, in a part."""
        at = our_own(top, UNDO, make=True)
        assert at is not None
        self.at, self.number = at, 0
        self.file = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=at)

    def note(self, *facts: object) -> None:
        """One step."""
        os.write(self.file, json.dumps(facts).encode() + b"\n")
        os.fsync(self.file)

    def aside(self, folder: int, name: str, path: str) -> None:
        """Keep what has a name that is taken now."""
        self.number += 1
        self.note("old", path, self.number)
        os.rename(name, str(self.number), src_dir_fd=folder, dst_dir_fd=self.at)

    def close(self) -> None:
        """It stays on disk."""
        os.close(self.file)
        os.close(self.at)


def place(home: Path) -> None:
    """Part by part; a folder that is not there comes with one rename."""
    for part, top in tops(home):
        staged = our_own(top, STAGE)
        if staged is None:
            sys.exit(f"{part}: nothing was staged")
        log = Log(top)
        merge(staged, top, "", log)
        log.close()
        os.close(staged)
        os.fsync(top)


def merge(source: int, target: int, path: str, log: Log) -> None:
    """What is in one folder into another."""
    for name in sorted(os.listdir(source)):
        here, new, old = f"{path}/{name}".lstrip("/"), lstat(source, name), lstat(target, name)
        assert new is not None
        if old is not None and stat.S_ISDIR(old.st_mode) and stat.S_ISDIR(new.st_mode):
            log.note("folder", here, stat.S_IMODE(old.st_mode), old.st_uid, old.st_gid)
            below, there = os.open(name, FOLDER, dir_fd=source), os.open(name, FOLDER, dir_fd=target)
            merge(below, there, here, log)
            change(there, stat.S_IMODE(new.st_mode), new.st_uid, new.st_gid)
            os.utime(there, ns=(new.st_atime_ns, new.st_mtime_ns))
            os.close(below)
            os.close(there)
            continue
        if old is None:
            log.note("new", here)
        else:
            log.aside(target, name, here)
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def change(folder: int, mode: int, uid: int, gid: int) -> None:
    """Owner and mode of a folder."""
    if os.geteuid() == 0:
        os.fchown(folder, uid, gid)
    os.fchmod(folder, mode)


def undo(home: Path) -> None:
    """Step by step back; a step that was noted and not done is none."""
    refuse_unknown(home)
    for _, top in tops(home):
        kept = our_own(top, UNDO)
        if kept is not None:
            for step in reversed(steps(kept)):
                go_back(top, kept, *step)
            os.close(kept)
            drop_own(top, UNDO)
        drop_own(top, STAGE)


def refuse_unknown(home: Path) -> None:
    """End before anything is taken back where a step is none of ours: half a way back is no host at all."""
    for part, top in tops(home):
        kept = our_own(top, UNDO)
        if kept is not None:
            if unknown := [kind for kind, *_ in steps(kept) if kind not in KINDS]:
                sys.exit(f"{home / part / UNDO / LOG}: step {unknown[0]!r} is not known: a newer popbox takes it back")
            os.close(kept)


def steps(kept: int) -> list[list[object]]:
    """The log; a last line that was cut was not followed by its step."""
    try:
        with os.fdopen(os.open(LOG, os.O_RDONLY | os.O_CLOEXEC, dir_fd=kept), "rb") as file:
            return [json.loads(line) for line in file.read().split(b"\n")[:-1]]
    except FileNotFoundError:
        return []


def go_back(top: int, kept: int, kind: object, path: object, *facts: object) -> None:
    """One step."""
    above, _, name = str(path).rpartition("/")
    at = descend(top, above)
    try:
        found = lstat(at, name)
        if kind == "folder":
            there = os.open(name, FOLDER, dir_fd=at)
            change(there, *facts)  # type: ignore[arg-type]
            os.close(there)
        elif kind == "new" or lstat(kept, str(facts[0])) is not None:
            if found is not None and stat.S_ISDIR(found.st_mode):
                shutil.rmtree(name, dir_fd=at)
            elif found is not None:
                os.unlink(name, dir_fd=at)
            if kind == "old":
                os.rename(str(facts[0]), name, src_dir_fd=kept, dst_dir_fd=at)
    finally:
        os.close(at)


def commit(home: Path) -> None:
    """The restore stands."""
    for _, top in tops(home):
        drop_own(top, UNDO)
        drop_own(top, STAGE)


if __name__ == "__main__":
    run({"empty": empty, "facts": facts, "stage": stage, "place": place, "undo": undo, "commit": commit})
