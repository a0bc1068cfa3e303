"""The line of each table and key of a TOML text."""

from __future__ import annotations

import time
import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from mailhost.accounts.sources.toml_lines import TomlPath, line_of, lines_of, unknown_key

TEXT = '''\
# a comment
top = 1
a.b = 2
"quo ted".x = """
[not.a.header]
y = 1
"""
list = [
  "]", # ]
  { z = 1 },
]
inline = { p = { q = 1 } }

  [ one . "two.three" ] # header
k = 1
[[step]]
[step.send]
to = 1
[[step]]
send.to = \'\'\'
[[step]]\'\'\'
[[step.more]]
x = 1
[[step.more]]
x = 1
[one]
k = 2
'''


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a", "b"), 3),
        (("quo ted", "x"), 4),
        (("list",), 8),
        (("list", 1, "z"), 8),
        (("inline", "p", "q"), 12),
        (("one", "two.three"), 14),
        (("one", "two.three", "k"), 15),
        (("step", 0), 16),
        (("step", 0, "send", "to"), 18),
        (("step", 1), 19),
        (("step", 1, "send", "to"), 20),
        (("step", 1, "more", 1, "x"), 25),
        (("one",), 26),
        (("one", "k"), 27),
        (("one", "absent"), 26),
        (("absent",), 0),
        ((), 0),
    ],
)
def test_each_key_has_the_line_on_which_it_stands(path: TomlPath, line: int, end: str) -> None:
    tomllib.loads(TEXT)
    assert line_of(path, lines_of(TEXT.replace("\n", end))) == line


KEYS = st.text(st.sampled_from("ab .\"'[]#=\u2028é"), min_size=1, max_size=3)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(st.sampled_from("a\"'[]{}#\n\\é= "), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def _paths(value: Any, path: TomlPath = ()) -> list[TomlPath]:
    inner = value.items() if isinstance(value, dict) else ()
    return [path, *(one for key, more in inner for one in _paths(more, (*path, key)))]


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans())
def test_every_key_of_any_text_is_found_on_a_line_that_has_it(table: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(table, multiline_strings=multiline)
    found, lines = lines_of(text), text.split("\n")
    for path in _paths(table)[1:]:
        at = line_of(path, found)
        assert path in found
        assert tomli_w.dumps({str(path[-1]): 1}).partition(" = ")[0] in lines[at - 1]


def test_a_text_made_to_be_read_again_and_again_costs_no_more_than_twenty_readings() -> None:
    text = "x = [\n" + "[],\n" * 20_000 + "]\ny = 1"
    begun = time.process_time()
    assert ("y",) not in lines_of(text)
    assert time.process_time() - begun < 30  # 20,000 readings of it take minutes


def test_a_key_is_told_what_was_meant() -> None:
    assert unknown_key("LOGIN", ["login", "crypt"]) == "unknown key; did you mean 'login'? known here: login, crypt"
    assert unknown_key("xyz", ["login"]) == "unknown key; known here: login"
