"""What a watch knows of each box, a line for each change, so that it goes on after a kill or by cron.

States a reader may find: no file (nothing known); a head and lines, the last line of a box counts; a last line that a
kill has cut off, which is dropped. The file holds UIDLs and subjects, no passwords; only its owner may read it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify import lines_file
from popbox.migrate.verify.result import Named, Plain
from popbox.reading import octets_of

SCHEMA = "popbox.migrate-verify-watch/1"


class Late(Plain):
    """One message that is on the old host alone, and when a round saw it first."""

    message: Named
    since: str


class Remembered(Plain):
    """One box. ``known``: UIDLs on the old host that have been on the new one; ``late``: those that have not."""

    login: str
    new_login: str
    known: frozenset[str] = frozenset()
    late: tuple[Late, ...] = ()


class Memory:
    """The file, open and locked. ``about`` is what must be the same for it to count."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        """Read it, and write it again without what no longer counts.

        Raises:
            Unusable: it is no such file, of another watch, or another one is at work on it.
        """
        self.path = lines_file.place(path)
        self._lock = self._locked()
        head = json.dumps({"schema": SCHEMA, **about}, sort_keys=True) + "\n"
        try:
            self.boxes = self._read(head)
            lines = (box.model_dump_json() + "\n" for box in self.boxes.values())
            self._file = lines_file.begin(self.path, [head, *lines])
        except BaseException:
            os.close(self._lock)
            raise

    def _locked(self) -> int:
        try:
            lock = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unusable(self.path, f"cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Unusable(self.path, "another watch is at work on it") from error
        return lock

    def _read(self, head: str) -> dict[tuple[str, str], Remembered]:
        try:
            lines = octets_of(self.path).decode().splitlines(keepends=True)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Unusable(self.path, f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Unusable(self.path, f"cannot be read: {error}") from error
        if lines and lines[0] != head:
            raise Unusable(self.path, f"line 1: is of another watch, or no such file; this one is {head.strip()}")
        whole = [line for line in lines[1:] if line.endswith("\n")]
        found = [self._line(line, number) for number, line in enumerate(whole, 2)]
        return {(box.login, box.new_login): box for box in found}

    def _line(self, line: str, number: int) -> Remembered:
        try:
            return Remembered.model_validate_json(line)
        except ValidationError as error:
            raise Unusable(f"{self.path}: line {number}", "is no line of a watch") from error

    def note(self, box: Remembered) -> None:
        """Remember a box, where it is not as before.

        Raises:
            Unusable: the disk refuses it.
        """
        if self.boxes.get((box.login, box.new_login)) == box:
            return
        try:
            self._file.write(box.model_dump_json() + "\n")
            self._file.flush()
        except OSError as error:
            raise Unusable(self.path, f"cannot be written: {error.strerror}") from error
        self.boxes[box.login, box.new_login] = box

    def close(self) -> None:
        """Let another watch have it."""
        self._file.close()
        os.close(self._lock)
