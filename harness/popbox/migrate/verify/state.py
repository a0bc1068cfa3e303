"""Boxes that are done, one line for each, so that a run that was killed goes on where it was.

States a reader may find: no file (nothing done); a header and some lines, the last of them perhaps cut off by a kill
(it is done again); the line ``ended`` (the run was finished: the next one starts from the beginning). Boxes that could
not be judged are never noted, so they are tried again. A line ``boxes`` behind the header says how many are asked for:
who reads the file sees how far the run is. The file holds UIDLs and subjects, no passwords; only its owner may read it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify import lines_file
from popbox.migrate.verify.result import Box
from popbox.reading import octets_of

SCHEMA = "popbox.migrate-verify-state/1"
ENDED = '{"ended":true}\n'
ASKED = re.compile(r'\{"boxes":(\d{1,9})\}')


def is_header(line: str) -> bool:
    """Whether it is the first line of such a file."""
    try:
        said = json.loads(line)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("schema") == SCHEMA


def asked_of(line: str) -> int | None:
    """How many boxes a run compares, where the line says that."""
    found = ASKED.fullmatch(line)
    return int(found[1]) if found else None


class State:
    """The file of one run. ``about`` is what must be the same for lines to count: hosts, profiles, content."""

    def __init__(self, path: Path, about: dict[str, Any], boxes: int) -> None:
        """Read what is done and open for more; ``boxes`` are asked for in all.

        Raises:
            Unusable: it is no state file, or of another run.
        """
        self.path = lines_file.place(path)
        header = json.dumps({"schema": SCHEMA, **about}, sort_keys=True) + "\n"
        kept = self._read(header)
        self.done = [Box.model_validate_json(line) for line in kept]
        self._file = lines_file.begin(self.path, [header, f'{{"boxes":{boxes}}}\n', *kept])

    def _read(self, header: str) -> list[str]:
        """Whole, valid lines of boxes, or none where the file is new or its run has ended."""
        try:
            text = octets_of(self.path).decode()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unusable(self.path, f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Unusable(self.path, f"cannot be read: {error}") from error
        lines = text.splitlines(keepends=True)
        if not lines or lines[-1] == ENDED:
            return []
        if lines[0] != header:
            if not header.startswith(lines[0]):
                raise Unusable(self.path, f"line 1: is of another run, or no state file; this run is {header.strip()}")
            return []
        rest = [(number, line) for number, line in enumerate(lines[1:], 2) if not ASKED.fullmatch(line.rstrip("\n"))]
        return [line for number, line in rest if self._valid(line, number, len(lines))]

    def _valid(self, line: str, number: int, last: int) -> bool:
        try:
            Box.model_validate_json(line)
        except ValidationError as error:
            if number == last and not line.endswith("\n"):
                return False
            raise Unusable(f"{self.path}: line {number}", "is no line of a state file") from error
        return line.endswith("\n")

    def note(self, box: Box) -> None:
        """One more is done; it counts once this returns, whatever kills us later."""
        self._file.write(box.model_dump_json() + "\n")
        self._file.flush()

    def end(self, finished: bool) -> None:
        """Close; ``finished`` says that every box was judged."""
        if finished:
            self._file.write(ENDED)
        self._file.close()
