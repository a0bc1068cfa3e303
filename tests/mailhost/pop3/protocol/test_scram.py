"""SCRAM-SHA-256: the RFC's own exchange, and everything that must not pass."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from mailhost.pop3.protocol.events import Authenticate, Lookup
from mailhost.pop3.protocol.sasl import SaslError
from mailhost.pop3.protocol.scram import ITERATIONS, PREFIX, Scram, made_up, make, parse

# RFC 7677 §3: user "user", password "pencil".
KEY = b"a key that the server alone knows"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_NONCE, SERVER_NONCE = b"rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


def begun(stored: bytes) -> Scram:
    exchange = Scram(SERVER_NONCE)
    assert exchange.respond(b"n,,n=user,r=" + CLIENT_NONCE) == Lookup(b"user")
    exchange.found(stored)
    return exchange


def test_the_exchange_of_rfc_7677() -> None:
    exchange = Scram(SERVER_NONCE)
    exchange.respond(b"n,,n=user,r=" + CLIENT_NONCE)
    first = exchange.found(make(b"pencil", SALT))
    assert first == b"r=" + CLIENT_NONCE + SERVER_NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert exchange.respond(FINAL) == Authenticate("scram", b"user", b"")
    assert exchange.proves()
    assert exchange.signature() == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert exchange.respond(b"") == Authenticate("proven", b"user", b"")


@pytest.mark.parametrize("stored", [made_up(b"user", KEY, {}), make(b"crayon", SALT)])
def test_an_unknown_login_and_a_wrong_password_look_alike(stored: bytes) -> None:
    exchange = begun(stored)
    assert exchange.respond(FINAL) == Authenticate("scram", b"user", b"")
    assert not exchange.proves()


def test_what_is_made_up_looks_like_a_real_one_and_never_changes() -> None:
    one = parse(made_up(b"joe", KEY, {}))
    assert one is not None
    assert (one.iterations, len(one.salt), len(one.stored_key), len(one.server_key)) == (ITERATIONS, 16, 32, 32)
    assert made_up(b"joe", KEY, {}) == made_up(b"joe", KEY, {})
    others = {made_up(login, key, {}) for login, key in ((b"joe", b"other"), (b"ann", KEY), (b"joe", KEY))}
    assert len(others) == 3


def test_made_up_ones_have_iterations_and_salts_as_often_as_the_real_ones() -> None:
    logins = [b"%d" % number for number in range(2_000)]
    before = {login: made_up(login, KEY, {(4096, 16): 90, (10_000, 12): 10}) for login in logins}
    rare = sum(text.startswith(PREFIX + b"10000:") for text in before.values())
    assert 100 < rare < 320, "10 of 100, so some 200 of 2,000"
    assert {len(v.salt) for v in map(parse, before.values()) if v is not None} == {12, 16}
    after = {login: made_up(login, KEY, {(4096, 16): 91, (10_000, 12): 10}) for login in logins}
    assert sum(before[login] != after[login] for login in logins) < 40, "one more real one changes few"


@pytest.mark.parametrize(
    "change",
    [
        (b"c=biws", b"c=eSws"),  # y,, in place of n,,: the header that was sent is another
        (b"c=biws,", b""),
        (b"r=rO", b"r=RO"),
        (b"hNlF$k0", b"hNlF$k1"),
        (b"p=dH", b"p=dh"),
        (b",p=", b",q="),
    ],
)
def test_a_changed_final_message_proves_nothing(change: tuple[bytes, bytes]) -> None:
    exchange = begun(make(b"pencil", SALT))
    assert exchange.respond(FINAL.replace(*change)) == Authenticate("scram", b"user", b"")
    assert not exchange.proves()


@pytest.mark.parametrize(
    "first", [b"", b"p=tls-unique,,n=user,r=x", b"n,,r=x,n=user", b"n,,n=,r=x", b"n,,n=user,r=", b"n,a=eve,n=user,r=x"]
)
def test_a_malformed_first_message_is_an_error(first: bytes) -> None:
    with pytest.raises(SaslError):
        Scram().respond(first)


def test_what_is_stored_lets_no_reader_of_it_in() -> None:
    verifier = parse(make(b"pencil", SALT))
    assert verifier is not None
    signature = hmac.digest(verifier.stored_key, b"anything", "sha256")
    assert hashlib.sha256(signature).digest() != verifier.stored_key
    assert parse(b"SCRAM-SHA-256$x:y$z:") is None


@pytest.mark.parametrize("iterations", [b"0", b"-1", b"10000001", b"999999999999"])
def test_iterations_that_would_hold_a_client_are_not_offered(iterations: bytes) -> None:
    assert parse(make(b"pencil", SALT).replace(b"$4096:", b"$" + iterations + b":")) is None


def test_programs_that_import_the_module_by_its_earlier_name_get_it() -> None:
    from mailhost.pop3 import scram  # type: ignore[attr-defined, unused-ignore]

    assert scram.make is make
    with pytest.raises(ImportError):
        from mailhost.pop3 import scrum  # type: ignore[attr-defined, unused-ignore]  # noqa: F401
