"""USER, PASS and APOP (RFC 1939 §7, §13)."""

from __future__ import annotations

from popbox.conformance.box import Box
from popbox.conformance.check import Run, Table
from popbox.conformance.refusals import NO_SUCH_LOGIN, Refusal, digest, stamp_of
from popbox.conformance.session import Reply, Session
from popbox.conformance.verdict import expect, insist, need

TABLE = Table("login")
check = TABLE.check


def refusal(box: Box, kind: str) -> Refusal:
    """The outcome of a login that must fail; it becomes evidence of this check."""
    box.drop()
    found = box.refusals.get(kind)
    box.used.append(found.session)
    return found


def _must_fail(kind: str) -> Run:
    def run(box: Box) -> None:
        reply = refusal(box, kind).reply
        expect(not reply.ok, f"it gave {reply}")

    return run


MUST_FAIL = (
    ("wrong", "RFC 1939 §7 PASS", "A wrong password is refused.", "wrong-password-accepted"),
    ("unknown", "RFC 1939 §7 USER", "An unknown login is refused, at PASS at the latest.", "unknown-login-accepted"),
    ("case", "RFC 1939 §7 PASS", "The case of a password matters.", "password-case-folded"),
    ("login-case", "Q-CPW-5", "The case of a login matters.", "login-case-folded"),
    ("shorter", "RFC 1939 §7 PASS", "A password without its last octet is refused.", "password-cut"),
    ("longer", "Q-CPW-7", "A password with an octet behind it is refused.", "password-tail-ignored"),
    ("space", "RFC 1939 §7 PASS", "A space behind a password is part of it.", "password-trimmed"),
    ("nul", "RFC 1939 §3", "NUL does not end a password.", "password-ends-at-nul"),
)
for _kind, _source, _statement, _deviation in MUST_FAIL:
    TABLE.add(f"{_kind}-refused", _source, _statement, _deviation, _must_fail(_kind))


@check("RFC 1939 §7", "USER and PASS with the right password open the box.", "login-refused")
def right_login(box: Box) -> None:
    with box.let_in(lambda session: session.login(box.options.login, box.options.password)) as (session, reply):
        expect(reply.ok, f"it gave {reply}")
        insist(session.say(b"STAT").ok, "STAT is refused after it")


@check("RFC 1939 §13", "USER does not tell which logins exist.", "user-discloses-logins")
def user_discloses_nothing(box: Box) -> None:
    with box.connect() as one, box.connect() as two:
        right, wrong = one.say(b"USER " + box.options.login.encode()), two.say(b"USER " + NO_SUCH_LOGIN.encode())
        expect(right.ok == wrong.ok, f"one that exists: {right}; another: {wrong}")


@check("RFC 1939 §13", "An unknown login and a wrong password get the same reply.", "refusal-discloses-logins")
def refusal_discloses_nothing(box: Box) -> None:
    wrong, unknown = refusal(box, "wrong").reply, refusal(box, "unknown").reply
    expect(wrong.raw == unknown.raw, f"wrong password: {wrong}; unknown login: {unknown}")


@check("RFC 1939 §4", "After a refused login a right one works, or the server closes.", "stuck-after-refusal")
def login_after_refusal(box: Box) -> None:
    found = refusal(box, "wrong")
    if not found.closed:
        expect(found.retried is not None and found.retried.ok, f"a right login then gave {found.retried}")


@check("RFC 1939 §7 USER", "The connection stays open after a refused login.", "one-login-per-connection")
def open_after_refusal(box: Box) -> None:
    expect(not refusal(box, "wrong").closed, "the server closed it, as RFC 1939 §4 allows")


@check("RFC 1939 §7 USER", "USER without a name is refused.", "user-without-name")
def user_without_name(box: Box) -> None:
    with box.connect() as session:
        reply = session.say(b"USER")
        expect(not reply.ok, f"it gave {reply}")


@check("RFC 1939 §7 PASS", "PASS without a password is refused.", "pass-without-password")
def pass_without_password(box: Box) -> None:
    with box.connect() as session:
        session.say(b"USER " + box.options.login.encode())
        reply = session.say(b"PASS")
        expect(not reply.ok, f"it gave {reply}")


@check("RFC 1939 §7 APOP", "APOP with a wrong digest is refused.", "apop-wrong-digest-accepted")
def apop_wrong(box: Box) -> None:
    reply = refusal(box, "apop").reply
    expect(not reply.ok, f"it gave {reply}")


@check("RFC 1939 §7 APOP", "APOP with the digest of another timestamp is refused.", "apop-replay-accepted")
def apop_replay(box: Box) -> None:
    reply = refusal(box, "apop-replay").reply
    expect(not reply.ok, f"it gave {reply}")


@check("RFC 1939 §7 APOP", "A server whose greeting has a timestamp takes APOP.", "apop-offered-not-taken")
def apop_right(box: Box) -> None:
    def apop(session: Session) -> Reply:
        stamp = stamp_of(session.greeting)
        need(stamp is not None, "the greeting has no timestamp: APOP is not offered")
        right = digest(stamp or b"", box.options.password)
        return session.say(b"APOP %b %b" % (box.options.login.encode(), right))

    with box.let_in(apop) as (_, reply):
        expect(reply.ok, f"the right digest gave {reply}")


@check("RFC 1939 §7 APOP", "APOP without a digest is refused.", "apop-without-digest")
def apop_no_digest(box: Box) -> None:
    with box.connect() as session:
        reply = session.say(b"APOP " + box.options.login.encode())
        expect(not reply.ok, f"it gave {reply}")
