"""One process's journal: what it did and saw, line by line, in a file of its own that is only written at its end.

A line has the fields of ``COLUMNS``, divided by tabs. The last line is an ``end``, and its ``seq`` is the number of
lines: a journal without one is unfinished, and no verdict rests on it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

from popbox.printable import plain

SUFFIX = ".journal"
FETCH_ENDED = "the fetch itself was ended"  # note of an uncommit: nothing of the host's has failed
NOTE_LENGTH = 200  # our choice: of a reply or an error
# name -> type of DuckDB. Times are nanoseconds since 1970 by a clock that never steps back, see ``Journal``.
COLUMNS = {
    "seq": "BIGINT",
    "at_ns": "BIGINT",
    "event": "VARCHAR",
    "token": "VARCHAR",
    "box": "VARCHAR",
    "uidl": "VARCHAR",
    "digest": "VARCHAR",
    "octets": "BIGINT",
    "took_us": "BIGINT",
    "late_us": "BIGINT",
    "session": "BIGINT",
    "note": "VARCHAR",
}
# What may stand in ``event``:
#   begin, end              the process; the note of begin is JSON: who it is
#   accept, refuse, unsure  the host said 250, 4xx or 5xx, or nothing, to a message; one line for each recipient.
#                           took_us counts from the intended moment, late_us is how late it was begun
#   login, list, fetch, delete, commit, uncommit   POP3: a session's parts. list: a UIDL seen for the first time;
#                           commit: QUIT was answered with +OK, uncommit: it was not, and deletions are unknown;
#                           its note says how the session ended
#   verb                    how long UIDL or QUIT took: note is the verb; RETR's time is that of fetch, DELE's of delete
#   vanish                  a box that only this process opens lacks a UIDL that was not deleted
#   error                   a connection or a reply failed; the note says how, without numbers; of a visit it has box
#                           and took_us
#   lag                     took_us of the generator's own lateness in the last second
#   fault, healed           the host was broken, and mended: box holds the target, note the kind
#   depth                   octets: how many messages the MTA's queue held
#   bounce                  a report on the token lay in the sender's box; the note is an address that it names, a line
#                           for each


class Journal:
    """A journal that is being written. Not for several threads; greenlets that do not yield inside may share it."""

    def __init__(self, folder: Path, writer: str = "", **who: Any) -> None:
        """A new file in ``folder``. ``writer`` is its name, unique in the run; ``who`` is noted at its begin.

        Raises:
            OSError: the file cannot be made.
        """
        self.writer = writer or secrets.token_hex(4)
        self.path = folder / f"{self.writer}{SUFFIX}"
        # wall time at the start, monotonic from then on: a step of the clock changes no order
        self._zero_ns = time.time_ns() - time.monotonic_ns()
        self._file = os.fdopen(
            os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", 1 << 16, encoding="utf-8"
        )
        self._seq = 0
        self.write("begin", note=json.dumps({**who, "boot": boot(), "zero_ns": self._zero_ns}))

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.end()

    def now_ns(self) -> int:
        """The journal's clock."""
        return self._zero_ns + time.monotonic_ns()

    def write(self, event: str, **fields: Any) -> None:
        """Add a line; ``fields`` are those of ``COLUMNS``.

        Raises:
            OSError: the disk is full.
        """
        self._seq += 1
        note = fields.get("note", "")
        if note and event != "begin":
            fields["note"] = one_line(note)
        values = (self._seq, fields.pop("at_ns", 0) or self.now_ns(), event, *(fields.get(one, "") for one in _GIVEN))
        self._file.write("\t".join(map(str, values)) + "\n")

    def end(self) -> None:
        """Write the last line and make sure that all is on the disk; harmless when done twice.

        Raises:
            OSError: it cannot be written.
        """
        if self._file.closed:
            return
        self.write("end")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


_GIVEN = tuple(COLUMNS)[3:]


@cache
def boot() -> str:
    """What the monotonic clock counts from: the same for all processes of this machine; empty where it is not known."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    return ""


def begun(path: Path) -> dict[str, Any]:
    """What a journal says at its begin of who wrote it; nothing where that is no begin."""
    with path.open("rb") as file:
        fields = file.readline(1 << 16).decode(errors="replace").rstrip("\n").split("\t")
    with suppress(ValueError, RecursionError):
        said = json.loads(fields[-1]) if fields[2:3] == ["begin"] else {}
        return said if isinstance(said, dict) else {}
    return {}


def one_line(text: str) -> str:
    """A text without what would end a field or a line, cut at ``NOTE_LENGTH``."""
    return plain(text.replace("\t", " ").replace("\n", " "))[:NOTE_LENGTH]


def unfinished(path: Path) -> str:
    """Why a journal is no evidence; empty where it is whole.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4_096))
        last = file.read().rsplit(b"\n", 2)
    fields = last[-2].split(b"\t") if len(last) > 1 and last[-1] == b"" else []
    if len(fields) != len(COLUMNS) or fields[2] != b"end":
        return f"{path.name} has no end: its process was killed, or its disk was full"
    with path.open("rb") as file:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    if str(lines).encode() != fields[0]:
        return f"{path.name} has {lines} lines, and its end says {one_line(fields[0].decode(errors='replace'))}"
    return "" if isinstance(begun(path).get("zero_ns"), int) else f"{path.name} has a damaged begin"
