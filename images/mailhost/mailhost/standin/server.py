"""``mailhost serve standin``: bind, give up root, take the lock, serve until TERM. Source: Q-SEND-7..12."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import importlib
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from mailhost.qmail.control import ControlError, Controls, Line, Reader, Table, load
from mailhost.standin import alarm
from mailhost.standin.delivery.remote import Relays, Remote, Sink
from mailhost.standin.delivery.report import because
from mailhost.standin.event_loop import factory
from mailhost.standin.interfaces import addresses
from mailhost.standin.log import Log
from mailhost.standin.options import Options
from mailhost.standin.queue.format import QueueRecord
from mailhost.standin.queue.group_commit import Committer
from mailhost.standin.queue.store import Queue, make, open_lock
from mailhost.standin.sending.resume import Resumption
from mailhost.standin.sending.sender import Sender
from mailhost.standin.sending.work import Work
from mailhost.standin.smtp.connection import Connection, Reception
from mailhost.standin.smtp.policy import Policies
from mailhost.system import pem, tls
from mailhost.system.connection_limits import ConnectionLimits
from mailhost.system.open_files import limit, with_limit
from mailhost.system.pem import WATCH_S, Marks, marks
from mailhost.system.privileges import become
from mailhost.system.proxy_protocol import Trusted

LOCK = "queue/lock/sendmutex"
CANNOT = "alert: cannot start: "
BACKLOG = 128
HELD = (signal.SIGHUP, signal.SIGALRM)
DELIVERY_DESCRIPTORS = 1024  # 120 local and 120 remote deliveries at most, four files each, and our own
LEAST_DESCRIPTORS = 32  # our choice: 19 of an idle one, a session, a delivery, and some to spare
CLOSE_S = 2.0  # our choice: a peer that does not read its 421 is cut off after this
_LATER = ("concurrent.futures.thread", "encodings.idna", "uvloop")
_SENDING = (
    "aiosmtplib", "dns.asyncresolver", "dns._asyncio_backend",
    "dns.rdtypes.ANY.MX", "dns.rdtypes.ANY.CNAME", "dns.rdtypes.ANY.SOA", "dns.rdtypes.IN.A", "dns.rdtypes.IN.AAAA",
)  # fmt: skip


class CannotStart(Exception):
    """The server cannot start; the text is the reason for the log."""


def serve(options: Options, log: Log) -> int:
    """Run until TERM or INT. Returns the exit code: 0 ended by a signal, 111 could not start."""
    with signals_held():
        return _serve(options, log)


def _serve(options: Options, log: Log) -> int:
    try:
        listener = bind(options.listen)
        tls = first_context(options, log)
        allow_descriptors(options.sessions)
        root, lock = prepare(options)
        controls = read_controls(options.home)
        remote = remote_delivery(options, controls)
    except (CannotStart, OSError) as error:
        log.line(CANNOT, with_limit(str(error)))
        return 111
    os.umask(0o077)
    try:
        with listener, asyncio.Runner(loop_factory=factory()) as runner:
            return runner.run(_Server(options, controls, log, lock).run(listener, root, tls, remote))
    except OSError as error:
        log.line(CANNOT, with_limit(because(error)))
        return 111


def bind(address: tuple[str, int]) -> socket.socket:
    """The listening socket; a port below 1024 needs root.

    Raises:
        CannotStart: the address is in use, not of this host, or not permitted.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotStart(f"unable to listen on {host}:{port}: {error.strerror}") from error
    return listener


def prepare(options: Options) -> tuple[Path, int]:
    """Make the queue, give up root, take the lock; returns the queue's root, and the lock's descriptor.

    Raises:
        CannotStart: the queue cannot be made or used, or another sender holds the lock.
    """
    as_root = os.geteuid() == 0
    try:
        root = make(options.home, options.ids if as_root else None)
        fd = open_lock(options.home, options.ids if as_root else None)
        if as_root:
            preload(options)
            become(*options.ids)
    except OSError as error:
        raise CannotStart(f"unable to use {error.filename or options.home}: {error.strerror}") from error
    try:
        # Held until the process ends; the descriptor is never closed on purpose.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CannotStart(f"{LOCK} is held: another sender is already running") from error
    return root, fd


def tls_context(options: Options) -> ssl.SSLContext | None:
    """The certificate's context, read before root is given up; None: STARTTLS is off.

    Raises:
        CannotStart: the certificate or its key cannot be used.
    """
    if options.certificate is None:
        return None
    try:
        return tls.server_context(options.certificate, options.key)
    except OSError as error:
        why = pem.why_unusable(filter(None, (options.certificate, options.key)), error)
        raise CannotStart(f"unable to use certificate: {why}") from error


def first_context(options: Options, log: Log) -> ssl.SSLContext | None:
    """The certificate at start. One that cannot be used is logged; mail is accepted without STARTTLS until it can."""
    try:
        return tls_context(options)
    except CannotStart as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        log.line(
            f"status: {error}; no STARTTLS until it exists"
            if missing
            else f"alert: {error}; no STARTTLS until this is repaired"
        )
        return None


def allow_descriptors(sessions: int) -> None:
    """Raise the limit of open files, as far as allowed: a session may hold a socket and a file, a delivery four.

    Raises:
        CannotStart: it stays so low that no message could be taken and delivered.
    """
    needed = 2 * sessions + DELIVERY_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))
    if 0 <= limit() < LEAST_DESCRIPTORS:
        raise CannotStart(f"too few files may be open: ulimit -n is {limit()}, at least {LEAST_DESCRIPTORS} are needed")


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Block HUP and ALRM until their handlers exist, so that a signal that arrives at start is not lost.

    At the end pending ones are discarded and the caller's mask is restored. Child processes inherit the mask.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        while signal.sigtimedwait(HELD, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def remote_delivery(options: Options, controls: Controls) -> Remote:
    """Where remote mail goes.

    Raises:
        OSError: the sink could not be made.
    """
    if options.sink is not None:
        return Sink(options.sink)
    return Relays(controls, mx=options.remote == "mx")


def preload(options: Options) -> None:
    """Import what is usually imported at first use, because popuser may not be able to read root's Python files.

    What sends mail on is half of all modules, and not needed where no mail leaves this host, neither by MX nor by a
    route; routes are read at the start only.
    """
    by_route = os.path.lexists(options.home / "control/smtproutes")
    sends = options.sink is None and (options.remote == "mx" or by_route)
    for name in (*_LATER, *(_SENDING if sends else ())):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def read_controls(home: Path) -> Controls:
    """The control files that the sending side reads at start (Q-SEND-7).

    Raises:
        CannotStart: one cannot be read, or neither me nor locals exists.
    """
    try:
        controls = load(home, Reader.SEND | Reader.REMOTE)
    except ControlError as error:
        raise CannotStart(f"unable to read controls: {error}") from error
    if controls.locals is None:
        raise CannotStart("unable to read controls: neither control/me nor control/locals exists")
    return controls


def reread(controls: Controls) -> Controls:
    """HUP: read locals and virtualdomains again and keep all the rest, also ``me`` (Q-SEND-9, E-16).

    Raises:
        ControlError: one of them cannot be read.
    """
    fresh = load(controls.home, Reader.SEND)
    locals_ = fresh.locals
    if locals_ is None or locals_.file == "control/me":
        me = controls.me
        locals_ = Table("control/me", (Line(me, b"", 1),) if me is not None else ())
    return dataclasses.replace(controls, locals=locals_, virtualdomains=fresh.virtualdomains)


class _Server:
    """The running server, on one event loop."""

    def __init__(self, options: Options, controls: Controls, log: Log, lock: int) -> None:
        self._options, self._controls, self._log, self._lock = options, controls, log, lock
        self._stop = asyncio.Event()

    async def run(self, listener: socket.socket, root: Path, tls: ssl.SSLContext | None, remote: Remote) -> int:
        loop = asyncio.get_running_loop()
        alarm.watch(loop, self._log)
        queue = Queue(root)
        committer = Committer(queue)
        work = Work(
            self._options.home, queue, committer, self._controls, self._arrived, programs=self._options.programs
        )
        self._work, self._loop = work, loop
        self._sender = Sender(work, remote, self._log)
        self._reception = self._receive(queue, committer, work, tls)
        self._handle_signals()
        if self._options.certificate is not None:
            self._watch_certificate(marks(self._options.certificate, self._options.key))
        Resumption(queue, self._sender, self._log).begin()
        server = await loop.create_server(lambda: Connection(self._reception), sock=listener)
        host, port = listener.getsockname()[:2]
        print(f"listening smtp {f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await self._stop.wait()
        self._reception.closing = True
        server.close()
        await self._end_sessions()
        await self._sender.drain()
        committer.close()
        queue.close()
        return 0

    def _arrived(self, record: QueueRecord) -> None:
        self._loop.call_soon_threadsafe(self._sender.add, record)

    def _receive(self, queue: Queue, committer: Committer, work: Work, tls: ssl.SSLContext | None) -> Reception:
        return Reception(
            Policies(self._options.home), queue, committer, work, self._sender.add, self._log, addresses(),
            os.getuid(), ConnectionLimits(self._options.sessions, self._options.sessions_each), tls, set(),
            Trusted(self._options.proxy_from),
        )  # fmt: skip

    def _handle_signals(self) -> None:
        self._loop.add_signal_handler(signal.SIGHUP, self._reread)
        self._loop.add_signal_handler(signal.SIGALRM, self._sender.flush)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def _reread(self) -> None:
        began_ns = time.time_ns()
        try:
            self._work.controls = reread(self._work.controls)
        except ControlError as error:
            self._log.line("alert: unable to reread ", error.file)  # the old tables stay (Q-SEND-10)
            return
        with contextlib.suppress(OSError):  # another user's file: who waits for this waits as for qmail-send
            os.utime(self._lock, ns=(began_ns, began_ns))

    def _watch_certificate(self, before: Marks) -> None:
        now, tls = marks(self._options.certificate, self._options.key), self._reception.tls
        self._loop.call_later(WATCH_S, self._watch_certificate, now)  # first: no error below may end the watch
        if tls is None:
            with contextlib.suppress(CannotStart):  # logged at start; a repair need not change dates and sizes
                self._reception.tls = tls_context(self._options)
                self._log.line("status: certificate can be used now")
        elif now != before:
            try:  # a context of its own: in the old one a key of another kind would stand beside the old key
                self._reception.tls = tls_context(self._options)
                self._log.line("status: certificate renewed")
            except CannotStart as error:
                self._log.line(f"alert: {error}; the old certificate stays")

    async def _end_sessions(self) -> None:
        for connection in list(self._reception.connections):
            connection.shut()
        deadline = self._loop.time() + CLOSE_S
        while self._reception.connections:
            await asyncio.sleep(0.01)
            if self._loop.time() > deadline:
                for connection in list(self._reception.connections):
                    connection.cut()
