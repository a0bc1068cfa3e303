"""Transcripts: what is read, what matches, and what is refused."""

from __future__ import annotations

import pytest

from popbox.scenario.transcript import Kind, Line, TranscriptError, expand, match, parse


def s(text: str, kind: Kind = Kind.EXACT) -> Line:
    return Line(kind, text, 1)


def test_lines_keep_their_kind_text_and_number() -> None:
    assert parse("# a comment\nS: +OK...\n\nC: QUIT\nS~ \\+OK(?P<rest>.*)\nS:\n") == (
        Line(Kind.EXACT, "+OK...", 2),
        Line(Kind.CLIENT, "QUIT", 4),
        Line(Kind.PATTERN, "\\+OK(?P<rest>.*)", 5),
        Line(Kind.EXACT, "", 6),
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("X: hm", "line 1: 'X: hm' starts with none of"),
        ("S:no space", "line 1: 'S:no space' starts with none of"),
        ("C: QUIT", "needs at least one S: line"),
        ("S: +OK\nS: ...\nC: QUIT\nS: .", "line 2: after 'S: ...' must stand the S line"),
        ("S: ...", "line 1: after 'S: ...' must stand the S line"),
        ("S~ (", "line 1: not a regular expression"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, rule: str) -> None:
    with pytest.raises(TranscriptError) as caught:
        parse(text)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("line", "answer", "groups"),
    [
        (s("+OK"), "+OK", {}),
        (s("+OK"), "+OK ", None),
        (s("+OK..."), "+OK", {}),
        (s("+OK...me"), "+OK it is me", {}),
        (s("+OK...me"), "+OK it is you", None),
        (s("a.c"), "abc", None),
        (s("1 ${n}"), "1 42", {}),
        (s("(?P<x>[0-9]+) ${n}", Kind.PATTERN), "7 42", {"x": "7"}),
        (s("(?P<x>[0-9]+)", Kind.PATTERN), "7 42", None),
        (s("${dot}", Kind.PATTERN), "x", None),
    ],
)
def test_matching(line: Line, answer: str, groups: dict[str, str] | None) -> None:
    assert match(line, answer, {"n": "42", "dot": "."}) == groups


def test_a_variable_without_value_names_those_that_have_one() -> None:
    with pytest.raises(TranscriptError, match=r"no variable \$\{gone\}; there are: a, b"):
        expand("${gone}", {"b": "", "a": ""})
