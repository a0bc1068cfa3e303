"""A session of each profile, line by line: in lines, byte by byte, and in one packet."""

from __future__ import annotations

import pytest
from tests.mailhost.pop3.io_layer import IoLayer

from mailhost.pop3.protocol.profiles import PROFILES, QMAIL, RFC1939

GOLDEN = {
    "rfc1939": """\
C: STAT
S: -ERR not in this state
C: PASS pw
S: -ERR USER first
C: USER
S: -ERR syntax: an argument is missing
C: user joe
S: +OK send PASS
C: PASS
S: -ERR syntax: an argument is missing
C: PASS no
S: -ERR [AUTH] login or password is wrong
C: USER joe
S: +OK send PASS
C: PASS pw
S: +OK maildrop ready
C: USER joe
S: -ERR not in this state
C: STAT
S: +OK 3 60
C: LIST
S: +OK 3 messages
S: 1 10
S: 2 20
S: 3 30
S: .
C: LIST 2
S: +OK 2 20
C: UIDL
S: +OK 3 messages
S: 1 1.a.h
S: 2 2.b.h
S: 3 3.c.h
S: .
C: UIDL 3
S: +OK 3 3.c.h
C: RETR 2
S: +OK 20 octets
S: cur/2.b.h:2,S None
S: .
C: TOP 1 0
S: +OK top of message follows
S: new/1.a.h 0
S: .
C: TOP 1
S: -ERR syntax: a message number is 1 to 10 digits
C: DELE 2
S: +OK message marked deleted
C: DELE 2
S: -ERR message is marked deleted
C: STAT
S: +OK 2 40
C: LIST
S: +OK 2 messages
S: 1 10
S: 3 30
S: .
C: UIDL 2
S: -ERR message is marked deleted
C: RETR 0
S: -ERR messages are counted from 1
C: RETR 4
S: -ERR no such message
C: RETR 12345678901
S: -ERR syntax: a message number is 1 to 10 digits
C: RETR -1
S: -ERR syntax: a message number is 1 to 10 digits
C: RETR 1 2
S: -ERR syntax: a message number is 1 to 10 digits
C: LAST
S: -ERR unknown command
C:
S: -ERR unknown command
C: RSET
S: +OK no message is marked deleted
C: NOOP
S: +OK done
C: DELE 1
S: +OK message marked deleted
C: QUIT
S: +OK bye
""",
    "qmail": """\
C: STAT
S: -ERR authorization first
C: CAPA
S: -ERR authorization first
C:
S: -ERR authorization first
C: NOOP
S: +OK~
C: PASS pw
S: -ERR USER first
C: USER
S: -ERR syntax error
C: user  joe
S: +OK~
C: PASS
S: -ERR syntax error
C: PASS  pw
S: +OK~
C: USER joe
S: -ERR unimplemented
C: CAPA
S: -ERR unimplemented
C: STAT
S: +OK 3 60
C: LIST
S: +OK~
S: 1 10
S: 2 20
S: 3 30
S: .
C: LIST 2 junk
S: +OK 2 20
C: LIST 002
S: +OK 2 20
C: UIDL
S: +OK~
S: 1 1.a.h
S: 2 2.b.h
S: 3 3.c.h
S: .
C: UIDL 3
S: +OK 3 3.c.h
C: RETR 2
S: +OK~
S: cur/2.b.h:2,S None
S: .
C: RETR 2 7
S: +OK~
S: cur/2.b.h:2,S 7
S: .
C: TOP 1
S: +OK~
S: new/1.a.h None
S: .
C: TOP 1 x
S: +OK~
S: new/1.a.h None
S: .
C: LAST
S: +OK 0
C: DELE 2
S: +OK~
C: LAST
S: +OK 2
C: DELE 2
S: -ERR already deleted
C: STAT
S: +OK 3 40
C: LIST
S: +OK~
S: 1 10
S: 3 30
S: .
C: RETR 0
S: -ERR messages are counted from 1
C: RETR 4
S: -ERR not that many messages
C: RETR x
S: -ERR syntax error
C: RETR
S: -ERR syntax error
C: RSET
S: +OK~
C: LAST
S: +OK 0
C: QUIT
S: +OK~
""",
}


def exchanges(text: str) -> list[tuple[bytes, bytes]]:
    """(command line, reply) pairs of a golden transcript; ``~`` stands for a space at a line's end."""
    pairs: list[tuple[bytes, bytes]] = []
    for line in text.splitlines():
        octets = line[2:].removeprefix(" ").replace("~", " ").encode() + b"\r\n"
        if line.startswith("C:"):
            pairs.append((octets, b""))
        else:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + octets)
    return pairs


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_transcript_line_by_line(name: str) -> None:
    layer = IoLayer(PROFILES[name])
    for command, reply in exchanges(GOLDEN[name]):
        assert layer.feed(command) == reply, command
    assert layer.closed == "quit"


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_transcript_byte_by_byte_with_bare_lf(name: str) -> None:
    layer = IoLayer(PROFILES[name])
    for command, reply in exchanges(GOLDEN[name]):
        assert b"".join(layer.feed(bytes([octet])) for octet in command.replace(b"\r", b"")) == reply, command


def test_golden_transcript_pipelined_in_one_packet() -> None:
    pairs = exchanges(GOLDEN["rfc1939"])
    layer = IoLayer(RFC1939)
    assert layer.feed(b"".join(command for command, _ in pairs)) == b"".join(reply for _, reply in pairs)


def test_what_is_pipelined_behind_pass_is_lost_in_the_qmail_profile() -> None:
    layer = IoLayer(QMAIL)
    assert layer.feed(b"USER joe\r\nPASS pw\r\nSTAT\r\n") == b"+OK \r\n+OK \r\n"
    assert layer.feed(b"STAT\r\n") == b"+OK 3 60\r\n"
