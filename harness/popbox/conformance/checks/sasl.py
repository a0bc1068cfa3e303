"""AUTH (RFC 5034, RFC 4616)."""

from __future__ import annotations

import base64

from popbox.clients.secret import MASK
from popbox.conformance.box import Box
from popbox.conformance.check import Run, Table
from popbox.conformance.checks.login import refusal
from popbox.conformance.refusals import plain
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import Departs, expect, insist, need
from popbox.errors import ConnectionFailed

TABLE = Table("AUTH")
check = TABLE.check


def _needs_plain(box: Box) -> None:
    need(b"PLAIN" in [name.upper() for name in box.has(b"SASL")], "SASL PLAIN is not announced")
    box.drop()


def _response(box: Box) -> bytes:
    return plain("", box.options.login, box.options.password)


def _begin(session: Session) -> None:
    reply = session.say(b"AUTH PLAIN")
    expect(reply.raw.startswith(b"+ "), f"AUTH PLAIN gave {reply}")


@check("RFC 5034 §4", "AUTH PLAIN with an initial response opens the box.", "auth-initial-refused")
def auth_initial(box: Box) -> None:
    _needs_plain(box)
    with box.let_in(lambda session: session.say(b"AUTH PLAIN " + _response(box))) as (session, reply):
        expect(reply.ok, f"{reply}")
        insist(session.say(b"STAT").ok, "STAT is refused after it")


@check("RFC 5034 §4", "AUTH PLAIN without one is answered with an empty challenge: '+ '.", "auth-challenge-form")
def auth_challenge(box: Box) -> None:
    _needs_plain(box)
    with box.connect() as session:
        reply = session.say(b"AUTH PLAIN")
        expect(reply.raw == b"+ \r\n", f"{reply}")


@check("RFC 5034 §4", "The response to the challenge opens the box.", "auth-response-refused")
def auth_response(box: Box) -> None:
    _needs_plain(box)

    def respond(session: Session) -> Reply:
        _begin(session)
        session.wire.send(_response(box) + b"\r\n", shown=MASK)
        return session.read(b"AUTH")

    with box.let_in(respond) as (_, reply):
        expect(reply.ok, f"{reply}")


@check("RFC 5034 §4", "'*' cancels: -ERR, and a login is still possible.", "auth-not-cancelled")
def auth_cancel(box: Box) -> None:
    _needs_plain(box)

    def cancel(session: Session) -> Reply:
        _begin(session)
        reply = session.say(b"*")
        expect(reply.raw.startswith(b"-ERR"), f"* gave {reply}")
        return session.login(box.options.login, box.options.password)

    with box.let_in(cancel) as (_, reply):
        insist(reply.ok, f"a login after it gave {reply}")


@check("RFC 5034 §4", "A mechanism that is not offered gets -ERR.", "auth-unknown-mechanism")
def auth_unknown(box: Box) -> None:
    box.has(b"SASL")
    with box.connect() as session:
        reply = session.say(b"AUTH X-NONE")
        expect(reply.raw.startswith(b"-ERR"), f"{reply}")


@check("RFC 5034 §4", "A response that is no base64 gets -ERR.", "auth-bad-base64")
def auth_bad_base64(box: Box) -> None:
    _needs_plain(box)
    with box.connect() as session:
        _begin(session)
        reply = session.say(b"!!! this is not base64 !!!")
        expect(reply.raw.startswith(b"-ERR"), f"{reply}")


@check("RFC 4422 §3.1", "The mechanism's name is read without regard to case.", "auth-mechanism-case")
def auth_lower_case(box: Box) -> None:
    _needs_plain(box)
    with box.let_in(lambda session: session.say(b"AUTH plain " + _response(box))) as (_, reply):
        expect(reply.ok, f"AUTH plain gave {reply}")


@check("RFC 5034 §4", "'=' is an empty initial response, which PLAIN refuses.", "auth-empty-response")
def auth_empty(box: Box) -> None:
    _needs_plain(box)
    with box.connect() as session:
        reply = session.say(b"AUTH PLAIN =")
        expect(reply.raw.startswith(b"-ERR"), f"{reply}")


@check("RFC 4616 §2", "An authorization identity equal to the login is allowed.", "auth-same-authzid-refused")
def auth_same_authzid(box: Box) -> None:
    _needs_plain(box)
    login, password = box.options.login, box.options.password
    with box.let_in(lambda session: session.say(b"AUTH PLAIN " + plain(login, login, password))) as (_, reply):
        expect(reply.ok, f"{reply}")


@check("RFC 4616 §2", "A response without the two NULs is refused.", "auth-without-nul")
def auth_no_nul(box: Box) -> None:
    _needs_plain(box)
    reply = refusal(box, "auth-no-nul").reply
    expect(not reply.ok, f"{reply}")


def _must_fail(kind: str) -> Run:
    def run(box: Box) -> None:
        _needs_plain(box)
        reply = refusal(box, kind).reply
        expect(not reply.ok, f"{reply}")

    return run


TABLE.add(
    "auth-wrong-refused",
    "RFC 5034 §4",
    "AUTH PLAIN with a wrong password is refused.",
    "auth-wrong",
    _must_fail("auth"),
)
TABLE.add(
    "auth-other-refused",
    "RFC 4616 §2",
    "No one logs in as another user: a different authorization identity is refused.",
    "auth-other-authzid",
    _must_fail("auth-other"),
)


@check("RFC 5034 §4", "A response of 12,000 octets is read whole, and refused.", "auth-long-line")
def auth_long(box: Box) -> None:
    _needs_plain(box)
    with box.connect() as session:
        _begin(session)
        session.wire.send(base64.b64encode(b"x" * 9000) + b"\r\n", shown="12,000 octets of base64")
        try:
            reply = session.read(b"the response")
        except ConnectionFailed as error:
            raise Departs(str(error)) from error
        expect(reply.raw.startswith(b"-ERR"), f"{reply}")
        more = session.wire.unread(0.1)
        expect(not more, f"then came {more[:60]!r}")
