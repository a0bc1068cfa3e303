"""SCRAM-SHA-256 (RFC 5802, RFC 7677), server side, without I/O. Channel binding (-PLUS) is not offered.

What is stored is ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, base64 but for the number: the
form PostgreSQL and others use. Reading it does not let anyone log in.

A client that asks for the salt of a login gets one, whether there is such a login or not (``made_up``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mailhost.pop3.protocol.events import Authenticate, Lookup
from mailhost.pop3.protocol.sasl import SaslError

PREFIX = b"SCRAM-SHA-256$"
ITERATIONS = 4096
"""RFC 7677 §4 asks for at least this many; phones pay it at every login."""

MOST_ITERATIONS = 10_000_000
"""More would hold the client for minutes (our choice)."""

Shape = tuple[int, int]
"""Iterations, and octets of the salt: what tells verifiers made by different programs apart."""


SALT_OCTETS = 16


class Verifier(NamedTuple):
    """What is stored for one login."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def make(password: bytes, salt: bytes | None = None, iterations: int = ITERATIONS) -> bytes:
    """The text to store (RFC 5802 §3) for ``password``, already in its prepared form (RFC 4013; ASCII is)."""
    salt = secrets.token_bytes(SALT_OCTETS) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    encoded = [base64.b64encode(part) for part in (salt, stored, server)]
    return PREFIX + b"%d:%b$%b:%b" % (iterations, encoded[0], encoded[1], encoded[2])


def parse(text: bytes) -> Verifier | None:
    """The fields of a stored text (RFC 5802 §3; form: see above); None where it is something else."""
    try:
        _, front, back = text.split(b"$")
        iterations, salt = front.split(b":")
        stored, server = back.split(b":")
        keys = [base64.b64decode(part, validate=True) for part in (salt, stored, server)]
        verifier = Verifier(int(iterations), *keys)
    except (ValueError, binascii.Error):
        return None
    usable = text.startswith(PREFIX) and len(verifier.stored_key) == 32 and verifier.salt
    return verifier if usable and 0 < verifier.iterations <= MOST_ITERATIONS else None


def made_up(login: bytes, key: bytes, shapes: Mapping[Shape, int]) -> bytes:
    """The text for a login that has none, which no password proves: it never changes, like that of a real login.

    ``key`` is known to the server alone. ``shapes`` says how many real verifiers have which iterations and salt; the
    made-up ones have them as often, and when a real one comes or goes few of the others change (rendezvous hashing).
    """

    def score(shape: Shape) -> float:
        drawn = _hmac(key, b"shape %d %d %b" % (*shape, login))
        return -math.log((int.from_bytes(drawn[:8], "big") + 1) / (2**64 + 1)) / shapes[shape]

    iterations, octets = min(sorted(shapes), key=score, default=(ITERATIONS, SALT_OCTETS))
    salt = hashlib.shake_256(_hmac(key, b"salt " + login)).digest(octets)
    keys = (_hmac(key, b"stored " + login), _hmac(key, b"server " + login))
    encoded = [base64.b64encode(part) for part in (salt, *keys)]
    return PREFIX + b"%d:%b$%b:%b" % (iterations, encoded[0], encoded[1], encoded[2])


class Scram:
    """One exchange: client-first, (look-up), client-final, (verdict), the empty answer to the server's signature."""

    def __init__(self, nonce: bytes | None = None) -> None:
        """``nonce`` is for tests; the default is fresh random octets."""
        self._nonce = base64.b64encode(secrets.token_bytes(18)) if nonce is None else nonce
        self._step: Callable[[bytes], bytes | Authenticate | Lookup] = self._first
        self._login = self._gs2 = self._client_first = self._server_first = self._client_final = b""
        self._verifier: Verifier | None = None

    def respond(self, response: bytes) -> bytes | Authenticate | Lookup:
        """The next step of the exchange (RFC 5802 §5), see ``sasl.Exchange``.

        Raises:
            SaslError: the message is malformed, asks for channel binding, or names another user to act for.
        """
        return self._step(response)

    def found(self, stored: bytes) -> bytes:
        """The server-first message (RFC 5802 §5.1), from the stored text or one that is ``made_up``.

        Raises:
            SaslError: the stored text is no verifier.
        """
        verifier = self._verifier = parse(stored)
        if verifier is None:
            raise SaslError("no verifier")
        salt = base64.b64encode(verifier.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, verifier.iterations)
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
            raise SaslError("acting for another user is not possible")
        if not self._login or not attributes[1][2:]:
            raise SaslError("empty login or nonce")
        self._gs2, self._client_first = gs2 + b"," + authzid + b",", bare
        self._nonce = attributes[1][2:] + self._nonce
        return Lookup(self._login)

    def _final(self, message: bytes) -> Authenticate:
        """``c=gs2,r=nonce,p=proof``: ``proves`` tells whether the proof is right, once the throttle allows it."""
        self._client_final = message
        return Authenticate("scram", self._login, b"")

    def proves(self) -> bool:
        """Whether the client's last message belongs to this exchange and proves the password (RFC 5802 §3)."""
        without, _, proof = self._client_final.rpartition(b",p=")
        wanted = b"c=%b,r=%b" % (base64.b64encode(self._gs2), self._nonce)
        if without != wanted or self._verifier is None:
            return False
        return self._is_right(proof, self._signed(), self._verifier)

    def signature(self) -> bytes:
        """The server-final message (RFC 5802 §5): it shows the client that the server knows the secret too."""
        self._step = self._acknowledged
        key = b"" if self._verifier is None else self._verifier.server_key
        return b"v=" + base64.b64encode(_hmac(key, self._signed()))

    def _signed(self) -> bytes:
        return b",".join([self._client_first, self._server_first, self._client_final.rpartition(b",p=")[0]])

    @staticmethod
    def _is_right(proof: bytes, signed: bytes, verifier: Verifier) -> bool:
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
            raise SaslError("the exchange is over, nothing may follow")
        return Authenticate("proven", self._login, b"")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _unescape(name: bytes) -> bytes:
    """``=2C`` is a comma, ``=3D`` an equals sign (RFC 5802 §5.1)."""
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")
