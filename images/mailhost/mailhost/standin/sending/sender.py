"""The sender: when each delivery runs, what the journal and the log record. Source: Q-SEND-7..18.

Everything here runs on the event loop's thread; ``Work`` does what may block, in a pool of threads.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Coroutine

from mailhost.standin.delivery.remote import Remote
from mailhost.standin.delivery.report import Outcome, Report
from mailhost.standin.log import Log
from mailhost.standin.queue.format import Journal, QueueRecord, record_done, record_due, record_failed
from mailhost.standin.sending import bounce, retry
from mailhost.standin.sending.pending import Channel, Later, Message
from mailhost.standin.sending.pool import Pool
from mailhost.standin.sending.work import Gone, Work

RETRY_S = 60.0  # our choice: when a bounce or a removal that the queue's disk refused is tried again
POOL_WATCH_S = 0.02  # our choice: how long deliveries wait for a thread before one is added
_LETTERS = {True: b"L", False: b"R"}


class Sender:
    """Takes each accepted message to its delivery or bounce. Create it inside the running loop."""

    def __init__(self, work: Work, remote: Remote, log: Log) -> None:
        """Concurrency limits are read from ``work.controls`` once, as qmail-send does (Q-SEND-9)."""
        self._work, self._remote, self._log = work, remote, log
        limits = work.controls.concurrencylocal, work.controls.concurrencyremote
        self._channels = {True: Channel(True, limits[0]), False: Channel(False, limits[1])}
        self._pool = Pool(limits[0] + 2)
        self._watch: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._later = Later()
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._exiting = False
        self._idle = asyncio.Event()

    def add(self, record: QueueRecord) -> None:
        """Begin a message that was just accepted."""
        number = str(record.number)
        self._log.line("new msg ", number)
        self._log.line(
            "info msg ", number, ": bytes ", record.size, " from <", record.sender, "> qp ", number, " uid ", record.uid
        )
        self._begin(Message(record, Journal()))

    def resume(self, record: QueueRecord, journal: Journal) -> None:
        """Continue a message that was in the queue at start."""
        if journal.done or journal.due:
            self._begin(Message(record, journal, journaled=True))
        else:
            self.add(record)

    def flush(self) -> None:
        """ALRM: everything deferred is due now (Q-SEND-11)."""
        self._due(math.inf)

    async def drain(self) -> None:
        """TERM: start nothing more, wait for what runs (Q-SEND-12)."""
        self._exiting = True
        self._set_timer()
        self._status()
        self._check_idle()
        await self._idle.wait()
        self._pool.close()
        self._log.line("status: exiting")

    def _begin(self, message: Message) -> None:
        if message.finished:
            self._finish(message)
        for local, letter in _LETTERS.items():
            if message.undone(local):
                self._at(message.journal.due.get(letter, 0), message, local)

    def _at(self, due: float, message: Message, local: bool) -> None:
        if due <= time.time():
            self._start_pass(message, local)
        else:
            self._later.put(due, message, local)
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pause_s = self._later.pause_s()
        if pause_s is not None and not self._exiting:
            self._timer = self._loop.call_later(pause_s, self._due)

    def _due(self, until: float | None = None) -> None:
        for message, local in self._later.take(time.time() if until is None else until):
            self._start_pass(message, local)
        self._set_timer()

    def _start_pass(self, message: Message, local: bool) -> None:
        indexes = message.undone(local)
        message.open[local] = len(indexes)
        message.last[local] = retry.is_last(message.record.birth, time.time(), self._work.controls.queuelifetime)
        channel = self._channels[local]
        channel.waiting.extend((message, index) for index in indexes)
        self._pump(channel)

    def _pump(self, channel: Channel) -> None:
        while channel.waiting and channel.running < channel.limit and not self._exiting:
            self._start(channel, *channel.waiting.popleft())

    def _start(self, channel: Channel, message: Message, index: int) -> None:
        number = next(self._numbers)
        record, address = message.record, message.record.recipients[index].address
        self._log.line("starting delivery ", number, ": msg ", record.number, f" to {channel.name} ", address)
        channel.running += 1
        self._status()
        sender = bounce.envelope_sender(record.sender, address)
        if channel.local:
            self._pool.submit(lambda: self._deliver(number, message, index, sender))
            self._watch_pool()
        else:
            self._task(self._send(number, message, index, sender))

    def _deliver(self, number: int, message: Message, index: int, sender: bytes) -> None:
        """On a thread of the pool."""
        try:
            report = self._local(message, index, sender)
        except Exception as error:  # a fault of our own must not end the thread: its message would be lost
            report = _trouble(error)
        self._loop.call_soon_threadsafe(self._ended, number, message, index, report)

    def _local(self, message: Message, index: int, sender: bytes) -> Report | None:
        address = message.record.recipients[index].address
        return self._work.local(message.record, sender, address, journal=message.journaled)

    def _watch_pool(self) -> None:
        """Check at intervals whether the pool needs more threads, as long as deliveries wait in it."""
        if self._watch is None:
            self._watch = self._loop.call_later(POOL_WATCH_S, self._look_at_pool)

    def _look_at_pool(self) -> None:
        self._watch = None
        if self._pool.stretch():
            self._watch_pool()

    async def _send(self, number: int, message: Message, index: int, sender: bytes) -> None:
        address = message.record.recipients[index].address
        try:
            report = await self._work.remote(message.record, self._remote, sender, address)
        except Exception as error:  # a fault of our own must not take a slot of the channel for ever
            report = _trouble(error)
        self._ended(number, message, index, report)

    def _task(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.line(f"alert: a task of the sender died: {error!r}")
        self._check_idle()

    def _ended(self, number: int, message: Message, index: int, report: Report | None) -> None:
        channel = self._channels[message.record.recipients[index].local]
        channel.running -= 1
        message.open[channel.local] -= 1
        if report is None:
            self._deleted(number, message, index)
        else:
            self._judge(number, message, index, report)
        self._status()
        if message.finished:
            self._finish(message)
        elif not message.open[channel.local] and message.undone(channel.local):
            self._again(message, channel.local)
        self._pump(channel)
        self._check_idle()

    def _deleted(self, number: int, message: Message, index: int) -> None:
        self._log.line("delivery ", number, ": deferral: ", b"Deleted from the queue.\n")
        message.removed = True
        message.journal.done.add(index)
        message.journal.failed.clear()

    def _judge(self, number: int, message: Message, index: int, report: Report) -> None:
        """Log the end of a delivery; record it unless it is to be tried again."""
        local = message.record.recipients[index].local
        if report.outcome is Outcome.DEFERRAL and message.last[local]:
            report = Report.of(Outcome.FAILURE, report.text + retry.GIVEN_UP, report.cause)
        if report.cause:
            self._log.line("warning: delivery ", number, ": ", report.cause)
        self._log.line("delivery ", number, f": {report.outcome.value}: ", report.text)
        if report.outcome is Outcome.DEFERRAL:
            return
        message.journal.done.add(index)
        sole = len(message.record.recipients) == 1
        if report.outcome is Outcome.FAILURE:
            message.journal.failed[index] = report.text
            self._record(message, record_failed(index, report.text))
        elif sole and local and not report.queued:
            message.removed = True
        elif not message.finished or message.journal.failed or report.queued:
            self._record(message, record_done(index))

    def _again(self, message: Message, local: bool) -> None:
        due = retry.next_try(message.record.birth, time.time(), local=local)
        self._record(message, record_due(local, due))
        self._at(due, message, local)

    def _record(self, message: Message, line: bytes) -> None:
        """Write the journal. A failure only costs repeated deliveries after a crash, so it does not stop this one."""
        message.journaled = True
        try:
            self._work.queue.add_to_journal(message.record.number, line)
        except OSError as error:
            self._log.line("warning: unable to write the journal of msg ", message.record.number, f": {error.strerror}")

    def _finish(self, message: Message) -> None:
        if message.journal.failed and not message.removed:
            self._task(self._bounce(message))
        else:
            self._remove(message)

    async def _bounce(self, message: Message) -> None:
        number = message.record.number
        try:
            bounced = await asyncio.to_thread(self._work.bounce, message.record, message.failures())
        except Gone:
            message.removed = True
        except Exception as error:  # the disk failed, or no thread is available: the sender must get the bounce later
            self._log.line("warning: unable to queue the bounce of msg ", number, f": {_why(error)}; trying later")
            self._loop.call_later(RETRY_S, self._finish_later, message)
            return
        else:
            if bounced is None:
                self._log.line("triple bounce: discarding bounce/", number)
            else:
                self._log.line("bounce msg ", number, " qp ", bounced)
            message.journal.failed.clear()  # bounced: if the removal fails, it must not bounce again
        self._remove(message)

    def _finish_later(self, message: Message) -> None:
        if not self._exiting:
            self._finish(message)

    def _remove(self, message: Message) -> None:
        try:
            if not message.removed:
                self._work.queue.remove(message.record.number)
        except OSError as error:
            self._log.line("alert: unable to remove msg ", message.record.number, f": {_why(error)}; trying later")
            self._loop.call_later(RETRY_S, self._finish_later, message)
            return
        self._log.line("end msg ", message.record.number)

    def _status(self) -> None:
        local, remote = self._channels[True], self._channels[False]
        text = f"status: local {local.running}/{local.limit} remote {remote.running}/{remote.limit}"
        self._log.line(text + (" exitasap" if self._exiting else ""))

    def _check_idle(self) -> None:
        running = any(channel.running for channel in self._channels.values())
        if self._exiting and not running and not self._tasks:
            self._idle.set()


def _trouble(error: Exception) -> Report:
    return Report.of(Outcome.DEFERRAL, f"Internal trouble: {error!r}. (#4.3.0)\n".encode("utf-8", "replace"))


def _why(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
