#!/opt/mailhost/bin/python3 -I
"""smtpfront [OPTION...] ADDR PORT PROGRAM [ARG...] - one PROGRAM for each connection, with limits.

Like tcpserver, with a limit for each client address and PROXY headers from balancers. It starts no process for a
connection that it refuses. ``smtpfront.md`` is the man page.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable

from mailhost.system import proxy_protocol
from mailhost.system.connection_limits import ConnectionLimits

BACKLOG = 128
SESSIONS = 40
SPARE = 4  # our choice: places beyond the limits for this machine itself, so that a health check tells full from dead
UNREAD_S = 1200  # as long as qmail-smtpd waits for a client (timeoutsmtpd), also where other programs run before it
PENDING = 256  # our choice: connections that may wait for their PROXY header at the same time
LINES = 20  # our choice: log lines in one second about refused connections; the rest is counted
PAUSE_S = 0.5  # how long no connection is accepted after descriptors or processes ran out: retrying at once would spin
FULL = b"421 too many connections, try later (#4.3.2)\r\n"
CROWDED = b"421 too many connections from your address, try later (#4.7.0)\r\n"
FAILED = b"421 unable to start a session, try later (#4.3.0)\r\n"


def log(*words: object) -> None:
    """Write one line; a log that cannot be written does not stop mail."""
    with contextlib.suppress(OSError):
        os.write(2, (" ".join(map(str, ("smtpfront:", *words))) + "\n").encode("ascii", "replace"))


class Refusals:
    """Log lines about refused connections, at most LINES a second."""

    def __init__(self) -> None:
        self._second, self._lines = 0, 0

    def add(self, *words: object) -> None:
        """Log one, or count it."""
        now = int(time.monotonic())
        if now != self._second:
            if self._lines > LINES:
                log("turned away", self._lines - LINES, "more")
            self._second, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES:
            log(*words)


class Waiting:
    """A balancer's connection whose header is not complete."""

    def __init__(self, sock: socket.socket, peer: proxy_protocol.Client) -> None:
        self.sock, self.peer = sock, peer
        self.header = proxy_protocol.Header()
        self.until = time.monotonic() + proxy_protocol.HEADER_S


class Front:
    """The listener and its sessions. One thread; only the wait for events blocks."""

    def __init__(self, listener: socket.socket, options: argparse.Namespace) -> None:
        self._listener, self._argv = listener, options.program
        self._trusted = proxy_protocol.Trusted(tuple(options.proxy_from))
        self._limits = ConnectionLimits(options.sessions, options.per_address)
        self._spare = ConnectionLimits(  # counts all sessions too, for those that may use the spare places
            options.sessions + SPARE, options.per_address + SPARE
        )
        self._unread_ms = options.unread * 1000
        self._environ = {**os.environ, "PROTO": "TCP", "TCPLOCALHOST": options.local}
        self._selector = selectors.DefaultSelector()
        self._waiting: set[Waiting] = set()
        self._refusals = Refusals()
        self._resume_at: float | None = None
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def serve(self) -> None:
        """Accept connections until a signal ends the process; running sessions continue."""
        while True:
            for key, _ in self._selector.select(0.5 if self._waiting or self._resume_at is not None else None):
                work: Callable[[], None] = key.data
                work()
            now = time.monotonic()
            for waiting in [one for one in self._waiting if one.until < now]:
                self._drop(waiting, "no PROXY header in time")
            if self._resume_at is not None and self._resume_at < now:
                self._resume_at = None
                self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _pause(self, why: OSError) -> None:
        if self._resume_at is None:
            log("pause:", why.strerror)
            self._selector.unregister(self._listener)
            self._resume_at = time.monotonic() + PAUSE_S

    def _accept(self) -> None:
        try:
            sock, (ip, port, *_) = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as why:
            self._pause(why)
            return
        try:
            local_ip, local_port, *_ = sock.getsockname()
            # Without it a client that never reads its replies holds a session for ever.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._unread_ms)
        except OSError:
            sock.close()
            return
        peer = proxy_protocol.Client(proxy_protocol.normal(ip), port, proxy_protocol.normal(local_ip), local_port)
        if peer.ip not in self._trusted:
            self._enter(sock, peer)
        elif len(self._waiting) >= PENDING:
            self._refusals.add(peer.ip, "turned away: too many connections wait for their PROXY header")
            sock.close()
        else:
            waiting = Waiting(sock, peer)
            sock.setblocking(False)
            self._waiting.add(waiting)
            self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(waiting))
            self._read(waiting)

    def _read(self, waiting: Waiting) -> None:
        """Read more of the header; start the session when it is complete."""
        try:
            found = waiting.header.read(waiting.sock.fileno())
        except (proxy_protocol.ProxyError, OSError) as why:
            self._drop(waiting, str(why))
            return
        if found is None:
            return
        self._forget(waiting)
        waiting.sock.setblocking(True)
        if found.client is None:
            self._enter(waiting.sock, waiting.peer, balancer=waiting.peer.ip)
        else:
            self._enter(waiting.sock, found.client, balancer=waiting.peer.ip)

    def _forget(self, waiting: Waiting) -> None:
        self._waiting.discard(waiting)
        self._selector.unregister(waiting.sock)

    def _drop(self, waiting: Waiting, why: str) -> None:
        """Close without a reply: the peer is a balancer. A check that only opens the port is not logged."""
        self._forget(waiting)
        if why != proxy_protocol.NEVER_BEGAN:
            self._refusals.add(waiting.peer.ip, f"turned away: {why}")
        with contextlib.suppress(OSError):  # a close with unread input would send a reset
            waiting.sock.recv(4096)
        waiting.sock.close()

    def _enter(self, sock: socket.socket, client: proxy_protocol.Client, balancer: str = "") -> None:
        """Start a session or refuse it. A balancer that speaks for itself is exempt from the limit per address."""
        here = local(client.ip) and balancer in ("", client.ip)
        limits = self._spare if here else self._limits
        if limits.full:
            self._turn_away(sock, client, FULL, f"{limits.most} sessions are allowed")
        elif client.ip != balancer and limits.full_for(client.ip):
            self._turn_away(sock, client, CROWDED, f"{limits.most_each} sessions are allowed from one address")
        else:
            self._start(sock, client, balancer)

    def _turn_away(self, sock: socket.socket, client: proxy_protocol.Client, reply: bytes, why: str) -> None:
        self._refusals.add(client.ip, f"turned away: {why}")
        with sock, contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.send(reply)

    def _start(self, sock: socket.socket, client: proxy_protocol.Client, balancer: str) -> None:
        """Start PROGRAM with the connection on descriptors 0 and 1 and the environment of tcpserver."""
        environ = {
            **self._environ,
            "TCPREMOTEIP": client.ip,
            "TCPREMOTEPORT": str(client.port),
            "TCPLOCALIP": client.local_ip,
            "TCPLOCALPORT": str(client.local_port),
        }
        with sock:
            try:
                pid, ended = spawn(self._argv, environ, sock.fileno())
            except OSError as why:
                log(self._argv[0], why.strerror)
                with contextlib.suppress(OSError):
                    sock.send(FAILED)
                self._pause(why)
                return
        for limits in (self._limits, self._spare):
            limits.enter(client.ip)
        if not local(client.ip) or balancer not in ("", client.ip):  # health checks come every few seconds
            log(f"pid {pid} from {client.ip}" + (f" by {balancer}" if balancer else ""))
        self._selector.register(ended, selectors.EVENT_READ, lambda: self._ended(ended, pid, client.ip))

    def _ended(self, fd: int, pid: int, ip: str) -> None:
        self._selector.unregister(fd)
        os.close(fd)
        _, status = os.waitpid(pid, 0)
        for limits in (self._limits, self._spare):
            limits.leave(ip)
        if status:
            log("end", pid, "from", ip, "status", status)


def spawn(argv: list[str], environ: dict[str, str], fd: int) -> tuple[int, int]:
    """Start a program with ``fd`` as 0 and 1; returns its pid, and a descriptor that becomes readable at its end.

    Raises:
        OSError: no process or descriptor is available, or the program cannot be run.
    """
    actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to in (0, 1)]
    pid = os.posix_spawnp(argv[0], argv, environ, file_actions=actions, setsigdef=[signal.SIGPIPE])
    try:
        return pid, os.pidfd_open(pid)
    except OSError:  # no descriptor is left: a session that is neither counted nor waited for must not continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def local(ip: str) -> bool:
    """Whether the address is this machine's loopback."""
    return ip.startswith("127.") or ip == "::1"


def listen(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        OSError: the address cannot be bound.
    """
    host = "0.0.0.0" if host == "0" else host  # noqa: S104 - a mail server serves the open net
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def become(ids: str) -> None:
    """Become ``UID:GID``, irrevocably.

    Raises:
        OSError: the system refuses.
        ValueError: it is not of the form UID:GID, or a number is negative.
    """
    uid, gid = (int(number) for number in ids.split(":"))
    if min(uid, gid) < 0:
        raise ValueError(f"{ids} is not UID:GID: -1 would change nothing")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line.

    Raises:
        argparse.ArgumentError, SystemExit: it cannot be parsed.
        ValueError: PROGRAM is missing, a limit is below 1, or a network is invalid.
    """
    parser = argparse.ArgumentParser("smtpfront", allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--per-address", type=int, default=0)
    parser.add_argument("--proxy-from", action="append", default=[])
    parser.add_argument("--local", default="localhost")
    parser.add_argument("--unread", type=int, default=UNREAD_S)
    parser.add_argument("--ids")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    options.per_address = options.per_address or (options.sessions + 1) // 2
    if not options.program or min(options.sessions, options.per_address, options.unread) < 1:
        raise ValueError("PROGRAM is missing, or a limit is below 1")
    proxy_protocol.Trusted(tuple(options.proxy_from))
    return options


def main(argv: list[str]) -> int:
    """Exit codes: 100 misuse, 111 cannot listen or become UID:GID; otherwise a signal ends it."""
    try:
        options = arguments(argv)
    except (argparse.ArgumentError, ValueError) as why:
        log(why)
        return 100
    except SystemExit:
        return 100
    try:
        listener = listen(options.host, options.port)
        if options.ids:
            become(options.ids)
    except (OSError, ValueError, OverflowError) as why:
        log(f"{options.host}:{options.port}: {why}")
        return 111
    log("listening on port", listener.getsockname()[1])
    Front(listener, options).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
