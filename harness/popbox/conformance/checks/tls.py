"""STLS (RFC 2595 §4)."""

from __future__ import annotations

from popbox.conformance.box import Box, capabilities_of
from popbox.conformance.check import Need, Table
from popbox.conformance.session import Reply, Session
from popbox.conformance.tlscontext import trusting
from popbox.conformance.verdict import Departs, expect, insist, need
from popbox.errors import ConnectionFailed, StepTimeout

TABLE = Table("STLS")
check = TABLE.check


def _offered(box: Box) -> None:
    box.has(b"STLS")
    box.drop()


def _start(session: Session) -> None:
    reply = session.say(b"STLS")
    insist(reply.ok, f"STLS gave {reply}")
    session.wire.secure(trusting())


@check("RFC 2595 §4", "STLS is answered +OK, and a handshake and a login can follow.", "stls-fails", Need.CLEAR)
def stls(box: Box) -> None:
    _offered(box)

    def secured(session: Session) -> Reply:
        try:
            _start(session)
        except ConnectionFailed as error:
            raise Departs(str(error)) from error
        return session.login(box.options.login, box.options.password)

    with box.let_in(secured) as (_, reply):
        expect(reply.ok, f"the login gave {reply}")


@check("RFC 2595 §4", "Under TLS, STLS is not announced.", "stls-announced-twice", Need.CLEAR)
def stls_not_twice(box: Box) -> None:
    _offered(box)
    with box.connect() as session:
        _start(session)
        expect(b"STLS" not in (capabilities_of(session) or {}), "CAPA under TLS announces it")


@check("RFC 2595 §4", "After login, STLS is not announced.", "stls-announced-after-login", Need.CLEAR)
def stls_not_after_login(box: Box) -> None:
    _offered(box)
    announced = capabilities_of(box.session())
    need(announced is not None, "the server has no CAPA after login")
    expect(b"STLS" not in (announced or {}), "CAPA after login announces it")


@check("RFC 2595 §4", "Under TLS, STLS is refused.", "stls-within-tls", Need.CLEAR)
def stls_refused_within(box: Box) -> None:
    _offered(box)
    with box.connect() as session:
        _start(session)
        reply = session.say(b"STLS")
        expect(not reply.ok, f"{reply}")


@check("RFC 2595 §4", "What was said in the clear is forgotten: USER must be said again.", "stls-remembers", Need.CLEAR)
def stls_forgets(box: Box) -> None:
    _offered(box)
    with box.connect_unlocked() as session:
        session.say(b"USER " + box.options.login.encode())
        _start(session)
        reply = session.say(b"PASS " + box.options.password.encode())
        expect(not reply.ok, f"PASS without a new USER gave {reply}")


@check(
    "RFC 2595 §4", "Commands sent in the clear behind STLS are not carried out under TLS.", "stls-injection", Need.CLEAR
)
def stls_injection(box: Box) -> None:
    _offered(box)
    with box.connect() as session:
        session.wire.send(b"STLS\r\nXYZZY\r\n", shown="STLS and XYZZY, in one packet")
        insist(session.read(b"STLS").ok, "STLS was refused")
        try:
            session.wire.secure(trusting())
            injected = session.wire.unread(0.3)
        except (ConnectionFailed, StepTimeout):
            return  # the server gives the connection up: nothing was carried out
        expect(not injected, f"under TLS came {injected[:60]!r}")


@check("RFC 2595 §4", "STLS has no arguments: with one it is malformed.", "stls-takes-argument", Need.CLEAR)
def stls_argument(box: Box) -> None:
    _offered(box)
    with box.connect() as session:
        reply = session.say(b"STLS 1")
        expect(not reply.ok, f"{reply}")


@check("RFC 8314 §4.1", "TLS is of version 1.2 or later.", "tls-too-old")
def tls_version(box: Box) -> None:
    if box.options.target.tls is None:
        _offered(box)
    with box.connect() as session:
        if box.options.target.tls is None:
            _start(session)
        version = session.wire.tls_version()
        need(bool(version), "no TLS")
        expect(version in ("TLSv1.2", "TLSv1.3"), version)


@check("RFC 2595 §4", "STLS without CAPA's word for it is refused.", "stls-not-announced", Need.CLEAR)
def stls_unannounced(box: Box) -> None:
    need(b"STLS" not in box.capabilities(), "CAPA announces STLS")
    with box.connect() as session:
        reply = session.say(b"STLS")
        expect(not reply.ok, f"{reply}")
