"""users/domains/<domain>: our lines, foreign lines, and lines that must be refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.accounts.errors import InputError
from mailhost.accounts.files import domain_part
from mailhost.accounts.files.domain_part import Kind
from mailhost.accounts.layout import Identity
from mailhost.qmail.assign import parse_line

WHO = Identity("popuser", 888, 888)
DIR = "/var/qmail/popboxes/domain-com"
JOE = f"=domain-com-joe:popuser:888:888:{DIR}/joe:::\n".encode()


def read(text: bytes) -> domain_part.Part:
    return domain_part.parse(text, "domain-com", DIR, "users/domains/domain.com")


def test_each_kind_is_known_again() -> None:
    made = domain_part.Part("domain-com", DIR, "x")
    made.add(Kind.CATCHALL, "", "joe", WHO)
    made.add(Kind.EXTENSIONS, "joe", "joe", WHO)
    made.add(Kind.EXACT, "joe", "joe", WHO)
    made.add(Kind.EXACT, "info", "joe", WHO)
    text = made.render()
    assert text.decode().splitlines() == [
        f"=domain-com-info:popuser:888:888:{DIR}/joe:::",
        f"=domain-com-joe:popuser:888:888:{DIR}/joe:::",
        f"+domain-com-joe-:popuser:888:888:{DIR}/joe:-::",
        f"+domain-com-:popuser:888:888:{DIR}/joe:-::",
    ]
    assert read(text).entries == made.entries
    assert read(text).render() == text


@pytest.mark.parametrize(
    "line",
    [
        f"+domain-com-joe:popuser:888:888:{DIR}/joe:::".encode(),
        b"=domain-com-joe:joe:1000:1000:/home/joe:::",
        b"=other-joe:popuser:888:888:/var/qmail/popboxes/other/joe:::",
        f"=domain-com-joe:popuser:888:888:{DIR}/joe/deeper:::".encode(),
        f"+domain-com-:popuser:888:888:{DIR}/all:-:pre-:".encode(),
        f"+domain-com-ann-:popuser:888:888:{DIR}/joe:-::".encode(),
        b"=domain-com-j\xf6e:popuser:888:888:/x:::",
    ],
)
def test_a_foreign_line_is_kept_as_it_is(line: bytes) -> None:
    one = read(JOE + line + b"\n")
    assert [entry.line for entry in one.foreign()] == [line]
    one.add(Kind.EXACT, "zed", "zed", WHO)
    assert line + b"\n" in one.render()
    assert JOE in one.render()


def test_another_owner_in_an_old_line_is_kept_too() -> None:
    line = f"=domain-com-joe:mail:8:8:{DIR}/joe:::\n".encode()
    one = read(line)
    one.add(Kind.EXACT, "ann", "ann", WHO)
    assert line in one.render()


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"", "an empty line"),
        (b"# a comment", "no comments"),
        (b".", "ends users/assign"),
        (b".hidden:::::::", "ends users/assign"),
        (b"domain-com-joe:u:1:1:/h:::", "neither '=' nor '\\+'"),
        (b"=domain-com-joe:u:1:1:/h::", "seven colons"),
        (b"=domain-com-joe:u:1:1:/h:::=x-y:u:1:1:/h:::", "seventh colon"),
        (b"=a\0b:u:1:1:/h:::", "NUL"),
    ],
)
def test_a_line_that_would_lose_mail_is_refused_by_number(line: bytes, rule: str) -> None:
    with pytest.raises(InputError, match=rule) as refused:
        read(JOE + line + b"\n")
    assert (refused.value.file, refused.value.line) == ("users/domains/domain.com", 2)


def test_h18_a_last_line_without_newline_is_refused() -> None:
    with pytest.raises(InputError, match="does not end in a newline"):
        read(JOE.rstrip(b"\n"))


def test_an_address_twice_names_both_lines() -> None:
    with pytest.raises(InputError, match="same address as line 1") as refused:
        read(JOE + JOE.replace(b"com-joe:", b"com-JOE:"))
    assert refused.value.line == 2


LOCAL = st.from_regex(r"[a-z0-9+=!#]{1,8}(-[a-z]{1,3}){0,2}", fullmatch=True)


@given(st.dictionaries(LOCAL, LOCAL, max_size=8), st.sets(LOCAL, max_size=3), st.none() | LOCAL)
def test_render_parse_gives_the_same(addresses: dict[str, str], wild: set[str], catchall: str | None) -> None:
    made = domain_part.Part("domain-com", DIR, "x")
    for local, box in addresses.items():
        made.add(Kind.EXACT, local, box, WHO)
    for local in wild:
        made.add(Kind.EXTENSIONS, local, local, WHO)
    if catchall is not None:
        made.add(Kind.CATCHALL, "", catchall, WHO)
    text = made.render()
    assert read(text).entries == made.entries
    for number, line in enumerate(text.splitlines(), 1):
        entry = parse_line(line, number)
        assert entry.home.startswith(DIR.encode() + b"/"), "qmail's own reading: nothing leaves popboxes"


@given(st.binary(max_size=200))
def test_any_other_octets_are_kept_or_refused_by_name(text: bytes) -> None:
    try:
        one = read(text)
    except InputError as why:
        refused = why
    else:
        assert sorted(one.render().split(b"\n")) == sorted(text.split(b"\n"))
        return
    assert refused.file == "users/domains/domain.com"
    assert refused.line > 0
