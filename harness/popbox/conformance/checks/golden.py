"""What the real qmail chain says, word for word: rules of the qmail profile alone (facts Q-POPUP-*, Q-POP3-*)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.checks.login import refusal
from popbox.conformance.corpus import BY_NAME, CORPUS, doubled
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import expect
from popbox.errors import ConnectionFailed, StepTimeout

TABLE = Table("qmail")
QMAIL = ("qmail",)


def check(source: str, statement: str, deviation: str, *needs: Need) -> Callable[[Run], Run]:
    """A row of the qmail profile."""
    return TABLE.check(source, statement, f"not-qmail-{deviation}", *needs, only=QMAIL)


def _says(command: bytes, wanted: bytes, logged_in: bool) -> Run:
    def run(box: Box) -> None:
        with box.own() if logged_in else box.connect() as session:
            reply = session.say(command)
            expect(reply.raw == wanted, f"{command.decode()!r} gave {reply}")

    return run


BEFORE_LOGIN = {
    "user": (b"USER x", b"+OK \r\n", "Q-POPUP-5"),
    "user-empty": (b"USER", b"-ERR syntax error\r\n", "Q-POPUP-5"),
    "pass-first": (b"PASS x", b"-ERR USER first\r\n", "Q-POPUP-6"),
    "apop-short": (b"APOP x", b"-ERR syntax error\r\n", "Q-POPUP-7"),
    "noop-early": (b"NOOP", b"+OK \r\n", "Q-POPUP-8"),
    "quit-early": (b"QUIT", b"+OK \r\n", "Q-POPUP-8"),
    "stat-early": (b"STAT", b"-ERR authorization first\r\n", "Q-POPUP-8"),
    "empty-early": (b"", b"-ERR authorization first\r\n", "Q-POPUP-8"),
    "auth-early": (b"AUTH PLAIN", b"-ERR authorization first\r\n", "Q-POPUP-16"),
}
AFTER_LOGIN = {
    "noop": (b"NOOP", b"+OK \r\n", "Q-POPUP-4"),
    "rset": (b"RSET", b"+OK \r\n", "Q-POP3-15"),
    "unknown": (b"XYZZY", b"-ERR unimplemented\r\n", "Q-POP3-19"),
    "empty": (b"", b"-ERR unimplemented\r\n", "Q-POP3-19"),
    "user-late": (b"USER x", b"-ERR unimplemented\r\n", "Q-POP3-19"),
    "word": (b"RETR x", b"-ERR syntax error\r\n", "Q-POP3-10"),
    "zero": (b"RETR 0", b"-ERR messages are counted from 1\r\n", "Q-POP3-10"),
    "high": (b"RETR 99999", b"-ERR not that many messages\r\n", "Q-POP3-10"),
    "last": (b"LAST", b"+OK 0\r\n", "Q-POP3-15"),
}
for _rows, _logged_in in ((BEFORE_LOGIN, False), (AFTER_LOGIN, True)):
    for _name, (_command, _wanted, _source) in _rows.items():
        TABLE.add(
            f"qmail-{_name}",
            _source,
            f"{_command.decode() or 'An empty line'} gets {_wanted.decode().rstrip()!r}.",
            f"not-qmail-{_name}",
            _says(_command, _wanted, _logged_in),
            only=QMAIL,
        )


@check("Q-POPUP-2", "The greeting is +OK and <pid.time@host>, nothing else.", "greeting")
def qmail_greeting(box: Box) -> None:
    with box.connect() as session:
        form = re.fullmatch(rb"\+OK <[0-9]+\.[0-9]+@[^>\r\n]*>\r\n", session.greeting.raw)
        expect(form is not None, f"{session.greeting}")


@check("Q-POPUP-12", "A refused login gets '-ERR authorization failed', and the connection ends.", "refusal")
def qmail_refusal(box: Box) -> None:
    found = refusal(box, "wrong")
    expect(found.reply.raw == b"-ERR authorization failed\r\n", f"{found.reply}")
    expect(found.closed, "the connection is open")


@check("Q-POPUP-6, E-86", "PASS without a password gets '-ERR syntax error', and the session goes on.", "pass-empty")
def qmail_pass_empty(box: Box) -> None:
    with box.connect() as session:
        session.say(b"USER x")
        reply = session.say(b"PASS")
        expect(reply.raw == b"-ERR syntax error\r\n", f"{reply}")
        expect(session.say(b"NOOP").ok, "NOOP after it is refused")


@check("Q-POPUP-5", "A space behind a login is part of it, so the login is unknown.", "login-space")
def qmail_login_space(box: Box) -> None:
    reply = refusal(box, "login-space").reply
    expect(not reply.ok, f"{reply}")


@check("E-83", "Spaces in front of a password are lost.", "leading-space")
def qmail_leading_space(box: Box) -> None:
    def spaced(session: Session) -> Reply:
        session.say(b"USER " + box.options.login.encode())
        return session.say(b"PASS   " + box.options.password.encode())

    with box.let_in(spaced) as (_, reply):
        expect(reply.ok, f"{reply}")


@check("Q-POPUP-14, E-80", "What follows PASS in one packet is lost.", "behind-pass")
def qmail_behind_pass(box: Box) -> None:
    box.drop()
    with box.connect() as session:
        session.send(b"USER " + box.options.login.encode())
        session.read(b"USER")
        session.wire.send(b"PASS " + box.options.password.encode() + b"\r\nSTAT\r\n", shown="PASS ******** and STAT")
        session.read(b"PASS")
        more = session.wire.unread(0.3)
        expect(not more, f"after the reply to PASS came {more[:40]!r}")


@check("Q-POPUP-4, Q-POP3-2", "A right login gets '+OK '.", "login")
def qmail_login(box: Box) -> None:
    with box.let_in(lambda session: session.login(box.options.login, box.options.password)) as (_, reply):
        expect(reply.raw == b"+OK \r\n", f"{reply}")


@check("Q-POP3-10", "What follows the digits of a number is ignored.", "junk", Need.MAIL)
def qmail_junk(box: Box) -> None:
    number = box.first()
    one, two = box.session().say(b"LIST %d" % number), box.session().say(b"LIST 00%dx" % number)
    expect(one.raw == two.raw, f"{one}, then {two}")


@check("Q-POP3-11, E-72", "RETR n m is TOP n m.", "retr-as-top", Need.MAIL)
def qmail_retr_top(box: Box) -> None:
    number = box.first()
    retr, top = (box.session().multi(b"%b %d 1" % (verb, number)).body for verb in (b"RETR", b"TOP"))
    expect(retr == top != box.body(number), f"RETR {number} 1 gave {len(retr)} octets, TOP {number} 1 {len(top)}")


@check("Q-POP3-11, E-73", "TOP n is RETR n.", "top-as-retr", Need.MAIL)
def qmail_top_retr(box: Box) -> None:
    number = box.first()
    top = box.session().multi(b"TOP %d" % number)
    expect(top.ok and top.body == box.body(number), f"{top}")


@check("Q-POP3-2, Q-POP3-8", "The first line of LIST, UIDL, RETR and TOP is '+OK '.", "heading", Need.MAIL)
def qmail_heading(box: Box) -> None:
    for command in (b"LIST", b"UIDL", b"RETR 1", b"TOP 1 0"):
        reply = box.session().multi(command)
        expect(reply.raw == b"+OK \r\n", f"{command.decode()} gave {reply}")


@check("Q-POP3-6", "The size of a message is that of its file.", "size", Need.CORPUS)
def qmail_size(box: Box) -> None:
    sizes = box.scan()
    for mail in CORPUS:
        said = sizes[box.number(mail.name)]
        expect(said == len(mail.octets), f"'{mail.name}' has {len(mail.octets)} octets, LIST says {said}")


@check("Q-POP3-9", "A unique-id is the file's name up to a colon.", "uid", Need.CORPUS)
def qmail_uid(box: Box) -> None:
    ids = set(box.ids().values())
    missing = [name for name in box.names.values() if name.encode() not in ids]
    expect(not missing, f"no id is {missing[:1]}")


@check("Q-POP3-5", "Messages are in the order of their mtimes, not of their names.", "order", Need.CORPUS)
def qmail_order(box: Box) -> None:
    ids = list(box.ids().values())
    places = [ids.index(box.names[mail.name].encode()) for mail in CORPUS]
    expect(places == sorted(places), f"{places}")


@check(
    "Q-POP3-13",
    "Octets behind +OK: those of the file, its LFs, its dot lines, 5, and 2 for a cut line.",
    "count",
    Need.CORPUS,
)
def qmail_accounting(box: Box) -> None:
    for mail in CORPUS:
        sent = sum(map(len, box.session().multi(b"RETR %d" % box.number(mail.name)).lines)) + len(b".\r\n")
        dots = len(re.findall(rb"^\.", mail.octets, re.MULTILINE))
        cut = 2 * (bool(mail.octets) and not mail.octets.endswith(b"\n"))
        due = len(mail.octets) + mail.octets.count(b"\n") + dots + 5 + cut
        expect(sent == due, f"'{mail.name}': {sent} octets, {due} are due")


@check("Q-POP3-13", "Each LF of the file becomes CR LF, an empty line is added: nothing else.", "content", Need.CORPUS)
def qmail_content(box: Box) -> None:
    for mail in CORPUS:
        got, due = box.body(box.number(mail.name)), doubled(mail.octets) + b"\r\n"
        expect(
            got == due, f"'{mail.name}' ({BY_NAME[mail.name].hard}): {len(got)} octets, {len(due)} are due, or others"
        )


@check("Q-POP3-4", "Mail whose mtime is not in the past is not shown.", "future", Need.CORPUS)
def qmail_future(box: Box) -> None:
    with box.own() as session:
        before = len(box.scan(session))
    name = box.disk().place(b"Subject: from the future\n\n", time.time() + 3600)
    try:
        with box.own() as session:
            after = len(box.scan(session))
    finally:
        box.disk().remove(name)
    expect(after == before, f"{before} messages, then {after}")


@check("Q-POP3-20", "Two sessions may have the box at once.", "two-sessions")
def qmail_two_sessions(box: Box) -> None:
    with box.own(), box.connect() as second:
        reply = second.login(box.options.login, box.options.password)
        expect(reply.ok, f"{reply}")


@check("Q-POP3-10", "A message marked deleted: '-ERR already deleted'.", "deleted", Need.CHANGES)
def qmail_deleted(box: Box) -> None:
    with box.victims(1) as v:
        done, again = (v.session.say(b"DELE %d" % v.numbers[0]) for _ in range(2))
        expect((done.raw, again.raw) == (b"+OK \r\n", b"-ERR already deleted\r\n"), f"{done}, then {again}")


@check("Q-POP3-15, E-84", "LAST is the highest number given to DELE, and RSET makes it 0.", "last-dele", Need.CHANGES)
def qmail_last_of_dele(box: Box) -> None:
    with box.victims(2) as v:
        low, high = min(v.numbers), max(v.numbers)
        v.session.multi(b"RETR %d" % high)
        said = [v.session.say(b"LAST").text]
        for command in (b"DELE %d" % high, b"DELE %d" % low, b"RSET"):
            v.session.say(command)
            said.append(v.session.say(b"LAST").text)
        expect(said == [b"0", b"%d" % high, b"%d" % high, b"0"], f"{said}")


@check("Q-POP3-16, Q-POP3-17", "QUIT moves what is in new/ to cur/, with ':2,' behind its name.", "moved", Need.CHANGES)
def qmail_moved(box: Box) -> None:
    with box.victims(1) as v:
        reply = v.session.say(b"QUIT")
        expect(reply.raw == b"+OK \r\n", f"QUIT gave {reply}")
        path = box.disk().find(v.names[0])
        where = f"{path.parent.name}/{path.name}" if path else "nowhere"
        expect(where == f"cur/{v.names[0]}:2,", f"the file is at {where}")


@check("Q-POP3-16, E-85", "A marked message that is gone: an error line at QUIT, and +OK.", "quit-error", Need.CHANGES)
def qmail_quit_error(box: Box) -> None:
    with box.victims(1) as v:
        v.session.say(b"DELE %d" % v.numbers[0])
        box.disk().remove(*v.names)
        v.session.send(b"QUIT")
        try:
            said = [v.session.read(b"QUIT").raw for _ in range(2)]
        except (ConnectionFailed, StepTimeout):
            said = []
        expect(said == [b"-ERR unable to unlink all deleted messages\r\n", b"+OK \r\n"], f"{said}")
