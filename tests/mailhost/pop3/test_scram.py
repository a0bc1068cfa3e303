"""SCRAM-SHA-256: the RFC's own exchange, and everything that must not pass."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from mailhost.pop3.events import Authenticate, Lookup
from mailhost.pop3.sasl import SaslError
from mailhost.pop3.scram import Scram, make, parse

# RFC 7677 §3: user "user", password "pencil".
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_NONCE, SERVER_NONCE = b"rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


def begun(stored: bytes | None) -> Scram:
    exchange = Scram(SERVER_NONCE)
    assert exchange.respond(b"n,,n=user,r=" + CLIENT_NONCE) == Lookup(b"user")
    exchange.found(stored)
    return exchange


def test_the_exchange_of_rfc_7677() -> None:
    exchange = Scram(SERVER_NONCE)
    exchange.respond(b"n,,n=user,r=" + CLIENT_NONCE)
    first = exchange.found(make(b"pencil", SALT))
    assert first == b"r=" + CLIENT_NONCE + SERVER_NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert exchange.respond(FINAL) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert exchange.respond(b"") == Authenticate("proven", b"user", b"")


@pytest.mark.parametrize("stored", [None, b"nonsense", make(b"crayon", SALT)])
def test_an_unknown_login_and_a_wrong_password_look_alike(stored: bytes | None) -> None:
    assert begun(stored).respond(FINAL) == Authenticate("refuted", b"user", b"")


def test_the_salt_of_an_unknown_login_never_changes() -> None:
    def salt(login: bytes) -> bytes:
        exchange = Scram(SERVER_NONCE)
        exchange.respond(b"n,,n=" + login + b",r=x")
        return exchange.found(None)

    assert salt(b"a") == salt(b"a")
    assert salt(b"a") != salt(b"b")


@pytest.mark.parametrize("change", [(b"c=biws", b"c=eSws"), (b"r=rO", b"r=RO"), (b"p=dH", b"p=dh"), (b",p=", b",q=")])
def test_a_changed_final_message_is_refused(change: tuple[bytes, bytes]) -> None:
    assert begun(make(b"pencil", SALT)).respond(FINAL.replace(*change)) == Authenticate("refuted", b"user", b"")


@pytest.mark.parametrize(
    "first", [b"", b"p=tls-unique,,n=user,r=x", b"n,,r=x,n=user", b"n,,n=,r=x", b"n,,n=user,r=", b"n,a=eve,n=user,r=x"]
)
def test_a_malformed_first_message_is_an_error(first: bytes) -> None:
    with pytest.raises(SaslError):
        Scram().respond(first)


def test_what_is_stored_lets_nobody_in_who_has_read_it() -> None:
    verifier = parse(make(b"pencil", SALT))
    assert verifier is not None
    signature = hmac.digest(verifier.stored_key, b"anything", "sha256")
    assert hashlib.sha256(signature).digest() != verifier.stored_key
    assert parse(b"SCRAM-SHA-256$x:y$z:") is None
