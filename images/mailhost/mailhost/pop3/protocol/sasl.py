"""SASL mechanisms as small exchanges without I/O: what they have in common, and PLAIN (RFC 4616)."""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from mailhost.pop3.protocol.events import Authenticate, Lookup


class SaslError(ValueError):
    """The peer's response is not what the mechanism asks for; the text is never sent."""


class Exchange(Protocol):
    """One run of a mechanism: responses in, challenges or a claim out."""

    def respond(self, response: bytes) -> bytes | Authenticate | Lookup:
        """The next challenge (RFC 4422 §3; octets, not yet base64), or the claim for the I/O layer to check.

        Raises:
            SaslError: the response is malformed.
        """
        ...

    def found(self, stored: bytes) -> bytes:
        """The challenge that follows a ``Lookup`` (RFC 5802 §5.1).

        Raises:
            SaslError: what is stored is of another form.
        """
        ...


class Plain:
    """PLAIN: one response, ``[authzid] NUL authcid NUL password``; acting for another user is refused."""

    def respond(self, response: bytes) -> bytes | Authenticate | Lookup:
        """The claim that the response makes (RFC 4616 §2).

        Raises:
            SaslError: it has not three fields, no login or password, or names another user to act for.
        """
        fields = response.split(b"\0")
        if len(fields) != 3 or not fields[1] or not fields[2] or fields[0] not in (b"", fields[1]):
            raise SaslError("PLAIN wants [authzid] NUL authcid NUL password")
        return Authenticate("plain", fields[1], fields[2])

    def found(self, stored: bytes) -> bytes:
        """PLAIN looks nothing up (RFC 4616 §2).

        Raises:
            SaslError: always.
        """
        raise SaslError("PLAIN looks nothing up")


def decode(text: bytes) -> bytes:
    """Base64 as RFC 4648 §4 has it, nothing around it; a single ``=`` is an empty response (RFC 5034 §4).

    Raises:
        SaslError: it is not base64.
    """
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SaslError("not base64") from error
