"""A run of `migrate verify --state`, read while it goes on, for the pages of ``popbox serve --move``."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from popbox.migrate.verify.naming import clean
from popbox.migrate.verify.result import Box, Named, Verdict
from popbox.migrate.verify.state import ENDED, asked_of, is_header
from popbox.replacing import replaceable
from popbox.serve.move.handed import Finding, Judged, Progress

MOST_BOXES = 100_000  # our choice: held in memory, those that differ first; more are counted
MOST_FINDINGS = 200  # our choice: of one box; the report has all
PIECE_OCTETS = 1 << 20
MOST_READ = 16  # our choice: pieces at one look, about a second; the next one goes on there
NOT_THERE = "there is no such file yet: the verification has not begun"


class StateProof:
    """A ``Proof`` of the console. What was read is kept: a look reads what came since."""

    def __init__(self, path: Path) -> None:
        """The file need not be there yet."""
        self.name, self._path, self._lock = str(path), path, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._file, self._at, self._rest = (0, 0), 0, b""
        self._progress, self._headed = Progress(), False
        self._different: list[Judged] = []
        self._equal: list[Judged] = []

    def look(self) -> tuple[Progress, Sequence[Judged]]:
        """See ``popbox.serve.move.handed.Proof``."""
        with self._lock:
            try:
                self._read()
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)
                return replace(self._progress, problem=NOT_THERE if gone else str(error.strerror)), self._boxes()
            return self._progress, self._boxes()

    def _boxes(self) -> list[Judged]:
        return [*self._different, *self._equal]

    def _read(self) -> None:
        """Read what is new; a file that is another one, or shorter, is read from its begin."""
        with replaceable(self._path).open("rb") as file:  # of a device no end would come
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) != self._file or status.st_size < self._at:
                self._forget()
                self._file = status.st_dev, status.st_ino
            file.seek(self._at)
            for _ in range(MOST_READ):
                if not (piece := file.read(PIECE_OCTETS)):
                    break
                self._at += len(piece)
                *whole, self._rest = (self._rest + piece).split(b"\n")
                self._take(whole)
        self._progress = replace(self._progress, changed_at=status.st_mtime)

    def _take(self, whole: Iterable[bytes]) -> None:
        for line in whole:
            text = line.decode("utf-8", "replace")
            if not self._headed:
                self._headed = True
                if not is_header(text):
                    self._progress = replace(self._progress, problem="it is no state file of migrate verify")
            elif self._progress.problem:
                return
            elif text == ENDED.strip():
                self._progress = replace(self._progress, ended=True)
            elif (asked := asked_of(text)) is not None:
                self._progress = replace(self._progress, asked=asked)
            else:
                self._judge(text)

    def _judge(self, line: str) -> None:
        try:
            box = Box.model_validate_json(line)
        except ValidationError:
            self._progress = replace(self._progress, problem="it has a line that is no box")
            return
        done = self._progress
        counts = (done.equal + 1, done.different) if box.equal else (done.equal, done.different + 1)
        self._progress = replace(done, equal=counts[0], different=counts[1])
        if len(self._equal) + len(self._different) < MOST_BOXES:
            (self._equal if box.equal else self._different).append(_judged(box))


def _judged(box: Box) -> Judged:
    aspects = {name: (verdict.value, clean(box.reasons.get(name, ""))) for name, verdict in box.verdicts.items()}
    findings = tuple(
        Finding(one.kind, clean(one.said), _named(one.old), _named(one.new)) for one in box.findings[:MOST_FINDINGS]
    )
    equal = Verdict.DIFFERENT not in box.verdicts.values()
    return Judged(box.login, box.new_login, equal, aspects, (box.old.messages, box.new.messages), findings, box.took_s)


def _named(one: Named | None) -> str:
    if one is None:
        return ""
    words = [f"no. {one.number}", f"UIDL {one.uidl}", f"{one.size} octets", one.subject, one.date, one.message_id]
    return clean(", ".join(word for word in words if word))
