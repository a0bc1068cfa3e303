#!/opt/mailhost/bin/python3 -I
"""late PROGRAM [ARG...] - 451 for what other nodes of this mail host know already, before qmail-smtpd.

Runs where qmail-smtpd runs, with the client on descriptors 0 and 1 and PROGRAM behind two pipes, one command and one
reply at a time. A RCPT for an address that waits (control/late, `mailhost.system.late`) is answered here and never gets
to PROGRAM; all else passes as it came, but for one reply: PROGRAM read control/rcpthosts when the session began, so a
5xx of it to a RCPT is a 451 where the domains of the host, or what waits, have changed since.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

from mailhost.standin.smtp.address import parse
from mailhost.system import late

HOME = Path("/var/qmail")
CHUNK = 32768
LINE_OCTETS = 65536  # our choice: a longer command is PROGRAM's to judge, from there on octets only pass
END = b"\r\n.\r\n"


class Ended(Exception):
    """One of the two sides has gone, and what it said last was handed on."""


class Front:
    """One session."""

    def __init__(self, argv: list[str], waiting: late.Session) -> None:
        self._waiting = waiting
        self._held = b""
        theirs_in, self._stdin = os.pipe2(os.O_CLOEXEC)
        self._stdout, theirs_out = os.pipe2(os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, theirs_in, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)]
        os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsigdef=[signal.SIGPIPE])
        os.close(theirs_in)
        os.close(theirs_out)
        self._poll = select.poll()
        for fd in (0, self._stdout):
            self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Until one side has gone. Raises Ended, OSError."""
        self._reply()
        while True:
            line = self._line()
            verb, _, rest = line.partition(b" ")
            rcpt = verb.upper() == b"RCPT"
            if rcpt and self._waiting.waits(address(rest)):
                write_all(1, late.REPLY + b"\r\n")
                continue
            write_all(self._stdin, line)
            while not line.endswith(b"\n"):
                line = self._line()
                write_all(self._stdin, line)
            if self._reply(rcpt=rcpt) == b"354":
                self._content()
                self._reply()

    def _line(self) -> bytes:
        """The client's next line, or the next piece of one that is too long. Raises Ended."""
        while b"\n" not in self._held and len(self._held) < LINE_OCTETS:
            self._held += self._heard()
        line, end, self._held = self._held.partition(b"\n")
        return line + end

    def _heard(self) -> bytes:
        """What the client says next. Raises Ended.

        PROGRAM's clock is the only one: what it says unasked (it has waited too long) goes to the client, inside a
        message too, and its end is the session's.
        """
        while True:
            for fd, _ in self._poll.poll():
                octets = os.read(fd, CHUNK)
                if not octets:
                    self._end()
                if not fd:
                    return octets
                write_all(1, octets)

    def _end(self) -> None:
        """Let PROGRAM see its end, and hand on what it says last. Raises Ended."""
        os.close(self._stdin)
        while octets := os.read(self._stdout, CHUNK):
            write_all(1, octets)
        raise Ended

    def _reply(self, *, rcpt: bool = False) -> bytes:
        """Hand one whole reply on, or 451 in the place of a refusal that may be out of date; its code. Raises Ended."""
        text = b""
        while not (text.endswith(b"\n") and text.splitlines()[-1][3:4] != b"-"):
            more = os.read(self._stdout, CHUNK)
            if not more:
                write_all(1, text)
                raise Ended
            text += more
        if rcpt and text.startswith(b"5") and self._waiting.stale():
            text = late.REPLY + b"\r\n"
        write_all(1, text)
        return text[:3]

    def _content(self) -> None:
        """Hand a message on, to its dot and no further. Raises Ended."""
        seen, fresh = b"\r\n", self._held  # the dot may be the first line
        while True:
            whole = seen + fresh
            end = whole.find(END)
            try:
                if end >= 0:
                    write_all(self._stdin, whole[len(seen) : end + len(END)])
                    self._held = whole[end + len(END) :]
                    return
                write_all(self._stdin, fresh)
            except BrokenPipeError:  # a bare LF, or too long: it has said why, and gone
                self._reply()
                raise Ended from None
            seen = whole[-len(END) + 1 :]
            fresh = self._heard()


def address(rest: bytes) -> bytes:
    """The address of a RCPT command's argument, as qmail-smtpd takes it: quoted or not, up to a NUL."""
    return parse(rest.removesuffix(b"\n").removesuffix(b"\r").partition(b"\0")[0])


def write_all(fd: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    while data:
        data = data[os.write(fd, data) :]


def main() -> int:
    """Exit codes: 0 the session ended; 100 misuse; 111 PROGRAM could not be started, or control/late not be read."""
    if len(sys.argv) < 2:
        print("usage: late PROGRAM [ARG...]", file=sys.stderr)
        return 100
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        Front(sys.argv[1:], late.Session(HOME)).run()
    except (Ended, ConnectionError):
        return 0
    except OSError as why:
        print(f"late: {os.environ.get('TCPREMOTEIP', 'unknown')}: {why}", file=sys.stderr)
        return 111
    return 0


if __name__ == "__main__":
    sys.exit(main())
