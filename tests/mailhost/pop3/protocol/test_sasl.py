"""PLAIN (RFC 4616) and base64 (RFC 4648 §4) of a response."""

from __future__ import annotations

import base64

import pytest

from mailhost.pop3.protocol.events import Authenticate
from mailhost.pop3.protocol.sasl import Plain, SaslError, decode


@pytest.mark.parametrize("response", [b"\0joe\0secret", b"joe\0joe\0secret"])
def test_plain_is_a_login_and_a_password(response: bytes) -> None:
    assert Plain().respond(response) == Authenticate("plain", b"joe", b"secret")


@pytest.mark.parametrize(
    "response",
    [b"", b"joe\0secret", b"\0joe\0se\0cret", b"\0\0secret", b"\0joe\0", b"ann\0joe\0secret", b"secret\0joe\0secret"],
)
def test_plain_of_another_form_or_for_another_user_is_refused(response: bytes) -> None:
    with pytest.raises(SaslError, match="PLAIN wants"):
        Plain().respond(response)


def test_plain_looks_nothing_up() -> None:
    with pytest.raises(SaslError):
        Plain().found(b"x")


def test_base64_and_nothing_around_it() -> None:
    assert decode(base64.b64encode(b"\0joe\0x")) == b"\0joe\0x"
    assert decode(b"=") == b""
    for text in (b"AGpv ZQB4", b"AGpvZQB", b"*", b"==", b"AGpvZQB4\n"):
        with pytest.raises(SaslError, match="not base64"):
            decode(text)
