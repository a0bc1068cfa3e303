"""``mailhost serve pop3`` as processes: bind, drop root, fork workers, say so, serve; HUP reloads, TERM drains."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mailhost.pop3.auth import root_helper
from mailhost.pop3.auth.passdb import PassdbError, Source
from mailhost.pop3.options import Address, Options
from mailhost.pop3.server.event_loop import Loop
from mailhost.pop3.server.hardening import harden, raise_descriptor_limit
from mailhost.pop3.server.metrics import Counters
from mailhost.pop3.server.supervisor import SIGNALS, supervise
from mailhost.pop3.server.worker import Server, Sockets
from mailhost.system import pem, privileges
from mailhost.system.pem import WATCH_S

if TYPE_CHECKING:
    import ssl

BACKLOG = 1024
Reload = Callable[[bool, Callable[[bool], None]], None]
Renewal = tuple["ssl.SSLContext | None", tuple[bool, bool]]
"""A certificate, and what else new sessions are offered."""


def bind(address: Address) -> socket.socket:
    """A listening socket with TCP_NODELAY, which accepted sockets inherit: a reply is one write and leaves at once.

    Raises:
        OSError: the address is taken, or not this host's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:  # [::] beside 0.0.0.0; throttle and proxy see no mapped IPv4 address
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def announce(sockets: Sockets) -> None:
    """The lines a supervisor waits for: ``listening pop3 127.0.0.1:41235``."""
    named = [("pop3", sock) for sock in sockets.plain] + [("pop3s", sock) for sock in sockets.secure]
    if sockets.status is not None:
        named.append(("metrics", sockets.status))
    for name, sock in named:
        host, port = sock.getsockname()[:2]
        print(f"listening {name} {f'[{host}]' if ':' in host else host}:{port}", flush=True)


def load_tls(options: Options, source: Source | None = None) -> ssl.SSLContext | None:
    """The certificate, where one is given; by the root helper, where that is the ``source``.

    Raises:
        OSError: it cannot be used.
    """
    if options.cert is None:
        return None
    with contextlib.suppress(PermissionError):  # the helper may read what is hidden from us
        options.cert.stat()  # before ssl is loaded: 4 MB that a host without a certificate saves
    from mailhost.pop3.server.tls import load_texts
    from mailhost.system.tls import server_context

    if isinstance(source, root_helper.HelperClient):
        return load_texts(source.pem())
    return server_context(options.cert, options.key)


def first_tls(options: Options) -> ssl.SSLContext | None:
    """The certificate at the start. Where there is a plain port too, an unusable one is reported and waited for.

    Raises:
        OSError: it cannot be used, and without it there is nothing to serve.
    """
    try:
        return load_tls(options)
    except OSError as error:
        why = pem.why_unusable(_files(options), error)
        if not options.listen:
            raise OSError(why) from error
        what = "no TLS until it comes" if isinstance(error, FileNotFoundError) else "no TLS until this is mended"
        print(f"mailhost serve pop3: {what}: {why}", file=sys.stderr, flush=True)
        return None


def _files(options: Options) -> tuple[Path, ...]:
    return tuple(path for path in (options.cert, options.key) if path is not None)


def newest_tls(options: Options, source: Source | None, earlier: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """The certificate as it is now, for a worker that replaces one after a HUP; otherwise the first one."""
    with contextlib.suppress(OSError):
        return load_tls(options, source)
    return earlier


def run(options: Options) -> int:
    """Serve until TERM; the exit code is 0, or 111 when the root helper died and the server must be started again.

    Raises:
        OSError: an address cannot be bound, a certificate cannot be used, or root cannot be given up.
    """
    tls = first_tls(options)  # before root goes: keys are often readable by root alone
    sockets = Sockets(
        tuple(bind(address) for address in options.listen),
        tuple(bind(address) for address in options.tls_listen),
        bind(options.metrics) if options.metrics else None,
    )
    raise_descriptor_limit()
    gc.collect()  # before the forks: each child would do it, and copy the pages of all that is imported
    gc.freeze()
    sources: list[Source | None] = [None] * options.workers
    if os.geteuid() == 0:
        users, files = options.home / "users", _files(options)
        sources = [*root_helper.start(users, options.workers, upgrade=options.upgrade_hashes, pem=files)]
        uid, gid, _ = privileges.account()
        privileges.become(uid, gid)
    harden()
    counters = Counters(options.workers)

    def start(worker: int) -> Server:
        mine = sockets if worker == 0 else Sockets(sockets.plain, sockets.secure)
        source = sources[worker]
        return prepare(Server(options, mine, counters, worker, source, newest_tls(options, source, tls)), source)

    if options.workers == 1:
        server = start(0)
        announce(sockets)
        if isinstance(sources[0], root_helper.HelperClient):
            watch_helper(server, sources[0])
        server.serve()
        return 111 if server.orphaned else 0

    def stop() -> None:
        for sock in (*sockets.plain, *sockets.secure):
            sock.close()

    helper = sources[0].pid if isinstance(sources[0], root_helper.HelperClient) else 0

    def serve(worker: int) -> None:
        start(worker).serve()

    return supervise(options.workers, serve, lambda: announce(sockets), counters.died, stop, helper)


def prepare(server: Server, source: Source | None) -> Server:
    """Let signals reach a worker: from here on HUP reloads it and TERM drains it."""

    def read() -> Renewal:
        try:
            return load_tls(server.options, source), server.offers()
        except OSError as error:  # half a renewal, or a key that this uid must not read: the old one goes on
            files = _files(server.options)
            named = f"{' and '.join(map(str, files))}: {error}"  # root reads them: who may read is not to be asked
            raise PassdbError(named if source else pem.why_unusable(files, error)) from error

    def reload(again: bool = False, done: Callable[[bool], None] = lambda _: None) -> None:
        """In the thread that may wait for the root helper, and for disks; ``done`` is told whether it worked."""

        def got(answer: Renewal | PassdbError) -> None:
            if not isinstance(answer, PassdbError):
                server.reload(*answer)
            elif not again:
                server.log.line("certificate not reloaded", error=str(answer))
            done(not isinstance(answer, PassdbError))

        server.passdb.ask(read, got)

    server.loop.heed_signals()
    signal.signal(signal.SIGHUP, lambda *_: server.loop.post(reload))
    if server.options.cert is not None:
        watch_certificate(server.loop, server.options.cert, server.options.key, reload, loaded=server.tls is not None)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: server.loop.post(server.drain))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return server


def watch_helper(server: Server, helper: root_helper.HelperClient) -> None:
    """End the one worker when its helper does; several are ended by their parent (``supervisor.py``)."""

    def gone(_: int) -> None:
        server.loop.remove(helper.fileno())
        server.orphan()

    server.loop.add(helper.fileno(), select.EPOLLHUP, gone)


def watch_certificate(loop: Loop, cert: Path, key: Path | None, reload: Reload, *, loaded: bool) -> None:
    """Read a renewed certificate without a HUP.

    ``reload(again, done)`` tells ``done`` whether it was read. If not it is tried again: the renewal may be half done,
    or there was no descriptor to read it with.
    """

    def look(before: object, loaded: bool) -> None:
        now = pem.marks(cert, key)
        if now != before or not loaded:
            reload(now == before, partial(again, now))
        else:
            again(now, loaded)

    def again(now: object, loaded: bool) -> None:
        loop.later(WATCH_S, partial(look, now, loaded))

    def begin() -> None:
        look(pem.marks(cert, key), loaded)

    begin() if loaded else loop.later(WATCH_S, begin)
