"""SCRAM's c= and r=: a final message whose proof is right, over a channel or a nonce that is not this exchange's."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from mailhost.pop3.protocol.events import Authenticate
from mailhost.pop3.protocol.scram import Scram, make, parse

SALT = b"0123456789abcdef"


def final(first: bytes, server_first: bytes, channel: bytes, nonce: bytes) -> bytes:
    """What a client that knows the password sends with this channel binding and nonce, correctly proved."""
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", SALT, 4096)
    key = hmac.digest(salted, b"Client Key", "sha256")
    without = b"c=" + base64.b64encode(channel) + b",r=" + nonce
    signed = b",".join([first, server_first, without])
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    return without + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


@pytest.mark.parametrize(
    ("channel", "nonce", "proven"),
    [
        (b"n,,", b"clientserver", True),
        (b"y,,", b"clientserver", False),  # RFC 5802 §5.1: c= is the header that the client sent first
        (b"p=tls-unique,,x", b"clientserver", False),
        (b"n,a=user,", b"clientserver", False),
        (b"", b"clientserver", False),
        (b"n,,", b"client", False),  # r= is both nonces
        (b"n,,", b"clientother", False),
        (b"n,,", b"server", False),
        (b"n,,", b"", False),
    ],
)
def test_a_right_proof_over_another_channel_or_nonce_is_refused(channel: bytes, nonce: bytes, proven: bool) -> None:
    exchange = Scram(b"server")
    exchange.respond(b"n,,n=user,r=client")
    server_first = exchange.found(make(b"pencil", SALT))
    answer = exchange.respond(final(b"n=user,r=client", server_first, channel, nonce))
    assert answer == Authenticate("scram", b"user", b"")
    assert exchange.proves() is proven


def test_a_stored_text_of_another_kind_or_with_a_key_of_another_size_is_none() -> None:
    stored = make(b"pencil", SALT)
    assert parse(stored) is not None
    assert parse(stored.replace(b"SCRAM-SHA-256$", b"SCRAM-SHA-1$")) is None
    front, keys = stored.rsplit(b"$", 1)
    short = base64.b64encode(base64.b64decode(keys.split(b":")[0])[:20])
    assert parse(front + b"$" + short + b":" + keys.split(b":")[1]) is None


@pytest.mark.parametrize("proof", [b"", b"AAAA", base64.b64encode(bytes(33)), b"%%%"])
def test_a_proof_of_another_size_is_refused_without_an_error(proof: bytes) -> None:
    exchange = Scram(b"server")
    exchange.respond(b"n,,n=user,r=client")
    exchange.found(make(b"pencil", SALT))
    exchange.respond(b"c=" + base64.b64encode(b"n,,") + b",r=clientserver,p=" + proof)
    assert not exchange.proves()


def test_each_stored_text_has_a_salt_of_its_own() -> None:
    stored = [parse(make(b"pencil")) for _ in range(2)]
    assert stored[0] is not None
    assert stored[1] is not None
    assert stored[0].salt != stored[1].salt
    assert [len(one.salt) for one in stored if one] == [16, 16]
