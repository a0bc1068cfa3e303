"""``popup``: the front of the chain. Greets, takes one USER and PASS (or APOP), hands them on, and waits.

Synopsis: ``popup HOSTNAME SUBPROGRAM [ARG...]``; the client is on descriptors 0 and 1. The replies are qmail-popup's
(Q-POPUP-1 to 16): the subprogram, a checkpassword, says nothing itself.
"""

from __future__ import annotations

import os
import sys
import time

from mailhost.pop3.chain.stdio import read, write
from mailhost.pop3.protocol.events import Authenticate, Close, Event, Reply
from mailhost.pop3.protocol.profiles import QMAIL, err
from mailhost.pop3.protocol.session import Session
from mailhost.pop3.protocol.state import Features

READ_OCTETS = 128
"""What is read at once and lost behind PASS (E-80): the chain's next program reads the socket itself."""

ENDS = 1
"""The exit code of qmail-popup, whatever happened."""

_USAGE = err(b"usage: popup hostname subprogram")
_REFUSED = err(b"authorization failed")
_CRASHED = err(b"aack, child crashed")
_NO_PIPE = err(b"unable to open pipe")
_NO_FORK = err(b"unable to fork")


def main() -> None:
    """The program; exit code 1, as qmail-popup's, whatever the child's was."""
    arguments = sys.argv[1:]
    if len(arguments) < 2:
        write(_USAGE.data, ENDS)
        sys.exit(ENDS)
    hostname, *subprogram = arguments
    stamp = b"<%d.%d@%b>" % (os.getpid(), time.time(), os.fsencode(hostname))
    claim = converse(Session(QMAIL, Features(), stamp))
    if claim is not None:
        reply = hand_over(claim, stamp, subprogram)
        if reply is not None:
            write(reply.data, ENDS)
    sys.exit(ENDS)


def converse(session: Session) -> Authenticate | None:
    """Talk to the client until it claims a login; None when it leaves or is silent for 20 minutes."""
    write(session.greeting().data, ENDS)
    while True:
        data = read(READ_OCTETS, QMAIL.idle_s)
        if not data:
            return None
        session.receive(data)
        while (event := session.next_event()) is not None:
            if isinstance(event, Authenticate):
                return event
            answer(event)


def answer(event: Event) -> None:
    """Send a reply; QUIT ends the program."""
    if isinstance(event, Reply):
        write(event.data, ENDS)
    if isinstance(event, Close):
        write(event.reply.data, ENDS)
        sys.exit(ENDS)


def hand_over(claim: Authenticate, stamp: bytes, subprogram: list[str]) -> Reply | None:
    """Run the subprogram with the claim on descriptor 3; gives what is still to be said afterwards."""
    try:
        reader, writer = os.pipe()
    except OSError:
        return _NO_PIPE
    try:
        child = os.fork()
    except OSError:
        return _NO_FORK
    if child == 0:
        become(reader, writer, subprogram)
    os.close(reader)
    give(writer, b"\0".join([claim.login, claim.secret, stamp, b""]))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return _CRASHED
    return _REFUSED if os.WEXITSTATUS(status) else None


def become(reader: int, writer: int, subprogram: list[str]) -> None:
    """In the child: descriptor 3 is the pipe's read end, then be the subprogram."""
    os.close(writer)
    if reader == 3:
        os.set_inheritable(3, True)
    else:
        os.dup2(reader, 3)
        os.close(reader)
    try:
        os.execvp(subprogram[0], subprogram)  # noqa: S606 - running what the command line names is the interface
    except OSError as error:
        sys.stderr.write(f"popup: cannot run {subprogram[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(111)


def give(writer: int, data: bytes) -> None:
    """Write the claim; a child that does not read it decides by its exit code all the same."""
    try:
        while data:
            data = data[os.write(writer, data) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(writer)


if __name__ == "__main__":
    main()
