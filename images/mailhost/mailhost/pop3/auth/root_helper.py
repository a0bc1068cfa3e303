"""The helper that stays root: one row or secret at a time, over a socket pair, to workers that are popuser.

After a HUP it hands them certificate and key too, which are often for root alone to read.

Each message is a tag, a verb octet, the login's length and the login; the answer repeats them, so that the successor of
a dead worker does not take an old answer for its own. Then ``+`` and fields, ``-`` for none, ``!`` where it cannot tell
or the question is malformed. It ends when all workers have gone: the kernel then says so on its channels. (A signal at
its parent's death would not come: the parent has given up root by then and may not send one.)
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from pathlib import Path

from mailhost.pop3.auth.passdb import LOGIN_OCTETS, Files
from mailhost.poppasswd.file import Row
from mailhost.system.reading import read_given

TAG_OCTETS = 8
PEM_OCTETS = 60_000
"""Certificate chain and key together; usual ones have 2,000 to 8,000 octets."""
QUESTION_OCTETS = 4_096
_ANSWER_OCTETS = 65_536
ANSWER_S = 3.0
"""How long an answer may take (our choice): a look-up takes microseconds, a program is only started."""

LATE_S = 0.2
"""The wait after an answer that did not come, so that a queue of questions does not wait for the sum."""

_ROW, _APOP, _SCRAM, _HOLDS, _UPGRADE, _PEM, _TEMPORARY = b"r", b"a", b"s", b"h", b"u", b"p", b"t"
_VERBS = {b"apop": _APOP, b"scram": _SCRAM, b"temporary": _TEMPORARY}
_KINDS = {verb: kind for kind, verb in _VERBS.items()}


class HelperClient:
    """The unprivileged end: a ``passdb.Source``."""

    def __init__(self, channel: socket.socket, pid: int = 0) -> None:
        """``pid``: the process id of the other end."""
        self._channel, self.pid = channel, pid
        self._late = False

    def fileno(self) -> int:
        """The channel: it hangs up when the helper has gone."""
        return self._channel.fileno()

    def row(self, login: bytes) -> Row | None:
        """See ``passdb.Source``."""
        fields = self._ask(_ROW, login)
        return None if fields is None else Row(fields[0], fields[1], fields[2], fields[3])

    def secret(self, login: bytes, kind: bytes) -> bytes | None:
        """See ``passdb.Source``."""
        fields = self._ask(_VERBS[kind], login)
        return None if fields is None else fields[0]

    def holds(self, kind: bytes) -> bool:
        """See ``passdb.Source``."""
        return self._ask(_HOLDS, kind) is not None

    def upgrade(self, login: bytes, password: bytes) -> None:
        """See ``passdb.Source``."""
        self._ask(_UPGRADE, login, password)

    def pem(self) -> list[bytes]:
        """The text of the certificate file and, where there is one, of the key file, as they are now.

        Raises:
            OSError: one cannot be read, or is longer than any certificate.
        """
        return self._ask(_PEM, b"") or []

    def _ask(self, verb: bytes, *asked: bytes) -> list[bytes] | None:
        if max(map(len, asked)) > LOGIN_OCTETS:
            return None
        question = _tag() + verb + pack(list(asked))
        answer = self._exchange(question)
        verdict, fields = answer[len(question) : len(question) + 1], answer[len(question) + 1 :]
        if verdict == b"!" and verb == _PEM:
            raise OSError("root cannot read it, or it is longer than any certificate")
        if verdict == b"!":
            raise OSError("the root helper cannot use the file, or the line of this login; `mailhost lint` says why")
        return unpack(fields) if verdict == b"+" else None

    def _exchange(self, question: bytes) -> bytes:
        """The answer to this very question; earlier ones may have been left by a worker that died, or came too late."""
        until = time.monotonic() + (LATE_S if self._late else ANSWER_S)
        try:
            self._channel.settimeout(LATE_S)
            self._channel.send(question)
            self._channel.settimeout(max(LATE_S, until - time.monotonic()))
            while answer := self._channel.recv(_ANSWER_OCTETS):
                if answer.startswith(question):
                    self._late = False
                    return answer
                self._channel.settimeout(max(0.001, until - time.monotonic()))
        except TimeoutError as error:
            self._late = True
            raise OSError("the root helper does not answer") from error
        except (BrokenPipeError, ConnectionResetError):
            pass
        raise OSError("the root helper has gone")


def start(users: Path, workers: int, *, upgrade: bool = False, pem: tuple[Path, ...] = ()) -> list[HelperClient]:
    """Fork the helper, with one channel for each worker; it ends when the process that called this does.

    Without ``upgrade`` it starts no program, whatever it is asked. ``pem`` are the files of certificate and key.
    """
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]
    helper = os.fork()
    if helper == 0:
        try:
            for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, signal.SIG_IGN)  # sessions may outlive the signal, and need rows no more then
            _close_all_but([theirs.fileno() for _, theirs in pairs])
            serve([theirs for _, theirs in pairs], Files(users), upgrade=upgrade, pem=pem)
        finally:
            os._exit(0)
    for _, theirs in pairs:
        theirs.close()
    return [HelperClient(ours, helper) for ours, _ in pairs]


def _close_all_but(needed: list[int]) -> None:
    """Listening sockets above all: the port must be free when the server has gone."""
    last = 2
    for fd in sorted(needed):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, 4096)


def serve(channels: list[socket.socket], files: Files, *, upgrade: bool = False, pem: tuple[Path, ...] = ()) -> None:
    """Answer until every worker has gone. Reads nothing but the channels, the files and ``pem``.

    No question ends it, for its end is the server's; and it does not wait for a worker that does not take its answers.
    """
    poll = select.poll()
    by_fd = {channel.fileno(): channel for channel in channels}
    for fd, channel in by_fd.items():
        channel.setblocking(False)
        poll.register(fd, select.POLLIN)
    while by_fd:
        for fd, events in poll.poll():
            try:
                question = by_fd[fd].recv(QUESTION_OCTETS)
            except (BlockingIOError, ConnectionResetError):
                question = b""
            if question:
                with contextlib.suppress(OSError):  # its queue is full, or it has died since
                    by_fd[fd].send(question + answer(question[TAG_OCTETS:], files, upgrade=upgrade, pem=pem))
            elif events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                poll.unregister(fd)
                by_fd.pop(fd).close()


def answer(question: bytes, files: Files, *, upgrade: bool = False, pem: tuple[Path, ...] = ()) -> bytes:
    """One answer, without tag and question repeated before it."""
    try:
        return _answer(question[:1], unpack(question[1:]), files, upgrade=upgrade, pem=pem)
    except Exception:  # OSError, a malformed line or question, or a fault of ours
        return b"!"


def _answer(verb: bytes, fields: list[bytes], files: Files, *, upgrade: bool, pem: tuple[Path, ...]) -> bytes:
    login, *more = fields
    if len(more) != (verb == _UPGRADE):
        raise ValueError("a question has one field, and that about an upgrade two")
    if verb == _UPGRADE:
        if upgrade:
            files.upgrade(login, more[0])
        return b"-"
    if verb == _PEM:
        texts = [read_given(path, PEM_OCTETS) for path in pem]
        return b"+" + pack(texts) if sum(map(len, texts)) < PEM_OCTETS else b"!"
    if verb == _ROW:
        row = files.row(login)
        return b"-" if row is None else b"+" + pack(list(row.fields()))
    if verb == _HOLDS:
        return b"+" if files.holds(login) else b"-"
    secret = files.secret(login, _KINDS[verb])
    return b"-" if secret is None else b"+" + pack([secret])


def _tag() -> bytes:
    """A number that tells this question from an equal one whose worker died before the answer came.

    It is a clock: the processes that use one channel in turn share no counter.
    """
    return time.monotonic_ns().to_bytes(TAG_OCTETS, "big")


def pack(fields: list[bytes]) -> bytes:
    """Fields as one message: each with its length before it."""
    return b"".join(struct.pack("!I", len(field)) + field for field in fields)


def unpack(message: bytes) -> list[bytes]:
    """The fields of ``pack``.

    Raises:
        ValueError: it is cut short, or no such message.
    """
    fields: list[bytes] = []
    while message:
        length = int.from_bytes(message[:4], "big")
        if len(message) < 4 + length:
            raise ValueError("cut short")
        fields.append(message[4 : 4 + length])
        message = message[4 + length :]
    return fields
