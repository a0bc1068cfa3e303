"""CAPA (RFC 2449), and whether the server does what it announces."""

from __future__ import annotations

import re

from popbox.conformance.box import Box, capabilities_of
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.checks.login import refusal
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import expect, need

TABLE = Table("CAPA")
check = TABLE.check

CODES = re.compile(rb"-ERR \[([^\]]*)\]")
CODE = re.compile(rb"[\x21-\x5c\x5e-\x7e]+(/[\x21-\x5c\x5e-\x7e]+)*")


@check("RFC 2449 §5", "CAPA is there before login.", "no-capa")
def capa_supported(box: Box) -> None:
    with box.connect() as session:
        reply = session.multi(b"CAPA")
        expect(reply.ok, f"{reply}")


@check("RFC 2449 §5", "CAPA is there after login where it is before.", "no-capa-after-login")
def capa_after_login(box: Box) -> None:
    need(bool(box.capabilities()), "the server has no CAPA")
    expect(capabilities_of(box.session()) is not None, "it is refused after login")


@check(
    "RFC 2449 §5", "What CAPA announces before login it announces after it too (but for STLS).", "capa-less-after-login"
)
def capa_both_states(box: Box) -> None:
    before = box.capabilities()
    need(bool(before), "the server has no CAPA")
    after = capabilities_of(box.session())
    need(after is not None, "CAPA is refused after login")
    left = sorted(tag for tag in before if tag not in (after or {}) and tag != b"STLS")
    expect(not left, f"after login there is no {b', '.join(left).decode('latin-1')}")


@check("RFC 2449 §3", "A capability is a tag of letters, digits, . - / and _, then arguments.", "capa-form")
def capa_form(box: Box) -> None:
    need(bool(box.capabilities()), "the server has no CAPA")
    with box.connect() as session:
        for line in session.multi(b"CAPA").lines:
            form = re.fullmatch(rb"[A-Za-z0-9][A-Za-z0-9._/-]*( [\x21-\x7e]+)*\r\n", line)
            expect(form is not None and len(line) <= 512, f"{line!r}")


@check("RFC 2449 §5", "No capability is announced twice.", "capa-twice")
def capa_once(box: Box) -> None:
    need(bool(box.capabilities()), "the server has no CAPA")
    with box.connect() as session:
        tags = [line.split()[0].upper() for line in session.multi(b"CAPA").lines if line.split()]
        expect(len(tags) == len(set(tags)), f"{b' '.join(tags).decode('latin-1')}")


@check("RFC 2449 §5", "CAPA has no arguments: with one it is malformed.", "capa-takes-argument")
def capa_argument(box: Box) -> None:
    need(bool(box.capabilities()), "the server has no CAPA")
    with box.connect() as session:
        reply = session.multi(b"CAPA 1")
        expect(not reply.ok, f"CAPA 1 gave {reply}")


def _announced(tag: bytes, command: bytes) -> Run:
    """The capability is announced where, and only where, the command works."""

    def run(box: Box) -> None:
        tags = box.capabilities()
        need(bool(tags), "the server has no CAPA")
        works = box.session().multi(command.replace(b"N", b"%d" % box.first())).ok
        expect(works == (tag in tags), f"{command.decode()} works: {works}; announced: {tag in tags}")

    return run


for _tag, _command in ((b"TOP", b"TOP N 0"), (b"UIDL", b"UIDL")):
    TABLE.add(
        f"capa-{_tag.decode().lower()}",
        "RFC 2449 §6",
        f"{_tag.decode()} is announced where it works, and only there.",
        f"capa-{_tag.decode().lower()}-untrue",
        _announced(_tag, _command),
        Need.MAIL,
    )


@check("RFC 2449 §6.3", "USER is announced where USER and PASS work, and only there.", "capa-user-untrue")
def capa_user(box: Box) -> None:
    tags = box.capabilities()
    need(bool(tags), "the server has no CAPA")
    with box.connect() as session:
        works = session.say(b"USER " + box.options.login.encode()).ok
    expect(works == (b"USER" in tags), f"USER works: {works}; announced: {b'USER' in tags}")


@check(
    "RFC 2449 §6.6", "PIPELINING: ten commands at once get ten replies, in order.", "capa-pipelining-untrue", Need.MAIL
)
def capa_pipelining(box: Box) -> None:
    box.has(b"PIPELINING")
    with box.own() as session:
        number = box.first_of(session)
        alone = session.say(b"LIST %d" % number).raw
        session.wire.send(b"NOOP\r\nLIST %d\r\n" % number * 5, shown=f"NOOP, LIST {number}, five times, in one packet")
        replies = [session.read(b"the batch").raw for _ in range(10)]
        expect(replies[1::2] == [alone] * 5, f"LIST gave {alone!r} alone, in the batch {replies[1::2]}")


@check("RFC 2449 §6.6", "PIPELINING: what follows PASS in one packet is not lost.", "input-behind-pass-lost")
def capa_pipelining_login(box: Box) -> None:
    box.has(b"PIPELINING")

    def both(session: Session) -> Reply:
        session.say(b"USER " + box.options.login.encode())
        session.wire.send(b"PASS " + box.options.password.encode() + b"\r\nSTAT\r\n", shown="PASS ******** and STAT")
        return session.read(b"PASS")

    with box.let_in(both) as (session, reply):
        expect(reply.ok, f"the login gave {reply}")
        expect(session.read(b"STAT").ok, "STAT was refused")


@check("RFC 2449 §6.5", "LOGIN-DELAY has a number of seconds, and perhaps USER.", "capa-login-delay-form")
def capa_login_delay(box: Box) -> None:
    arguments = box.has(b"LOGIN-DELAY")
    expect(len(arguments) in (1, 2) and arguments[0].isdigit() and arguments[1:] in ([], [b"USER"]), f"{arguments}")


@check("RFC 2449 §6.7", "EXPIRE has NEVER or a number of days, and perhaps USER.", "capa-expire-form")
def capa_expire(box: Box) -> None:
    arguments = box.has(b"EXPIRE")
    first = arguments[0] if arguments else b""
    expect((first.isdigit() or first == b"NEVER") and arguments[1:] in ([], [b"USER"]), f"{arguments}")


@check("RFC 2449 §6.3", "SASL names at least one mechanism.", "capa-sasl-empty")
def capa_sasl(box: Box) -> None:
    arguments = box.has(b"SASL")
    expect(bool(arguments), "it names none")


@check("RFC 2449 §6.9", "IMPLEMENTATION has a value.", "capa-implementation-empty")
def capa_implementation(box: Box) -> None:
    tags = box.capabilities() | (capabilities_of(box.session()) or {})
    need(b"IMPLEMENTATION" in tags, "CAPA does not announce IMPLEMENTATION")
    expect(bool(tags[b"IMPLEMENTATION"]), "it has none")


@check("RFC 2449 §8", "Where RESP-CODES is announced, codes in brackets are well formed.", "resp-code-form")
def resp_codes_form(box: Box) -> None:
    box.has(b"RESP-CODES")
    for reply in (refusal(box, "wrong").reply, box.session().say(b"LIST 999999"), box.session().say(b"XYZZY")):
        found = CODES.match(reply.raw)
        expect(found is None or CODE.fullmatch(found[1]) is not None, f"{reply}")


@check("RFC 2449 §8.1.2", "Where RESP-CODES is announced, a locked box is refused with [IN-USE].", "no-in-use-code")
def in_use_code(box: Box) -> None:
    box.has(b"RESP-CODES")
    with box.own(), box.connect() as second:
        reply = second.login(box.options.login, box.options.password)
        need(not reply.ok, "the server lets two sessions in")
        expect(reply.raw.startswith(b"-ERR [IN-USE]"), f"{reply}")


@check("RFC 3206 §4", "Where AUTH-RESP-CODE is announced, a wrong password is refused with [AUTH].", "no-auth-code")
def auth_code(box: Box) -> None:
    box.has(b"AUTH-RESP-CODE")
    reply = refusal(box, "wrong").reply
    expect(reply.raw.startswith(b"-ERR [AUTH]"), f"{reply}")


@check("RFC 2449 §5", "CAPA is no login: STAT after it is refused.", "capa-logs-in")
def capa_is_no_login(box: Box) -> None:
    need(bool(box.capabilities()), "the server has no CAPA")
    with box.connect() as session:
        session.multi(b"CAPA")
        reply = session.say(b"STAT")
        expect(not reply.ok, f"STAT gave {reply}")
