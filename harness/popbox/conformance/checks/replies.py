"""The form of commands and replies (RFC 1939 §3, RFC 2449 §4)."""

from __future__ import annotations

import re

from popbox.conformance.box import Box
from popbox.conformance.check import Table
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import Departs, expect, insist, need
from popbox.errors import ConnectionFailed, StepTimeout

TABLE = Table("replies")
check = TABLE.check

TOUR = (b"STAT", b"LIST", b"NOOP", b"NO-SUCH-COMMAND", b"LIST 999999", b"RSET")
MULTI = (b"LIST",)


def _tour(box: Box) -> list[Reply]:
    session = box.session()
    return [session.multi(command) if command in MULTI else session.say(command) for command in TOUR]


@check("RFC 1939 §3", "Status indicators are written +OK and -ERR, in capitals.", "status-indicator-case")
def status_capitals(box: Box) -> None:
    with box.own() as session:
        for command in (b"STAT", b"NO-SUCH-COMMAND", b"LIST 999999"):
            reply = session.say(command)
            expect(reply.raw.startswith((b"+OK", b"-ERR")), f"{command.decode()} gave {reply}")


@check("RFC 1939 §3", "All replies end in CR LF.", "reply-bare-lf")
def replies_crlf(box: Box) -> None:
    for command, reply in zip(TOUR, _tour(box), strict=True):
        bad = [line for line in (reply.raw, *reply.lines) if not line.endswith(b"\r\n")]
        expect(not bad, f"{command.decode()} gave {bad[:1]!r}")


@check("RFC 1939 §3", "Reply lines are at most 512 octets long, CR LF included.", "reply-over-512")
def replies_length(box: Box) -> None:
    for command, reply in zip(TOUR, _tour(box), strict=True):
        longest = max(map(len, (reply.raw, *reply.lines)))
        expect(longest <= 512, f"{command.decode()} gave a line of {longest} octets")


@check("RFC 1939 §3", "A status line holds no CR, NUL or other control character but its end.", "reply-controls")
def replies_printable(box: Box) -> None:
    for command, reply in zip(TOUR, _tour(box), strict=True):
        expect(
            re.search(rb"[\x00-\x1f\x7f]", reply.raw.removesuffix(b"\r\n").removesuffix(b"\n")) is None,
            f"{command.decode()} gave {reply}",
        )


@check("RFC 1939 §3", "A command gets one reply.", "two-replies")
def one_reply(box: Box) -> None:
    session = box.session()
    for command in (b"NOOP", b"STAT", b"RSET", b"NO-SUCH-COMMAND"):
        session.say(command)
        more = session.wire.unread(0.05)
        expect(not more, f"after the reply to {command.decode()} came {more[:60]!r}")


@check("RFC 1939 §3", "A multi-line reply ends in CR LF, a dot, CR LF.", "terminator-form")
def terminator(box: Box) -> None:
    session = box.session()
    session.send(b"LIST")
    raw = [session.wire.line("the reply to LIST")]
    while raw[-1] not in (b".\r\n", b".\n"):
        raw.append(session.wire.line("the lines of LIST and a dot"))
    expect(raw[-1] == b".\r\n", f"the last line is {raw[-1]!r}")


@check("RFC 1939 §3", "Keywords are read without regard to case.", "keyword-case-matters")
def keyword_case(box: Box) -> None:
    session = box.session()
    for command in (b"stat", b"sTaT", b"Noop"):
        reply = session.say(command)
        expect(reply.ok, f"{command.decode()} gave {reply}")


@check("RFC 1939 §3", "Keywords of a login are read without regard to case.", "login-keyword-case-matters")
def login_keyword_case(box: Box) -> None:
    def lower(session: Session) -> Reply:
        reply = session.say(b"user " + box.options.login.encode())
        return session.say(b"pAsS " + box.options.password.encode()) if reply.ok else reply

    with box.let_in(lower) as (_, reply):
        expect(reply.ok, f"'user' and 'pAsS' gave {reply}")


def _refused(session: Session, line: bytes, what: str) -> None:
    reply = session.say(line)
    expect(not reply.ok, f"{what} gave {reply}")
    insist(session.alive(), f"after {what} the session does not answer")


@check("RFC 1939 §3", "An unknown command gets -ERR before login.", "unknown-accepted-before-login")
def unknown_before_login(box: Box) -> None:
    with box.connect() as session:
        _refused(session, b"XYZZY", "XYZZY")


@check("RFC 1939 §3", "An unknown command gets -ERR after login.", "unknown-accepted")
def unknown_after_login(box: Box) -> None:
    _refused(box.session(), b"XYZZY", "XYZZY")


@check("RFC 1939 §3", "An empty line gets -ERR before login.", "empty-line-before-login")
def empty_line_before_login(box: Box) -> None:
    with box.connect() as session:
        _refused(session, b"", "an empty line")


@check("RFC 1939 §3", "An empty line gets -ERR after login.", "empty-line")
def empty_line_after_login(box: Box) -> None:
    with box.own() as session:
        _refused(session, b"", "an empty line")


@check("RFC 1939 §3", "A keyword is the whole word: STATX is not STAT.", "keyword-prefix")
def keyword_whole(box: Box) -> None:
    _refused(box.session(), b"STATX", "STATX")


@check("RFC 1939 §3", "A keyword is not to be cut short: STA is not STAT.", "keyword-cut")
def keyword_not_cut(box: Box) -> None:
    _refused(box.session(), b"STA", "STA")


@check("RFC 1939 §3", "A line that begins with a space is no command.", "leading-space")
def leading_space(box: Box) -> None:
    _refused(box.session(), b" STAT", "' STAT'")


@check("RFC 1939 §3", "Octets from 128 up in a keyword are an error, not the end of the session.", "eight-bit-keyword")
def eight_bit_command(box: Box) -> None:
    _refused(box.session(), b"ST\xc4T", "ST\\xc4T")


@check("RFC 1939 §3", "NUL in a keyword is an error, not the end of the line.", "nul-in-keyword")
def nul_command(box: Box) -> None:
    with box.own() as session:
        try:
            _refused(session, b"STAT\0XYZ", "STAT\\0XYZ")
        except StepTimeout as silent:
            raise Departs(str(silent)) from silent


@check("RFC 1939 §3, §5", "STAT has no arguments: with one it is malformed.", "stat-takes-argument")
def stat_argument(box: Box) -> None:
    _refused(box.session(), b"STAT 1", "STAT 1")


@check("RFC 1939 §3, §5", "NOOP has no arguments: with one it is malformed.", "noop-takes-argument")
def noop_argument(box: Box) -> None:
    _refused(box.session(), b"NOOP 1", "NOOP 1")


@check("RFC 1939 §3, §5", "RSET has no arguments: with one it is malformed.", "rset-takes-argument")
def rset_argument(box: Box) -> None:
    _refused(box.session(), b"RSET 1", "RSET 1")


@check("RFC 1939 §3, §4", "QUIT has no arguments: with one it is malformed.", "quit-takes-argument")
def quit_argument(box: Box) -> None:
    with box.connect() as session:
        reply = session.say(b"QUIT 1")
        expect(not reply.ok, f"QUIT 1 gave {reply}")


@check("RFC 2449 §4", "A command of 255 octets, CR LF included, is read whole.", "line-255-refused")
def line_of_255(box: Box) -> None:
    with box.connect() as session:
        reply = session.say(b"USER " + b"u" * 248)
        expect(reply.ok, f"USER with 248 octets gave {reply}")
        insist(session.alive(), "after it the session does not answer")


@check("RFC 1939 §3", "A line of 20,000 octets gets one -ERR, or the end of the session.", "long-line-accepted")
def line_too_long(box: Box) -> None:
    with box.connect() as session:
        try:
            reply = session.say(b"X" * 20_000)
            expect(not reply.ok, f"it gave {reply}")
            more = session.wire.unread(0.1)
            expect(not more, f"after the -ERR came {more[:60]!r}: the line was read as several")
        except (ConnectionFailed, StepTimeout) as error:
            need(session.wire.ended(1.0), str(error))


@check("RFC 1939 §3", "A command may come octet by octet.", "split-command")
def octet_by_octet(box: Box) -> None:
    session = box.session()
    for octet in b"STAT\r\n":
        session.wire.send(bytes([octet]), shown=repr(chr(octet)))
    reply = session.read(b"STAT")
    expect(reply.ok, f"STAT, octet by octet, gave {reply}")


@check("RFC 1939 §3", "Commands sent in one packet are all answered, in order.", "pipelined-input-lost")
def several_at_once(box: Box) -> None:
    with box.own() as session:
        session.wire.send(b"NOOP\r\nSTAT\r\nXYZZY\r\nNOOP\r\n", shown="NOOP STAT XYZZY NOOP, in one packet")
        replies = [session.read(b"the batch") for _ in range(4)]
        said = [reply.ok for reply in replies]
        expect(said == [True, True, False, True], f"{' '.join(map(str, replies))}")


@check("RFC 1939 §5", "NOOP is answered +OK.", "noop-refused")
def noop(box: Box) -> None:
    reply = box.session().say(b"NOOP")
    expect(reply.ok, f"it gave {reply}")


@check("RFC 1939 §5", "RSET is answered +OK where nothing is marked.", "rset-refused")
def rset_unmarked(box: Box) -> None:
    reply = box.session().say(b"RSET")
    expect(reply.ok, f"it gave {reply}")


@check("our choice", "100 unknown commands do not silence the server: an answer to each, or the end.", "silent")
def many_errors(box: Box) -> None:
    with box.connect() as session:
        for number in range(1, 101):
            try:
                session.send(b"XYZZY")
                expect(not session.read(b"XYZZY").ok, f"the {number}th gave +OK")
            except ConnectionFailed:
                return  # the server had enough
        expect(not session.wire.unread(0.1), "there were more replies than commands")
