"""What must be done for one mailbox, from what the old host has, what we copied before, and what the new host has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import uid_of
from popbox.migrate.copy.mbox import MboxCopy
from popbox.migrate.copy.work import BoxWork, Job
from popbox.migrate.oldhost.mboxes.survey import Choice
from popbox.migrate.oldhost.stores import Contents, Message
from popbox.migrate.oldhost.tree import Body, FileRequest, OldHostError


class BoxCopy(BoxWork):
    """The copying of one mailbox. ``jobs`` does what needs no reading and gives what does."""

    def jobs(self, contents: Contents, choice: Choice, index: bytes | OldHostError | None = None) -> Iterator[Job]:
        """Yield a job for each file to be read; ``index``: what lies beside an mbox, or why it cannot be read.

        Raises:
            OSError: the new host's disk refuses a write.
        """
        if contents.mbox is not None:
            yield from self._mbox(contents.mbox, choice, index)
            return
        olds = keyed(contents.messages)
        if self.final and contents.whole:
            self._follow(olds)
        self.ours = {uid_of(record.place) for record in self.target.journal.records.values()}
        for key, message in olds.items():
            record = self.target.journal.records.get(key)
            if record is None:
                yield Job(FileRequest(message.path, message.entry), self._taker(key, message))
            else:
                self.tally.known += 1
                self.tally.deleted_there += self.target.place_of(record) is None
                self.pace.meter.known_already(1, message.entry.size)

    def _follow(self, olds: dict[bytes, Message]) -> None:
        """Do to our messages what the old host did to its own since: moved, deleted, or changed."""
        for record in list(self.target.journal.records.values()):
            old = olds.get(record.key)
            if old is None or old.entry.size != record.size:
                self.tally.removed += self.target.remove(record)
            elif (place := old.sub + b"/" + old.name) != record.place and self.target.move(record, place):
                self.tally.moved += 1
        self.target.sync_directories()

    def _taker(self, key: bytes, message: Message) -> Callable[[Body], None]:
        return lambda body: self._message(key, message, body)

    def _message(self, key: bytes, message: Message, body: Body) -> None:
        """Copy one message; it is placed with its batch."""
        self.pace.files.take(1)
        staged = self.batch.stage(self.target)
        try:
            for chunk in self.pace.slowed(body):
                staged.write(chunk)
            place = message.sub + b"/" + message.name
            record = Record(key, staged.size, staged.sha256, message.entry.mtime_ns, place)
            if staged.size != message.entry.size:
                self.put_off(message.path, f"{staged.size} octets came, {message.entry.size} were announced")
                staged.drop()
            elif self.is_there(record, message.uid):
                staged.drop()
            else:
                self.ours.add(message.uid)
                self.batch.add(staged, record)
                self.count_copied(staged.size)
        except BaseException:
            staged.drop()
            raise

    def _mbox(self, wanted: FileRequest, choice: Choice, index: bytes | OldHostError | None) -> Iterator[Job]:
        """The whole mbox, unless it and its index are as they were when it was converted to its end."""
        mbox = MboxCopy(self, wanted, choice, index)
        if self.target.journal.converted == mbox.state:
            self.tally.known += len(self.target.journal.records)
            self.pace.meter.known_already(0, wanted.entry.size)
            return
        yield Job(wanted, mbox.convert)


def keyed(messages: list[Message]) -> dict[bytes, Message]:
    """Messages by UIDL, oldest first; a second one of the same UIDL is ``UIDL:1``, which no UIDL can be."""
    found: dict[bytes, Message] = {}
    for message in sorted(messages, key=lambda m: (m.entry.mtime_ns, m.sub, m.name)):
        first = message.known_as or message.uid
        key, number = first, 0
        while key in found:
            number += 1
            key = first + b":%d" % number
        found[key] = message
    return found
