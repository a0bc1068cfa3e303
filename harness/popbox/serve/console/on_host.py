"""What runs on the mail host itself to list a Maildir as POP3 numbers it: ``python3 -c THIS HOME MAILDIR FIRST MOST``.

Nothing but the stdlib. It prints a JSON object: ``total``, and ``rows`` of the messages from number FIRST on, at most
MOST: number, folder, name, octets on disk, octets as POP3 sends them (null where reading took too long), uid, mode,
subject. The order is that of POP3: by the time of the file, then by name (Q-POP3-5).
"""

from __future__ import annotations

import json
import os
import stat
import sys

ROW = ("number", "folder", "name", "size", "octets", "uid", "mode", "subject")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
PIECE = 1 << 18
MOST_OCTETS = 64 << 20  # our choice: a page reads so much, and leaves the sizes of the rest open
HEAD = 16_384  # our choice: a subject further down is not looked for


def listed(box: str) -> list[tuple[int, str, str, os.stat_result]]:
    """All messages in POP3's order: time, name, folder, status."""
    found = []
    for folder in ("new", "cur"):
        at = os.open(os.path.join(box, folder), FOLDER)  # noqa: PTH118
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # taken away in this moment
                    if stat.S_ISREG(status.st_mode):
                        found.append((status.st_mtime_ns, entry.name, folder, status))
        finally:
            os.close(at)
    found.sort(key=lambda one: one[:3])
    return found


def read(path: str, left: int) -> tuple[int, str]:
    """How many line ends become two octets, and the subject; -1 where ``left`` octets are not enough to tell."""
    try:
        fd = os.open(path, FILE)
    except OSError:
        return -1, ""
    with os.fdopen(fd, "rb") as file:
        head = piece = file.read(HEAD)
        bare, before = 0, b""
        while piece and left >= 0:
            bare += piece.count(b"\n") - (before + piece).count(b"\r\n")
            before, left = piece[-1:], left - len(piece)
            piece = file.read(PIECE)
    return (bare if left >= 0 else -1), subject(head)


def subject(head: bytes) -> str:
    """The first Subject field, unfolded."""
    lines = head.partition(b"\n\n")[0].split(b"\n")
    for number, line in enumerate(lines):
        if line[:8].lower() == b"subject:":
            more = [line[8:]]
            for one in lines[number + 1 :]:
                if one[:1] not in (b" ", b"\t"):
                    break
                more.append(one)
            return b"".join(more).strip()[:500].decode("utf-8", "replace")
    return ""


def page(home: str, maildir: str, first: int, most: int) -> dict[str, object]:
    """See the top of this file."""
    box = os.path.join(home, maildir)  # noqa: PTH118
    found = listed(box)
    rows: list[list[object]] = []
    left = MOST_OCTETS
    for number, (_, name, folder, status) in enumerate(found[first - 1 : first - 1 + most], first):
        bare, said = read(os.path.join(box, folder, name), left)  # noqa: PTH118
        left -= status.st_size
        octets = status.st_size + bare if bare >= 0 else None
        rows.append([number, folder, name, status.st_size, octets, status.st_uid, stat.S_IMODE(status.st_mode), said])
    return {"total": len(found), "rows": rows}


if __name__ == "__main__":
    try:
        print(json.dumps(page(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    except OSError as error:
        print(json.dumps({"error": error.strerror}))
