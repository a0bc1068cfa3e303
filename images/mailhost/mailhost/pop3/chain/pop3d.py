"""``pop3d``: the end of the chain. Serves one Maildir on descriptors 0 and 1, as the user it was started as.

Synopsis: ``pop3d MAILDIR [--profile rfc1939|qmail]``; exit 0 whatever happened in the session, 1 as root (Q-POP3-21).
"""

from __future__ import annotations

import os
import sys

from mailhost.pop3.chain.stdio import read, write
from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.open_maildrops import apply
from mailhost.pop3.maildrop.transfer import Transfer, begin
from mailhost.pop3.protocol.events import Close, Event, Reply, Transmit, Update
from mailhost.pop3.protocol.profiles import PROFILES, QMAIL, Profile
from mailhost.pop3.protocol.session import Session

READ_OCTETS = 4_096
HIGH_OCTETS = 65_536
"""So much is prepared for a client that does not read, and one reply more."""


def main() -> None:
    """The program."""
    if os.geteuid() == 0:
        sys.stderr.write("pop3d: invoked as uid 0, terminating\n")
        sys.exit(1)
    path, profile = parse_arguments(sys.argv[1:])
    try:
        drop = Maildrop(path, qmail_quirks=profile.qmail_quirks, lock=profile.locks)
        for _ in drop.scan():
            pass
    except MaildropError as error:
        write(profile.texts.maildrop(error.kind).data)
        sys.exit(0)
    listing = drop.listing()
    write(profile.texts.logged_in.data)
    drop.remember()
    serve(drop, Session.logged_in(profile, listing), profile.idle_s)
    sys.exit(0)


def parse_arguments(arguments: list[str]) -> tuple[bytes, Profile]:
    """The Maildir and the profile; the default profile is qmail, since the chain is qmail's."""
    profile = QMAIL
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--profile":
            rest.append(word)
            continue
        chosen = PROFILES.get(value if equals else next(words, ""))
        if chosen is None:
            sys.stderr.write(f"pop3d: --profile is one of {', '.join(sorted(PROFILES))}\n")
            sys.exit(1)
        profile = chosen
    if len(rest) != 1:
        write(profile.texts.no_maildir.data)  # Q-POP3-1: qmail-pop3d's answer to a missing argument
        sys.exit(0)
    return os.fsencode(rest[0]), profile


def serve(drop: Maildrop, session: Session, idle_s: float) -> None:
    """The session, until QUIT, end of file or too long a silence; only QUIT changes the Maildir."""
    while True:
        data = read(READ_OCTETS, idle_s)
        if not data:
            return
        session.receive(data)
        if not answer(session, drop):
            return


def answer(session: Session, drop: Maildrop) -> bool:
    """Carry out what was asked, with one write for many short replies; False when the session is over."""
    out: list[bytes] = []
    going, held = True, 0
    while going and (event := session.next_event()) is not None:
        going = act(session, drop, event, out)
        held += len(out[-1]) if out else 0
        if held >= HIGH_OCTETS:  # the next commands wait until the client has read: a packet of LISTs costs one of them
            write(b"".join(out))
            out.clear()
            held = 0
    write(b"".join(out))
    return going


def act(session: Session, drop: Maildrop, event: Event, out: list[bytes]) -> bool:
    """One event; replies are collected in ``out``."""
    if isinstance(event, Update):
        event = session.updated(failed=apply(drop, event))
    if isinstance(event, Reply):
        out.append(event.data)
    elif isinstance(event, Transmit):
        return transmit(drop, event, out)
    elif isinstance(event, Close):
        drop.close()  # before the reply: a client that has read it may log in again at once
        out.append(event.reply.data)
        return False
    return True


def transmit(drop: Maildrop, event: Transmit, out: list[bytes]) -> bool:
    """Send one message; a large one leaves in pieces, so that memory stays small. False when it broke off."""
    try:
        data, transfer = opened(drop, event)
    except OSError:
        data, transfer = event.missing.data, None
    out.append(data)
    while transfer is not None and not transfer.done:
        write(b"".join(out))
        out.clear()
        try:
            out.append(transfer.piece())
        except OSError:
            return False
    if transfer is not None:
        transfer.close()
    return True


def opened(drop: Maildrop, event: Transmit) -> tuple[bytes, Transfer | None]:
    """``begin``, also for a message that was renamed since it was listed.

    Raises:
        OSError: the message has gone or cannot be read.
    """
    try:
        return begin(drop, event)
    except FileNotFoundError:
        found = drop.search(event)
        if found is None:
            raise
        return begin(drop, found)


if __name__ == "__main__":
    main()
