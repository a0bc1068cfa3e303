"""Names: what is taken, what is refused and how that is said; nothing hostile gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.accounts import names
from mailhost.accounts.errors import InputError


@pytest.mark.parametrize(
    ("given_name", "wanted"),
    [
        ("domain.com", "domain.com"),
        ("Domain.COM", "domain.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("a-b.c", "a-b.c"),
    ],
)
def test_domains_become_lower_case_a_labels(given_name: str, wanted: str) -> None:
    assert names.domain(given_name) == wanted


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "1 to 253"),
        ("a" * 64 + ".com", "1 to 63"),
        (".".join(["a" * 60] * 5), "1 to 253"),
        ("domain.com.", "ends in a dot"),
        (".domain.com", "a label"),
        ("a..b", "a label"),
        ("-a.com", "a label"),
        ("a-.com", "a label"),
        ("a_b.com", "a label"),
        ("a b.com", "a label"),
        ("a:b.com", "a label"),
        ("a/b.com", "a label"),
        ("../etc", "a label"),
        ("a\nb.com", "a label"),
        ("a\0b.com", "a label"),
        ("#a.com", "a label"),
        ("1.2.3.4", "IP address"),
        ("[1.2.3.4]", "a label"),
        ("xn--\u00fc.com", "internationalised"),
        ("xn--zzzzzzzzz99.com", "internationalised"),
        ("ab--cd.com", "internationalised"),
        ("bü cher.example", "internationalised"),
    ],
)
def test_a_refused_domain_is_named_with_the_rule(name: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule) as refused:
        names.domain(name)
    assert refused.value.field.startswith("domain ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "local", ["joe", "joe.bloggs", "o'brien", "a+b", "x=y", "postmaster", "a-b-", "a" * 64, "100%"]
)
def test_local_parts(local: str) -> None:
    assert names.local_part(local.upper()) == local


@pytest.mark.parametrize(
    "local",
    ["", "a" * 65, ".joe", "joe.", "a..b", "a b", "a:b", "a/b", "..", ".", "a@b", '"a b"', "jö", "a\nb", "a\0", "(a)"],
)
def test_refused_local_parts(local: str) -> None:
    with pytest.raises(InputError, match="local part"):
        names.local_part(local)


@pytest.mark.parametrize("text", ["joe", "@domain.com", "joe@", "joe@@", "a b@c.d", "joe@domain.com\n=x:y"])
def test_refused_addresses(text: str) -> None:
    with pytest.raises(InputError):
        names.address(text)


def test_targets_keep_the_case_of_their_local_part() -> None:
    assert names.target("Some/One@Bücher.Example") == "Some/One@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text", ["joe", "", "@x.y", "a b@x.y", "|program@x.y ", "x@y.z\n|sh", "a" * 65 + "@x.y", "x@" + "a." * 130]
)
def test_refused_targets(text: str) -> None:
    with pytest.raises(InputError):
        names.target(text)


@pytest.mark.parametrize("login", ["testid", "ab0001", "joe@domain.com", "A!b"])
def test_logins(login: str) -> None:
    assert names.login(login) == login


@pytest.mark.parametrize("login", ["", "a:b", "a b", "#a", "a\nb", "a\0", "jö", "x" * 129])
def test_refused_logins(login: str) -> None:
    with pytest.raises(InputError, match="login"):
        names.login(login)


@pytest.mark.parametrize("prefix", ["", ".a", "-a", "a-", "a/b", "a:b", "..", "a\nb", "x" * 256])
def test_refused_prefixes(prefix: str) -> None:
    with pytest.raises(InputError, match="prefix"):
        names.prefix(prefix)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [("a-b", "a-b", True), ("a", "a-b", True), ("a-b", "a", True), ("a-b", "a-bc", False), ("ab", "a-b", False)],
)
def test_h9_overlap(one: str, other: str, wanted: bool) -> None:
    assert names.overlap(one, other) is wanted


ANY = st.one_of(st.text(max_size=80), st.text(alphabet="ab.-@:/\n\0#=+% ü", max_size=20))


@given(ANY)
def test_whatever_is_taken_is_one_path_component_and_one_field(text: str) -> None:
    for check in (names.domain, names.local_part, names.login, names.prefix, names.target):
        try:
            made = check(text)
        except InputError:
            continue
        assert made
        assert not set(made) & set(":\n\0\r\t ")
        assert made.isascii()
        if check in (names.domain, names.local_part, names.prefix):
            assert "/" not in made
            assert not made.startswith(".")
            assert made == made.lower()
