#!/opt/mailhost/bin/python3 -I
"""late PROGRAM [ARG...] - 451 for addresses that only other nodes of this mail host know yet, before qmail-smtpd.

Runs in place of qmail-smtpd, with the client on descriptors 0 and 1 and PROGRAM behind two pipes, one command and one
reply at a time. It answers a RCPT for an address that waits (control/late, `mailhost.system.late`) itself. Everything
else passes unchanged, but for one reply: PROGRAM read control/rcpthosts when the session began, so its 5xx to a RCPT
becomes a 451 where the host's domains, or the waiting addresses, have changed since.
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
LINE_OCTETS = 65536  # our choice: PROGRAM judges a longer command, whose octets only pass
END = b"\r\n.\r\n"


class Ended(Exception):
    """One of the two sides has gone, and its last output was passed on."""


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
        """Serve the session.

        Raises:
            Ended: one side has gone.
            OSError: one side cannot be written to, or control/late not be read.
        """
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
        """The client's next line, or the next piece of one that is too long; Ended when one side has gone."""
        while b"\n" not in self._held and len(self._held) < LINE_OCTETS:
            self._held += self._heard()
        line, end, self._held = self._held.partition(b"\n")
        return line + end

    def _heard(self) -> bytes:
        """The client's next octets; Ended when one side has gone.

        PROGRAM alone has a timeout: what it writes without a command goes to the client, also during a message, and
        the session ends when PROGRAM does.
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
        """Close PROGRAM's input, pass on its last output, and raise Ended."""
        os.close(self._stdin)
        while octets := os.read(self._stdout, CHUNK):
            write_all(1, octets)
        raise Ended

    def _reply(self, *, rcpt: bool = False) -> bytes:
        """Pass on one whole reply, or 451 in place of a refusal that may be outdated; returns the code of the reply."""
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
        """Pass on a message up to its final dot; Ended when one side has gone."""
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
            except BrokenPipeError:  # a bare LF, or too long: PROGRAM has replied and ended
                self._reply()
                raise Ended from None
            seen = whole[-len(END) + 1 :]
            fresh = self._heard()


def address(rest: bytes) -> bytes:
    """The address in the argument of RCPT, as qmail-smtpd reads it: quoted or not, up to a NUL."""
    return parse(rest.removesuffix(b"\n").removesuffix(b"\r").partition(b"\0")[0])


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``.

    Raises:
        OSError: the other side has gone.
    """
    while data:
        data = data[os.write(fd, data) :]


def main() -> int:
    """Exit codes: 0 the session ended; 100 misuse; 111 PROGRAM cannot be started, or control/late cannot be read."""
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
