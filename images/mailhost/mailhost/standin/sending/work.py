"""The disk work of a delivery, off the event loop: open the message, deliver it, queue forwards and bounces."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mailhost.qmail.control import Controls
from mailhost.qmail.rewrite import Local, rewrite
from mailhost.standin.delivery import local
from mailhost.standin.delivery.assignment_cache import AssignmentCache
from mailhost.standin.delivery.remote import Remote
from mailhost.standin.delivery.report import Outcome, Report
from mailhost.standin.queue.format import QueueRecord, Recipient
from mailhost.standin.queue.group_commit import Committer
from mailhost.standin.queue.message_reader import Stored
from mailhost.standin.queue.store import Queue, Trace
from mailhost.standin.sending import bounce
from mailhost.system.durable import shut

UNREADABLE = b"Unable to read the message in the queue. (#4.3.0)\n"
Arrived = Callable[[QueueRecord], None]


class Gone(Exception):
    """The message is no longer in the queue: an operator deleted it."""


def routed(controls: Controls, recipients: Iterable[bytes]) -> tuple[Recipient, ...]:
    """Where each recipient goes, by the current control files; the queue keeps it with the message (Q-SEND-6)."""
    results = (rewrite(controls, recipient) for recipient in recipients)
    return tuple(Recipient(isinstance(result, Local), result.address) for result in results)


class Work:
    """Shared by all worker threads; HUP replaces ``controls`` as a whole."""

    def __init__(
        self, home: Path, queue: Queue, committer: Committer, controls: Controls, arrived: Arrived, *, programs: bool
    ) -> None:
        """``arrived`` gets the messages that deliveries queue; it may be called from any thread."""
        self.controls = controls
        self.queue = queue
        self._committer, self._arrived = committer, arrived
        self._place = local.Place(self._forward, AssignmentCache(home), programs, controls.defaultdelivery)

    def route(self, recipients: Iterable[bytes]) -> tuple[Recipient, ...]:
        """See ``routed``."""
        return routed(self.controls, recipients)

    def local(self, record: QueueRecord, sender: bytes, address: bytes, *, journal: bool = True) -> Report | None:
        """One local delivery; None when the message is gone. Success of a sole recipient removes the message."""
        try:
            fd = self.queue.open(record.number)
        except FileNotFoundError:
            return None
        except OSError:
            return Report(Outcome.DEFERRAL, UNREADABLE)
        try:
            report = local.deliver(self._place, sender, address, Stored(fd, record.offset))
        except OSError:
            return Report(Outcome.DEFERRAL, UNREADABLE)
        finally:
            shut(fd)
        if report.outcome is Outcome.SUCCESS and len(record.recipients) == 1:
            try:
                self.queue.remove(record.number, journal=journal)
            except OSError:  # it is delivered: another try would deliver it twice
                return dataclasses.replace(report, queued=True)
        return report

    async def remote(self, record: QueueRecord, via: Remote, sender: bytes, address: bytes) -> Report | None:
        """One remote delivery; None when the message is gone."""
        try:
            fd = await asyncio.to_thread(self.queue.open, record.number)
        except FileNotFoundError:
            return None
        except OSError:
            return Report(Outcome.DEFERRAL, UNREADABLE)
        try:
            return await via.send(sender, address, await asyncio.to_thread(Stored, fd, record.offset))
        except OSError:
            return Report(Outcome.DEFERRAL, UNREADABLE)
        finally:
            shut(fd)

    def bounce(self, record: QueueRecord, failures: list[tuple[bytes, bytes]]) -> int | None:
        """Queue the bounce of a finished message; returns its number, or None for a triple bounce.

        Raises:
            Gone: the message is no longer in the queue.
            OSError: the message cannot be read, or its bounce not stored.
        """
        what = bounce.build(self.controls, record.sender, failures, time.time())
        if what is None:
            return None
        try:
            fd = self.queue.open(record.number)
        except FileNotFoundError as error:
            raise Gone from error
        try:
            message = Stored(fd, record.offset)
            return self._hand_in(what.sender, (what.recipient,), b"for bounce", what.head, message)
        finally:
            shut(fd)

    def _forward(self, sender: bytes, recipients: tuple[bytes, ...], head: bytes, message: Stored) -> int:
        return self._hand_in(sender, recipients, b"by uid %d" % os.getuid(), head, message)

    def _hand_in(self, sender: bytes, recipients: tuple[bytes, ...], who: bytes, head: bytes, message: Stored) -> int:
        """Queue a new message: ``head``, then a copy of ``message``. Returns its number, or raises OSError."""
        draft = self.queue.draft(sender, self.route(recipients), Trace(who, os.getuid()))
        draft.write(head)
        for piece in message.pieces():
            draft.write(piece)
        record = self._committer.store(draft)
        self._arrived(record)
        return record.number
