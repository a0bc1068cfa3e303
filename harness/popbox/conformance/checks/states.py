"""Which command may be given when (RFC 1939 §3 to §6)."""

from __future__ import annotations

from popbox.conformance.box import Box
from popbox.conformance.check import Run, Table
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import expect, insist

TABLE = Table("states")
check = TABLE.check

TRANSACTION_ONLY = {
    b"STAT": "stat",
    b"LIST": "list",
    b"LIST 1": "list-one",
    b"RETR 1": "retr",
    b"DELE 1": "dele",
    b"NOOP": "noop",
    b"RSET": "rset",
    b"TOP 1 0": "top",
    b"UIDL": "uidl",
}
AUTHORIZATION_ONLY = {
    b"USER nobody": "user",
    b"PASS nothing": "pass",
    b"APOP nobody 0123456789abcdef0123456789abcdef": "apop",
    b"AUTH PLAIN": "auth",
    b"STLS": "stls",
}


def _before_login(command: bytes) -> Run:
    def run(box: Box) -> None:
        with box.connect() as session:
            reply = session.say(command)
            expect(not reply.ok, f"{command.decode()} before login gave {reply}")

    return run


def _after_login(command: bytes) -> Run:
    def run(box: Box) -> None:
        with box.own() as session:
            session.send(command)
            reply = session.read(command)
            refused = reply.raw.startswith(b"-ERR")
            expect(refused, f"{command.split()[0].decode()} after login gave {reply}")
            insist(session.say(b"STAT").ok, "after it the session is not in TRANSACTION any more")

    return run


for _command, _name in TRANSACTION_ONLY.items():
    TABLE.add(
        f"{_name}-before-login",
        "RFC 1939 §3, §5",
        f"{_command.decode()} is refused before login.",
        f"{_name}-before-login",
        _before_login(_command),
    )
for _command, _name in AUTHORIZATION_ONLY.items():
    TABLE.add(
        f"{_name}-after-login",
        {"auth": "RFC 5034 §4", "stls": "RFC 2595 §4"}.get(_name, "RFC 1939 §4, §7"),
        f"{_command.split()[0].decode()} is refused after login.",
        f"{_name}-after-login",
        _after_login(_command),
    )


@check("RFC 1939 §7 PASS", "PASS without USER is refused.", "pass-before-user")
def pass_before_user(box: Box) -> None:
    with box.connect_unlocked() as session:
        reply = session.say(b"PASS " + box.options.password.encode())
        expect(not reply.ok, f"it gave {reply}")


@check("RFC 1939 §7 PASS", "PASS counts immediately after USER: not with another command between.", "user-remembered")
def pass_not_after_user(box: Box) -> None:
    with box.connect_unlocked() as session:
        session.say(b"USER " + box.options.login.encode())
        session.say(b"XYZZY")
        reply = session.say(b"PASS " + box.options.password.encode())
        expect(not reply.ok, f"it gave {reply}")


@check("RFC 1939 §4", "USER alone is no login: STAT after it is refused.", "user-logs-in")
def user_is_no_login(box: Box) -> None:
    with box.connect() as session:
        session.say(b"USER " + box.options.login.encode())
        reply = session.say(b"STAT")
        expect(not reply.ok, f"STAT gave {reply}")


@check("RFC 1939 §4", "QUIT before login is answered +OK.", "quit-before-login-refused")
def quit_before_login(box: Box) -> None:
    with box.connect() as session:
        reply = session.say(b"QUIT")
        expect(reply.ok, f"it gave {reply}")


@check("RFC 1939 §4", "After QUIT before login the server closes the connection.", "quit-before-login-stays")
def quit_before_login_closes(box: Box) -> None:
    with box.connect() as session:
        session.say(b"QUIT")
        expect(session.wire.ended(2.0), "the connection is open after 2 s")


@check("RFC 1939 §7 USER", "QUIT between USER and PASS is answered +OK.", "quit-after-user-refused")
def quit_after_user(box: Box) -> None:
    with box.connect() as session:
        session.say(b"USER " + box.options.login.encode())
        reply = session.say(b"QUIT")
        expect(reply.ok, f"it gave {reply}")


@check("RFC 1939 §7 USER", "A second USER before PASS takes the place of the first.", "second-user-refused")
def second_user(box: Box) -> None:
    def second(session: Session) -> Reply:
        session.say(b"USER nobody-popbox-check")
        return session.login(box.options.login, box.options.password)

    with box.let_in(second) as (_, reply):
        expect(reply.ok, f"the login after it gave {reply}")
