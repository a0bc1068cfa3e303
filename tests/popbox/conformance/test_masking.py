"""A password that a server says back is masked, however the text that quotes it spells it."""

from __future__ import annotations

from base64 import b64encode

import pytest

from popbox.clients.secret import MASK
from popbox.conformance.masking import masked
from popbox.conformance.session import Reply

PASSWORDS = ["testPW1x", "päßwort1", "back\\slash", "it's me", 'it\'s "both"', "tab\tinside", "nbsp\u00a0x\u0085y"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_reply_that_quotes_the_password(password: str) -> None:
    said = b"-ERR no such password: " + password.encode()
    expected = f"-ERR no such password: {MASK}"
    assert masked(said.decode("latin-1"), password) == expected
    for quoted in (str(Reply(said + b"\r\n")), repr(said + b"\r\n")):
        assert f"{expected}\\r\\n" in masked(f"login refused: {quoted}", password)


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_that_a_check_derives_from_it(password: str) -> None:
    for derived in (f"not-{password}", f"{password}x", password.swapcase(), password[:-1] + ">"):
        text = masked(f"-ERR <{derived}>", password)
        assert MASK in text
        assert password[:-1] not in text


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("identity", ["", "testid", "nobody-popbox-check"])
def test_a_base64_response(password: str, identity: str) -> None:
    response = b64encode(f"{identity}\0testid\0{password}".encode()).decode()
    assert masked(f"-ERR bad response {response}", password) == f"-ERR bad response {MASK}"
    cut = b64encode(f"{identity}\0testid\0{password} and more".encode()).decode()[:-3]
    assert masked(f"-ERR bad response {cut} ... (900 octets)", password) == f"-ERR bad response {MASK} ... (900 octets)"


def test_other_words_stay() -> None:
    text = "+OK dGVzdGlkdGVzdGlk abcdefgh testid 2 messages"
    assert masked(text, "testPW1x") == text
    assert masked("+OK a b c", "abc") == "+OK a b c"
    assert masked("a\x1b[2J", "testPW1x") == "a\\x1b[2J"
