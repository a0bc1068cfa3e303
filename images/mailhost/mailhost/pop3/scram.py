"""SCRAM-SHA-256 (RFC 5802, RFC 7677), server side, without I/O. Channel binding (-PLUS) is not offered.

What is stored is ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, base64 but for the number: the
form PostgreSQL and others use. It does not let anybody log in who has read it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from typing import NamedTuple

from mailhost.pop3.events import Authenticate, Lookup
from mailhost.pop3.sasl import SaslError

PREFIX = b"SCRAM-SHA-256$"
ITERATIONS = 4096
"""RFC 7677 §4 asks for at least this many; phones pay it at every login."""

_FAKE_KEY = os.urandom(32)


class Verifier(NamedTuple):
    """What is stored for one login."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def make(password: bytes, salt: bytes | None = None, iterations: int = ITERATIONS) -> bytes:
    """The text to store for ``password``, which must be in its prepared form already (RFC 4013; ASCII is)."""
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    encoded = [base64.b64encode(part) for part in (salt, stored, server)]
    return PREFIX + b"%d:%b$%b:%b" % (iterations, encoded[0], encoded[1], encoded[2])


def parse(text: bytes) -> Verifier | None:
    """Take a stored text apart; None where it is something else."""
    try:
        _, front, back = text.split(b"$")
        iterations, salt = front.split(b":")
        stored, server = back.split(b":")
        keys = [base64.b64decode(part, validate=True) for part in (salt, stored, server)]
        return Verifier(int(iterations), *keys) if text.startswith(PREFIX) and len(keys[1]) == 32 else None
    except (ValueError, binascii.Error):
        return None


class Scram:
    """One exchange: client-first, (look-up), client-final, the empty answer to the server's signature."""

    def __init__(self, nonce: bytes | None = None) -> None:
        """``nonce`` is for tests; else fresh random octets."""
        self._nonce = base64.b64encode(os.urandom(18)) if nonce is None else nonce
        self._step: Callable[[bytes], bytes | Authenticate | Lookup] = self._first
        self._login = self._gs2 = self._client_first = self._server_first = b""
        self._verifier: Verifier | None = None

    def respond(self, response: bytes) -> bytes | Authenticate | Lookup:
        """See ``sasl.Exchange``."""
        return self._step(response)

    def found(self, stored: bytes | None) -> bytes:
        """The server-first message; for an unknown login it looks the same, with a salt that never changes."""
        self._verifier = None if stored is None else parse(stored)
        if self._verifier is None:
            salt, iterations = _hmac(_FAKE_KEY, self._login)[:16], ITERATIONS
        else:
            salt, iterations = self._verifier.salt, self._verifier.iterations
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, base64.b64encode(salt), iterations)
        self._step = self._final
        return self._server_first

    def _first(self, message: bytes) -> Lookup:
        """``n,[a=authzid],n=login,r=nonce``."""
        fields = message.split(b",", 2)
        if len(fields) != 3 or fields[0] not in (b"n", b"y"):
            raise SaslError("no channel binding here")
        gs2, authzid, bare = fields
        attributes = bare.split(b",")
        if len(attributes) < 2 or not attributes[0].startswith(b"n=") or not attributes[1].startswith(b"r="):
            raise SaslError("malformed client-first message")
        self._login = _unescape(attributes[0][2:])
        if authzid and _unescape(authzid[2:]) != self._login:
            raise SaslError("acting for somebody else is not possible")
        if not self._login or not attributes[1][2:]:
            raise SaslError("empty login or nonce")
        self._gs2, self._client_first = gs2 + b"," + authzid + b",", bare
        self._nonce = attributes[1][2:] + self._nonce
        return Lookup(self._login)

    def _final(self, message: bytes) -> bytes | Authenticate:
        """``c=gs2,r=nonce,p=proof``: the server's signature when the proof is right."""
        without, _, proof = message.rpartition(b",p=")
        wanted = b"c=%b,r=%b" % (base64.b64encode(self._gs2), self._nonce)
        signed = b",".join([self._client_first, self._server_first, without])
        if without == wanted and self._verifier is not None and self._proves(signed, proof, self._verifier):
            self._step = self._acknowledged
            return b"v=" + base64.b64encode(_hmac(self._verifier.server_key, signed))
        return Authenticate("refuted", self._login, b"")

    @staticmethod
    def _proves(signed: bytes, proof: bytes, verifier: Verifier) -> bool:
        try:
            octets = base64.b64decode(proof, validate=True)
        except binascii.Error:
            return False
        signature = _hmac(verifier.stored_key, signed)
        if len(octets) != len(signature):
            return False
        client_key = bytes(a ^ b for a, b in zip(octets, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key)

    def _acknowledged(self, message: bytes) -> Authenticate:
        """The client has seen the signature and has nothing to add (RFC 5034 §4)."""
        if message:
            raise SaslError("nothing is to be said any more")
        return Authenticate("proven", self._login, b"")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _unescape(name: bytes) -> bytes:
    """``=2C`` is a comma, ``=3D`` an equals sign (RFC 5802 §5.1)."""
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")
