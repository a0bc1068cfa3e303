"""One mbox on its way into a Maildir: surveyed from a copy of our own, then split; in the same order, every time alike.

The copy is what both passes over it see, whatever the old host does to the file; it needs as much room as the file.
"""

from __future__ import annotations

from pathlib import Path

from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import Staged
from popbox.migrate.copy.work import NS, BoxWork, MboxRead
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.header import HEAD_OCTETS, date_of, flags_of
from popbox.migrate.oldhost.mboxes.opened import opened
from popbox.migrate.oldhost.mboxes.split import Parts, Split
from popbox.migrate.oldhost.mboxes.survey import Choice, Reading
from popbox.migrate.oldhost.tree import Body, FileRequest, OldHostError


class MboxCopy:
    """The names of messages are made from date and content, so that a later pass makes the same."""

    def __init__(self, box: BoxWork, wanted: FileRequest, choice: Choice) -> None:
        self.box, self.wanted, self.choice = box, wanted, choice
        self.file = shown(wanted.path)
        self.seen: set[bytes] = set()
        self.twins: dict[str, int] = {}
        self.number = self.last_s = 0
        self.latest_s = wanted.entry.mtime_ns // NS

    def convert(self, body: Body) -> None:
        """Take the messages one by one; afterwards, in the final pass, drop those that are no longer there.

        Raises:
            OldHostError: the file is no mbox, or its parts do not add up to it.
            OSError: this machine's disk fails.
        """
        with opened(self.box.pace.slowed(body), self.choice, str(self._beside())) as (reading, split):
            whole = reading.octets == self.wanted.entry.size
            self._take_apart(split, reading, reading.messages + reading.folder_data - (not whole))
        if not whole:  # the old host is at work on it: its last message can be half of one
            self.box.put_off(self.wanted.path, f"{reading.octets} octets came, {self.wanted.entry.size} were announced")
            return
        self.box.batch.commit()
        self._settle(reading)

    def _beside(self) -> Path:
        """Where the copy lies: on the disk of our state, which is ours alone."""
        return next(path for path in self.box.target.journal.path.parents if path.exists())

    def _settle(self, reading: Reading) -> None:
        """Note that it is done. With doubts, or messages to remove, it is not, so that each pass says and does so."""
        tally, journal = self.box.tally, self.box.target.journal
        tally.notes += [f"{self.file}: {note}" for note in reading.notes]
        if reading.doubts:
            for line, text in reading.doubts:
                place = f"{self.file}:{line}" if line else self.file
                tally.problems.append(f"{self.box.address}: {place}: {text}")
            return
        gone = [record for key, record in journal.records.items() if key not in self.seen]
        if self.box.final:
            for record in gone:
                tally.removed += self.box.target.remove(record)
        if self.box.final or not gone:  # else the final pass must come here again
            journal.write_converted(self.wanted.entry.size, self.wanted.entry.mtime_ns)

    def _take_apart(self, split: Split, reading: Reading, most: int) -> None:
        """The first ``most`` messages, without a mail reader's own notes."""
        staged: Staged | None = None
        head = start = b""
        begun = 0
        try:
            for piece in split:
                if piece.start:
                    if staged is not None:
                        self._add(staged, start, head)
                        staged = None
                    begun += 1
                    if begun <= most and not (reading.folder_data and begun == 1):
                        self.box.pace.files.take(1)
                        staged, head, start = self.box.batch.stage(self.box.target), b"", piece.start
                if staged is not None:
                    staged.write(piece.octets)
                    head += piece.octets[: HEAD_OCTETS - len(head)]
            _check(split.parts, begun, reading)
            if staged is not None:
                last, staged = staged, None
                self._add(last, start, head)
        except BaseException:
            if staged is not None:
                staged.drop()
            raise
        self.box.tally.mboxes.append(MboxRead(self.box.address, self.file, reading, split.parts))

    def _add(self, staged: Staged, start: bytes, head: bytes) -> None:
        """One whole message: known by its content, so that a later pass finds it again wherever it stands then."""
        self.number += 1
        digest = staged.sha256
        self.twins[digest] = self.twins.get(digest, -1) + 1
        key = b"%s.%d" % (digest[:32].encode(), self.twins[digest])
        self.seen.add(key)
        known = self.box.target.journal.records.get(key)
        if known is not None:
            staged.drop()
            self._skip(known)
            return
        own_s = date_of(start, head)
        self.last_s = max(min(self.latest_s if own_s is None else own_s, self.latest_s), self.last_s)
        name = b"%d.M%06dP%s.popbox" % (self.last_s, self.number, digest[:16].encode())
        flags = flags_of(head)
        place = b"new/" + name if flags is None else b"cur/" + name + b":2," + flags
        self.box.batch.add(staged, Record(key, staged.size, digest, self.last_s * NS + self.number, place))
        self.box.count_copied(staged.size)

    def _skip(self, known: Record) -> None:
        """One that an earlier pass brought."""
        self.last_s = max(self.last_s, known.mtime_ns // NS)
        self.box.tally.known += 1
        self.box.tally.deleted_there += self.box.target.place_of(known) is None
        self.box.pace.meter.known_already(1, known.size)


def _check(parts: Parts, begun: int, reading: Reading) -> None:
    """That each octet of the file is accounted for, by another count than the reader's own."""
    if parts.octets != reading.octets or begun != reading.messages + reading.folder_data:
        raise OldHostError(f"its parts do not add up: {begun} messages, {parts}, against {reading}")
