"""A session without sockets and files, for the golden transcripts and the fuzzer."""

from __future__ import annotations

from mailhost.pop3.protocol.events import Authenticate, Close, Event, Lookup, Reply, StartTls, Transmit, Update
from mailhost.pop3.protocol.listing import KNOWN, Listing, Message
from mailhost.pop3.protocol.profiles import Profile
from mailhost.pop3.protocol.scram import made_up
from mailhost.pop3.protocol.session import Session
from mailhost.pop3.protocol.state import Features

STAMP = b"<1.2@mx>"


def message(name: bytes, size: int, folder: bytes = b"new/") -> Message:
    return Message(folder + name, name.partition(b":")[0], size, KNOWN, size, 0, 1)


BOX = Listing((message(b"1.a.h", 10), message(b"2.b.h:2,S", 20, b"cur/"), message(b"3.c.h", 30)))


class IoLayer:
    """Plays the I/O layer: accepts ``joe``/``pw``, shows messages as their names, writes a transcript."""

    def __init__(self, profile: Profile, features: Features | None = None) -> None:
        self.session = Session(profile, features or Features(), STAMP)
        self.events: list[Event] = []
        self.closed = ""

    def feed(self, data: bytes) -> bytes:
        out, event = b"", self.session.take(data)
        while event is not None:
            out += self.take(event)
            event = None if self.closed else self.session.next_event()
        return out

    def take(self, event: Event) -> bytes:
        self.events.append(event)
        if isinstance(event, Reply):
            return event.data
        if isinstance(event, Authenticate):
            if (event.login, event.secret) == (b"joe", b"pw"):
                return self.take(self.session.opened(Listing(BOX.messages)))
            return self.take(self.session.refused(self.session.context.profile.texts.refused))
        if isinstance(event, Transmit):
            return event.head + event.message.path + b" %r\r\n.\r\n" % event.lines
        if isinstance(event, Update):
            return self.take(self.session.updated(failed=0))
        if isinstance(event, Close):
            self.closed = event.why
            return event.reply.data
        if isinstance(event, Lookup):
            return self.take(self.session.found(made_up(event.login, b"key", {})))
        assert isinstance(event, StartTls)
        return event.reply.data
