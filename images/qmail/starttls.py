#!/usr/bin/python3 -IS
"""starttls CHAIN KEY PROGRAM [ARG...] - STARTTLS for an SMTP server that does not know it (RFC 3207).

Runs under smtpfront, with the client on descriptors 0 and 1, and PROGRAM as its child on two pipes. Each session has
its own process: a fault ends one session, and a renewed certificate is used from the next STARTTLS on. ``starttls.md``
is the man page. Modules that only TLS needs are imported after the client has asked for it.
"""

from __future__ import annotations

import os
import select
import sys
import time

HANDSHAKE_S = 60  # our choice: a handshake is two round trips; RFC 5321 §4.5.3.2 gives a command minutes
LINE_OCTETS = 4096  # our choice: eight times RFC 5321 §4.5.3.1.4; the program judges a longer line
CHUNK = 32768
SIGPIPE = 13  # importing the signal module for this number would cost 2 ms
# Before MAIL we read along, one command and one reply at a time. After any other verb we only copy octets.
READ_ALONG = (b"EHLO", b"HELO", b"NOOP", b"RSET", b"HELP", b"VRFY", b"STARTTLS")


class Ended(Exception):
    """One of the two sides has gone."""


class Program:
    """The server behind us, on two pipes."""

    def __init__(self, argv: list[str]) -> None:
        theirs_in, self.stdin = os.pipe2(os.O_CLOEXEC)
        self.stdout, theirs_out = os.pipe2(os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, theirs_in, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)]
        os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsigdef=[SIGPIPE])
        os.close(theirs_in)
        os.close(theirs_out)

    def end(self) -> None:
        """Close its input, which ends it. We do not wait: it may still be writing to a pipe without a reader."""
        os.close(self.stdin)
        os.close(self.stdout)

    def reply(self) -> list[bytes]:
        """One whole reply, its lines with their ends.

        Raises:
            Ended: the program ended before the reply was complete.
        """
        text = b""
        while not (text.endswith(b"\n") and text.splitlines()[-1][3:4] != b"-"):
            more = os.read(self.stdout, CHUNK)
            if not more:
                write_all(1, text)
                raise Ended
            text += more
        return text.splitlines(keepends=True)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``.

    Raises:
        OSError: the other side has gone.
    """
    while data:
        data = data[os.write(fd, data) :]


def offered(reply: list[bytes]) -> list[bytes]:
    """The answer to EHLO with STARTTLS as its first extension (RFC 3207 §4); a refusal is not changed."""
    if not reply[0].startswith(b"250"):
        return reply
    end = b"\r\n" if reply[0].endswith(b"\r\n") else b"\n"
    lines = [reply[0], b"250 STARTTLS" + end, *reply[1:]]
    return [line[:3] + (b" " if line is lines[-1] else b"-") + line[4:] for line in lines]


def next_line(program: Program, held: bytes) -> tuple[bytes, bytes]:
    """The client's next line, and the octets after it; a line that is too long has no line end.

    Raises:
        Ended: the client or the program has gone.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(program.stdout, select.POLLIN)
    while b"\n" not in held and len(held) < LINE_OCTETS:
        for fd, _ in poll.poll():
            octets = os.read(fd, CHUNK)
            if not octets:
                raise Ended
            if fd:
                write_all(1, octets)  # the program writes without a command: its timeout has expired, and it ends
            else:
                held += octets
    line, end, rest = held.partition(b"\n")
    return line + end, rest


def talk(program: Program, chain: str, key: str) -> tuple[object | None, bytes]:
    """Read along until STARTTLS; returns the TLS context. At any other verb returns None and the octets to copy.

    Raises:
        Ended: one side has gone, or commands followed STARTTLS in its packet.
    """
    write_all(1, b"".join(program.reply()))
    held = b""
    while True:
        line, held = next_line(program, held)
        words = line.split()
        verb = words[0].upper() if words else b""
        if verb not in READ_ALONG or not line.endswith(b"\n"):
            return None, line + held
        if verb != b"STARTTLS":
            write_all(program.stdin, line)
            reply = program.reply()
            write_all(1, b"".join(offered(reply) if verb == b"EHLO" else reply))
        elif len(words) > 1:
            write_all(1, b"501 STARTTLS takes no parameter (#5.5.4)\r\n")
        elif held:
            # Input sent in clear together with STARTTLS would be taken for input under TLS (CVE-2011-0411).
            write_all(1, b"503 commands must not follow STARTTLS in its packet (#5.5.1)\r\n")
            raise Ended
        elif context := load(chain, key):
            write_all(1, b"220 ready for TLS\r\n")
            return context, b""
        else:
            write_all(1, b"454 TLS not available now (#4.7.0)\r\n")


def load(chain: str, key: str) -> object | None:
    """A server context from the current files; None, and a log line, where they cannot be used."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(chain, key, no_pass_phrase)
    except OSError as why:
        log(f"cannot use {chain} with {key}: {unreadable(chain, key) or why}")
        return None
    return context


def no_pass_phrase() -> str:
    """In place of OpenSSL's own, which without a terminal takes standard input, the client, for the operator."""
    raise OSError("the key is encrypted, and there is no one to ask for its pass phrase")


def unreadable(*files: str) -> str:
    """The first file that this process cannot read, its owner and ours, for the log; empty if it can read all."""
    for file in files:
        if not os.access(file, os.R_OK):
            try:
                found = os.stat(file)  # noqa: PTH116 - pathlib costs milliseconds a session
            except OSError as why:
                return f"{file}: {why.strerror}"
            owner = f"belongs to {found.st_uid}:{found.st_gid} with mode {found.st_mode & 0o7777:04o}"
            return f"{file} {owner}; {os.geteuid()}:{os.getegid()} must be able to read it"
    return ""


def log(what: str) -> None:
    """One line on stderr, with the client's address."""
    print(f"starttls: {os.environ.get('TCPREMOTEIP', 'unknown')}: {what}", file=sys.stderr, flush=True)


class Plain:
    """The client on descriptors 0 and 1, which are one socket, not blocking."""

    def __init__(self) -> None:
        os.set_blocking(0, False)
        os.set_blocking(1, False)

    def read(self) -> bytes:
        """Octets from the client; none at the end.

        Raises:
            BlockingIOError: nothing to read yet.
        """
        return os.read(0, CHUNK)

    def write(self, data: bytes) -> int:
        """The number of octets written.

        Raises:
            BlockingIOError: the client does not read now.
        """
        return os.write(1, data)

    def close(self) -> None:
        """Send nothing: there is no close message without TLS."""


class Tls:
    """The same client over TLS."""

    def __init__(self, context: object) -> None:
        import socket
        import ssl

        assert isinstance(context, ssl.SSLContext)  # for the type checker; talk() returns no other
        self._waits = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._errors = ssl.SSLError
        sock = socket.socket(fileno=os.dup(0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(HANDSHAKE_S)
        self._tls = context.wrap_socket(sock, server_side=True)
        self._tls.setblocking(False)

    def read(self) -> bytes:
        """Octets from the client; none at the end, also where the connection just broke.

        Raises:
            BlockingIOError: nothing to read yet.
        """
        try:
            return self._tls.recv(CHUNK)
        except self._waits:
            raise BlockingIOError from None
        except (self._errors, ConnectionError):
            return b""

    def write(self, data: bytes) -> int:
        """The number of octets written.

        Raises:
            BlockingIOError: the client does not read now.
        """
        try:
            return self._tls.send(data)
        except self._waits:
            raise BlockingIOError from None

    def close(self) -> None:
        """Send close_notify, so that the client can tell the end from a broken connection; do not wait for its own."""
        try:
            self._tls.unwrap()
        except (OSError, ValueError):
            return


def relay(client: Plain | Tls, program: Program, to_program: bytes) -> None:
    """Copy octets both ways until the program ends.

    Raises:
        OSError: the client has gone.
    """
    os.set_blocking(program.stdin, False)
    to_client, listening = b"", True
    while True:
        more = False  # TLS may buffer octets that poll cannot see: read again until it would block
        if listening and not to_program:
            to_program, listening = heard(client, program)
            more = listening and bool(to_program)
        if to_program:
            to_program, listening = handed_on(program, to_program, listening)
        if to_client:
            to_client = unsent(client, to_client)
        poll = select.poll()
        if not to_client:
            poll.register(program.stdout, select.POLLIN)
        if to_program:
            poll.register(program.stdin, select.POLLOUT)
        events = (select.POLLIN if listening and not to_program else 0) | (select.POLLOUT if to_client else 0)
        if events:
            poll.register(0, events)
        if any(fd == program.stdout for fd, _ in poll.poll(0 if more and not to_program else None)):
            to_client = os.read(program.stdout, CHUNK)
            if not to_client:
                return


def heard(client: Plain | Tls, program: Program) -> tuple[bytes, bool]:
    """What the client sent, and whether it may send more; at its end this closes the program's input."""
    try:
        octets = client.read()
    except BlockingIOError:
        return b"", True
    if not octets:
        os.close(program.stdin)
    return octets, bool(octets)


def handed_on(program: Program, octets: bytes, listening: bool) -> tuple[bytes, bool]:
    """What the program has not read yet, and whether it still reads; a program that ended may have given its reason."""
    try:
        return octets[os.write(program.stdin, octets) :], listening
    except BlockingIOError:
        return octets, listening
    except BrokenPipeError:
        return b"", False


def unsent(client: Plain | Tls, octets: bytes) -> bytes:
    """What the client has not read yet."""
    try:
        return octets[client.write(octets) :]
    except BlockingIOError:
        return octets


def serve(chain: str, key: str, argv: list[str]) -> None:
    """One session.

    Raises:
        Ended: one side has gone.
        OSError: PROGRAM could not be started, or the client has gone.
    """
    program = Program(argv)
    context, held = talk(program, chain, key)
    if context is None:
        relay(Plain(), program, held)
        return
    program.end()  # RFC 3207 §4.2: the server must forget all that was said before
    began = time.monotonic()
    try:
        client = Tls(context)
    except OSError as why:
        log(f"handshake failed after {time.monotonic() - began:.1f} s: {why}")
        return
    program = Program(argv)
    greeting = program.reply()
    if not greeting[0].startswith(b"220"):
        raise Ended
    relay(client, program, b"")
    client.close()


def main() -> int:
    """Exit codes: 0 the session ended, whoever ended it; 100 misuse; 111 PROGRAM could not be started."""
    if len(sys.argv) < 4:
        print("usage: starttls CHAIN KEY PROGRAM [ARG...]", file=sys.stderr)
        return 100
    try:
        serve(sys.argv[1], sys.argv[2], sys.argv[3:])
    except (Ended, ConnectionError, TimeoutError):
        return 0
    except OSError as why:
        log(f"{sys.argv[3]}: {why}")
        return 111
    return 0


if __name__ == "__main__":
    sys.exit(main())
