"""UTF8 and LANG (RFC 6856), where they are announced."""

from __future__ import annotations

import re

from popbox.conformance.box import Box
from popbox.conformance.check import Table
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import expect, insist

TABLE = Table("UTF8 and LANG")
check = TABLE.check


@check("RFC 6856 §2", "UTF8 before login is answered +OK where it is announced.", "utf8-refused")
def utf8(box: Box) -> None:
    box.has(b"UTF8")

    def switched(session: Session) -> Reply:
        reply = session.say(b"UTF8")
        expect(reply.ok, f"{reply}")
        return session.login(box.options.login, box.options.password)

    with box.let_in(switched) as (_, reply):
        insist(reply.ok, f"a login after it gave {reply}")


@check("RFC 6856 §2.1", "UTF8 after login is refused.", "utf8-after-login")
def utf8_after_login(box: Box) -> None:
    box.has(b"UTF8")
    reply = box.session().say(b"UTF8")
    expect(not reply.ok, f"{reply}")


@check("RFC 6856 §3.2", "LANG without an argument lists tags, each with a name.", "lang-list-form")
def lang_list(box: Box) -> None:
    box.has(b"LANG")
    with box.connect() as session:
        reply = session.multi(b"LANG")
        expect(reply.ok and bool(reply.lines), f"{reply}")
        for line in reply.lines:
            expect(re.fullmatch(rb"[A-Za-z0-9*-]+ [^\r\n]+\r\n", line) is not None, f"{line!r}")


@check("RFC 6856 §3", "LANG with a tag that is not there gets -ERR.", "lang-unknown-accepted")
def lang_unknown(box: Box) -> None:
    box.has(b"LANG")
    with box.connect() as session:
        reply = session.say(b"LANG x-popbox-none")
        expect(not reply.ok, f"{reply}")


@check("RFC 6856 §3", "LANG * is always available; the reply names the tag chosen.", "lang-default-refused")
def lang_default(box: Box) -> None:
    box.has(b"LANG")
    with box.connect() as session:
        reply = session.say(b"LANG *")
        expect(reply.ok and bool(reply.text), f"{reply}")


@check("RFC 6856 §3", "LANG works after login as well.", "lang-after-login-refused")
def lang_after_login(box: Box) -> None:
    box.has(b"LANG")
    reply = box.session().multi(b"LANG")
    expect(reply.ok, f"{reply}")
