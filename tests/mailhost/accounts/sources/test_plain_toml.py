"""The quick reader of accounts.toml: whatever it takes upon itself is what `tomllib` says."""

from __future__ import annotations

import time
import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailhost.accounts.sources import plain_toml

PLAIN = """\
# a comment, with Grüße\tand a tab
[logins]  # another
policy = "jb0001"
last-one=17
[domains."d.example".mailboxes.joe]
login = "testid"
extensions = true

  [domains."d.example".mailboxes."o'brien"]
aliases = [
    "info",
    "a, b]",
]
extensions = false
[domains."d.example"]
catchall = "joe"
none = []
[domains."d.example".forwards]
sales = ["joe@domain.com" , "someone@elsewhere.example"]"""

PIECES = [
    *("a", "b", '"a"', '"x.y"', "'a'", "a.b", "1", "é"),
    *("[", "]", "[[", "]]", "=", ".", ",", "{", "}", "#", " ", "\t", "\n", "\r\n", "\r", "\0", "\x7f", "\\n"),
    *('"""', "'''", "true", "false", "0", "01", "17", "1_0", "1.5", "+1", "9" * 19, "9" * 4301, "nan", "1979-05-27"),
    *("[a]\n", "[a.b]\n", '["a"]\n', "[b]\n", "[a.b.c]\n", "[[a]]\n", "a = 1\n", "b = 1\n", 'c = "x"\n', "a.b = 1\n"),
    *(
        'a = ["x"]\n',
        'b = ["x",\n"y", ]\n',
        "a = {}\n",
        "a = {b = 1}\n",
        "a = true # b\n",
        'a = "\\u0061"\n',
        "b = []\n",
    ),
]


def read(load: Any, text: str) -> object:
    """What it says, down to types and order, or that it refuses."""
    try:
        return repr(load(text))
    except ValueError:
        return None


@pytest.mark.parametrize("end", ["", "\n", " # end"])
def test_the_plain_form_is_read_without_tomllib(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tomllib.loads(PLAIN + end)
    monkeypatch.setattr(tomllib, "loads", None)
    assert repr(plain_toml.loads(PLAIN + end)) == repr(said)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example('[a]\nb = 1\n["a"]\n')
@example("[a]\nb = 1\n[a.b]\n")
@example("[a.b]\n[a]\nb = 1\n")
@example('[a]\nb = ["x"]\n[a.b.c]\n')
@example('a = [\n[b]\nc = "x"\n]\n')
@example('a = """\n[b]\nc = "x"\n"""\n')
def test_anything_else_is_as_tomllib_says(text: str) -> None:
    assert read(plain_toml.loads, text) == read(tomllib.loads, text)


@pytest.mark.parametrize("text", ["{}= 1", "a = [{}x]", 'a = ["b"{}x]', 'a = ["b",{}x]', "a = 1{}x", "[a]{}x", "[a{}]"])
@pytest.mark.parametrize("blank", [" ", "\n", '"', "a.", '"b",'])
def test_no_run_of_octets_is_tried_in_many_ways(text: str, blank: str) -> None:
    began = time.process_time()
    assert read(plain_toml._plain, text.format(blank * 50_000)) in ("None", None)
    assert time.process_time() - began < 2


@given(st.integers(0, len(PLAIN)), st.integers(0, 3), st.sampled_from(["", *PIECES]))
def test_a_plain_text_with_a_slip_is_as_tomllib_says(at: int, gone: int, piece: str) -> None:
    text = PLAIN[:at] + piece + PLAIN[at + gone :]
    assert read(plain_toml.loads, text) == read(tomllib.loads, text)
