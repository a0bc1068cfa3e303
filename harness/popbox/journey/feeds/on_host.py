"""What runs on the mail host itself to look into Maildirs: ``python3 -c THIS HOME``, nothing but the stdlib.

A request is a line of JSON on stdin: ``boxes`` (Maildir -> since when), ``known`` (pairs of Maildir and name that need
no second look). The answer is a line: ``files``, and ``faults`` (Maildir -> why it cannot be looked at). Or ``read``
(Maildir and name, up to its flags): the answer is ``octets`` in base64, or ``why`` there are none. Or ``hash`` (a list
of such pairs): the answer is a list of ``sha256``, or ``why`` there is none. Or ``own`` (a path below popboxes/ or
alias/): as ``read``. Or ``page``
(Maildir, first number, most): the answer is ``total`` and ``rows``, the messages of it as POP3 numbers them (by the
time of the file, then by name, Q-POP3-5), or ``why`` there are none. Boxes belong to popuser, who may put anything
there: no link is followed, and nothing but regular files is opened.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

HEAD_OCTETS = 64 * 1024  # our choice: a header is shorter, or is cut there
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
WANTED = (b"subject:", b"message-id:", b"from:")
MOST_OCTETS = 64 * 1024 * 1024  # our choice: of a message that is handed over whole, and of all that a page reads
PIECE_OCTETS = 256 * 1024


def fields(head: bytes) -> list[str]:
    """Three lines that a delivery puts first, then Subject, Message-ID and From, unfolded, without their names."""
    lines = head.partition(b"\n\n")[0].split(b"\n")
    found = dict.fromkeys(WANTED, b"")
    for number, line in enumerate(lines):
        name = line[:11].lower().partition(b":")[0] + b":"
        if name in found and not found[name]:
            rest = line.partition(b":")[2]
            for more in lines[number + 1 :]:
                if more[:1] not in (b" ", b"\t"):
                    break
                rest += more
            found[name] = rest.strip()[:1000]
    top = [*lines[:3], b"", b"", b""][:3]
    return [one.decode("utf-8", "replace") for one in (*top, *found.values())]


def look(box: str, since: float, known: set[str]) -> list[list[object]]:
    """Files in new/ and cur/ that are not older, one row each. What is not there any more is not ``known`` either."""
    rows, there = [], set[str]()
    for folder in ("new", "cur"):
        at = os.open(os.path.join(box, folder), FOLDER)  # noqa: PTH118
        try:
            for name in os.listdir(at):
                base = name.partition(":")[0]
                there.add(base)
                begun = base.partition(".")[0]
                if base in known or (begun.isdigit() and int(begun) < since - 2) or not is_text(name):
                    continue
                row = one(at, name, since)
                if row:
                    rows.append([f"{folder}/{name}", base, *row])
        finally:
            os.close(at)
    known &= there
    return rows


def is_text(name: str) -> bool:
    """Whether a name can be told in UTF-8: no MTA writes any other, and a store could not hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def one(at: int, name: str, since: float) -> list[object] | None:
    """Size, owner, time of change of the content, permissions, and the fields of one file that is not older."""
    try:
        fd = os.open(name, FILE, dir_fd=at)
    except OSError:
        return None  # taken away or moved in this moment, or a link
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_mtime < since:
            return None
        head = os.pread(fd, HEAD_OCTETS, 0)
        return [found.st_size, found.st_uid, found.st_mtime, stat.S_IMODE(found.st_mode), fields(head)]
    finally:
        os.close(fd)


def read(box: str, name: str, take: Callable[[int, str], dict[str, str]]) -> dict[str, str]:
    """What ``take`` makes of a message, wherever in the box it lies now and whatever its flags."""
    for folder in ("new", "cur"):
        at = os.open(os.path.join(box, folder), FOLDER)  # noqa: PTH118
        try:
            for found in os.listdir(at):
                if found.partition(":")[0] == name:
                    return take(at, found)
        finally:
            os.close(at)
    return {"why": "it is not there any more"}


def whole(at: int, name: str, make: Callable[[BinaryIO], dict[str, str]]) -> dict[str, str]:
    """What ``make`` reads of one file, where it is a regular one of at most MOST_OCTETS."""
    fd = os.open(name, FILE, dir_fd=at)
    with os.fdopen(fd, "rb") as file:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            return {"why": "what lies in its place is no regular file"}
        if seen.st_size > MOST_OCTETS:
            return {"why": f"it has {seen.st_size} octets, and at most {MOST_OCTETS} are handed over"}
        return make(file)


def content(at: int, name: str) -> dict[str, str]:
    """The octets of one file."""
    return whole(at, name, lambda file: {"octets": base64.b64encode(file.read(MOST_OCTETS)).decode()})


def sealed(at: int, name: str) -> dict[str, str]:
    """The sha256 of one file."""
    return whole(at, name, lambda file: {"sha256": hashlib.sha256(file.read(MOST_OCTETS)).hexdigest()})


def own(home: str, path: str) -> dict[str, str]:
    """The octets of a file below popboxes/ or alias/, where no part of its path below these is a link."""
    top, *folders, name = path.split("/")
    at = os.open(os.path.join(home, top), FOLDER)  # noqa: PTH118
    try:
        for folder in folders:
            inner = os.open(folder, FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        return content(at, name)
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.ENOTDIR)
        return {"why": "it is a link, or lies behind one: no link is followed there" if link else str(error.strerror)}
    finally:
        os.close(at)


def handed(home: str, box: str, name: str, take: Callable[[int, str], dict[str, str]]) -> dict[str, str]:
    """What ``take`` makes of a message, or why it can not. It is looked for twice: a client may move it to cur."""
    why = ""
    for _ in range(2):
        try:
            answer = read(os.path.join(home, box), name, take)  # noqa: PTH118
        except OSError as error:
            answer = {"why": str(error.strerror)}
        if "why" not in answer:
            return answer
        why = answer["why"]
    return {"why": why}


def numbered(box: str) -> list[tuple[int, str, str]]:
    """All messages in POP3's order: time, name, folder. Of 50,000, this is most of what a page costs."""
    found = []
    for folder in ("new", "cur"):
        at = os.open(os.path.join(box, folder), FOLDER | os.O_NOFOLLOW)  # noqa: PTH118
        try:
            for name in os.listdir(at):  # faster than scandir, as each is looked at anyway
                if name.startswith("."):
                    continue
                try:
                    status = os.lstat(name, dir_fd=at)
                except OSError:
                    continue  # taken away in this moment
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime_ns, name, folder))
        finally:
            os.close(at)
    found.sort()
    return found


def shown(path: str, left: int) -> tuple[int, str]:
    """How many line ends become two octets, and the subject; -1 where ``left`` octets are not enough to tell."""
    try:
        fd = os.open(path, FILE)
    except OSError:
        return -1, ""
    with os.fdopen(fd, "rb") as file:
        head = piece = file.read(HEAD_OCTETS)
        bare, before = 0, b""
        while piece and left >= 0:
            bare += piece.count(b"\n") - (before + piece).count(b"\r\n")
            before, left = piece[-1:], left - len(piece)
            piece = file.read(PIECE_OCTETS)
    return (bare if left >= 0 else -1), fields(head)[3]


def page(home: str, box: str, first: int, most: int) -> dict[str, object]:
    """Rows of PAGE, from a number on; octets as POP3 sends them are null where reading them would take too long."""
    place = os.path.join(home, box)  # noqa: PTH118
    try:
        found = numbered(place)
    except OSError as error:
        return {"why": str(error.strerror)}
    rows: list[list[object]] = []
    left = MOST_OCTETS
    for number, (_, name, folder) in enumerate(found[first - 1 : first - 1 + most], first):
        path = os.path.join(place, folder, name)  # noqa: PTH118
        try:
            status = os.lstat(path)
        except OSError:
            continue  # taken away in this moment
        bare, subject = shown(path, left)
        left -= status.st_size
        octets = status.st_size + bare if bare >= 0 else None
        mode = stat.S_IMODE(status.st_mode)
        rows.append([number, folder, name, status.st_size, octets, status.st_uid, mode, subject])
    return {"total": len(found), "rows": rows}


def one_answer(home: str, asked: dict[str, Any]) -> object:
    """The answer to a request for one thing; None for a look into boxes."""
    if "read" in asked:
        box, name = asked["read"]
        return handed(home, box, name, content)
    if "hash" in asked:
        return [handed(home, box, name, sealed) for box, name in asked["hash"]]
    if "own" in asked:
        return own(home, asked["own"])
    return page(home, *asked["page"]) if "page" in asked else None


def serve(home: str) -> None:
    """Answer each request until stdin ends."""
    known: dict[str, set[str]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if (told := one_answer(home, asked)) is not None:
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
            continue
        for box, name in asked["known"]:
            known.setdefault(box, set()).add(name)
        answer: dict[str, object] = {"files": (files := []), "faults": (faults := {})}
        for box in set(known) - set(asked["boxes"]):
            del known[box]
        for box, since in asked["boxes"].items():
            try:
                files += [[box, *row] for row in look(os.path.join(home, box), since, known.get(box, set()))]  # noqa: PTH118
            except OSError as error:
                faults[box] = error.strerror
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
