"""accounts.toml: strict, with errors that name file, table and key; and a round trip of anything valid."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mailhost.accounts.errors import InputError
from mailhost.accounts.model import Accounts, Delivery, Domain, Mailbox
from mailhost.accounts.sources import accounts_toml
from mailhost.poppasswd import crypt as hashing

HOUSE = """
[domains."domain.com"]
catchall = "joe"                       # optional
[domains."domain.com".mailboxes.joe]
login = "testid"                       # optional: else by the numbering policy
crypt = "DmIMm9e5Hc8ic"                # or password_file = "..."; never a plain password kept by export
extensions = true                      # joe-anything too
[domains."domain.com".forwards]
sales = ["joe@domain.com", "someone@elsewhere.example"]
"""


def test_the_houses_own_example() -> None:
    read = accounts_toml.parse(HOUSE, "accounts.toml")
    assert read.domains == {
        "domain.com": Domain(
            "domain-com",
            {"joe": Mailbox("testid", "DmIMm9e5Hc8ic", extensions=True)},
            {"sales": ("joe@domain.com", "someone@elsewhere.example")},
            "joe",
        )
    }
    assert accounts_toml.parse(accounts_toml.render(read), "again") == read


@pytest.mark.parametrize("text", [f"x = {'9' * 5000}", f"x = {'[' * 5000}", "x = 1\0", "x = 1\ry = 2"])
def test_what_no_reader_takes_is_a_mistake_of_the_file(text: str) -> None:
    with pytest.raises(InputError, match=r"accounts\.toml: is not TOML: "):
        accounts_toml.parse(text, "accounts.toml")


SCHEMES = "des, md5, sha256, sha512, bcrypt, yescrypt"
NO_HASH = f"is not a crypt(3) hash of a known scheme ({SCHEMES}); `mailhost mkpasswd` makes one"


def test_all_mistakes_are_told_at_once_each_with_its_line_and_what_was_meant() -> None:
    wrong = """
[domain."d.com"]
[domains."d.com"]
catchal = "joe"
catchall = "jon"
[domains."d.com".mailboxes.joe]
Login = "testid"
crypt = "plain"
password = "secret"
aliases = [
  "info", "a b",
]
[domains."d.com".forwards]
sales = [
  "joe@domain.com",
  "joe@domain.com"]
[[x]]
"""
    with pytest.raises(InputError) as refused:
        accounts_toml.parse(wrong, "a.toml")
    joe = '[domains."d.com".mailboxes.joe]'
    known = "known here: login, crypt, password_file, extensions, delivery, aliases"
    assert str(refused.value).splitlines() == [
        "a.toml: line 2: top level: domain: unknown key; did you mean 'domains'? "
        "known here: domains, system, logins, removals",
        "a.toml: line 4: [domains.\"d.com\"]: catchal: unknown key; did you mean 'catchall'? "
        "known here: prefix, catchall, mailboxes, forwards, alias_of",
        "a.toml: line 5: [domains.\"d.com\"]: catchall: 'jon' is neither a mailbox nor a forward of the domain",
        f"a.toml: line 7: {joe}: Login: unknown key; did you mean 'login'? {known}",
        f"a.toml: line 8: {joe}: crypt: crypt: {NO_HASH}",
        f"a.toml: line 9: {joe}: password: unknown key; did you mean 'password_file'? {known}",
        f"a.toml: line 10: {joe}: aliases: local part 'a b': is letters, digits, !#$%&'*+-/=?^_`{{|}}~ and single "
        "inner dots (RFC 5321 §4.1.2)",
        'a.toml: line 14: [domains."d.com".forwards]: sales: must name one or more addresses, each once',
        "a.toml: line 17: top level: x: unknown key; known here: domains, system, logins, removals",
    ]
    assert (refused.value.line, refused.value.field) == (2, "top level: domain")


def test_of_very_many_mistakes_the_first_are_shown_and_the_others_counted() -> None:
    with pytest.raises(InputError) as refused:
        accounts_toml.parse("".join(f"x{n} = 1\n" for n in range(1_060)), "a.toml")
    shown = str(refused.value).splitlines()
    assert shown[0].startswith("a.toml: line 1: top level: x0: ")
    assert shown[50:] == ["a.toml: and 1,010 more"]


def test_one_string_is_a_list_of_one() -> None:
    text = (
        HOUSE.replace("extensions", 'aliases = "info"\nextensions') + 'one = "x@y.example"\n[system]\nroot = "a@b.c"\n'
    )
    read = accounts_toml.parse(text, "a.toml")
    assert read.domains["domain.com"].forwards["one"] == ("x@y.example",)
    assert read.domains["domain.com"].mailboxes["joe"].aliases == ("info",)
    assert read.system == {"root": ("a@b.c",)}


D = '[domains."d.com"]\n'
M = '[domains."d.com".mailboxes.joe]\n'


MALFORMED = [
    ("x = 1", "top level: x", "unknown key"),
    ("domains = 1", "top level: domains", "must be a table"),
    ("[domains", "", "is not TOML"),
    ('[domains."d..com"]', "[domains]", "a label"),
    ('[domains."d.com"]\n[domains."D.com"]', "[domains]: D.com", "is there twice"),
    (D + "x = 1", '[domains."d.com"]: x', "unknown key"),
    (D + "prefix = 1", '[domains."d.com"]: prefix', "must be a string"),
    (D + 'prefix = "a/b"', '[domains."d.com"]: prefix', "is 1 to 255"),
    (D + 'catchall = "joe"', '[domains."d.com"]: catchall', "neither a mailbox nor a forward"),
    (D + 'alias_of = "d.net"', '[domains."d.com"]: alias_of', "not a domain with boxes"),
    (D + 'alias_of = "e.com"\nprefix = "x"\n[domains."e.com"]', '[domains."d.com"]: prefix', "unknown key"),
    ('[domains."d.com".mailboxes."a b"]', '[domains."d.com".mailboxes]', "local part 'a b'"),
    ('[domains."d.com".mailboxes."a/b"]', '[domains."d.com".mailboxes]', "'/'"),
    (M + '[domains."d.com".mailboxes.JOE]', '[domains."d.com".mailboxes]: JOE', "is there twice"),
    (
        M + 'passwd = "x"',
        '[domains."d.com".mailboxes.joe]: passwd',
        "unknown key; did you mean 'password_file'? known here: login, crypt",
    ),
    (M + 'login = "a b"', '[domains."d.com".mailboxes.joe]: login', "printable ASCII"),
    (M + 'crypt = "plain"', '[domains."d.com".mailboxes.joe]: crypt', "is not a crypt"),
    (M + 'crypt = "DmIMm9e5Hc8ic"\npassword_file = "x"', '[domains."d.com".mailboxes.joe]', "not both"),
    (M + "extensions = 1", '[domains."d.com".mailboxes.joe]: extensions', "true or false"),
    (M + 'delivery = "dir"', '[domains."d.com".mailboxes.joe]: delivery', "one of maildir, mbox"),
    (M + "aliases = [1]", '[domains."d.com".mailboxes.joe]: aliases', "list of strings"),
    (M + 'aliases = ["joe"]', '[domains."d.com".mailboxes.joe]: aliases', "is an address already"),
    ('[domains."d.com".forwards]\nx = []', '[domains."d.com".forwards]: x', "one or more"),
    ('[domains."d.com".forwards]\nx = ["a@b.c", "a@b.c"]', '[domains."d.com".forwards]: x', "each once"),
    ('[domains."d.com".forwards]\nx = ["X@d.com"]', '[domains."d.com".forwards]: x', "would go to itself"),
    ('[domains."d.com".forwards]\nx = ["a b@c.d"]', '[domains."d.com".forwards]: x', "target"),
    ('[domains."d.com".forwards]\n"x:y" = ["a@c.d"]', '[domains."d.com".forwards]', "local part"),
    (
        M + 'login = "x"\n[domains."e.com".mailboxes."a.b"]\nlogin = "x"',
        '[domains."e.com".mailboxes."a.b"]: login',
        "'x' is the login of [domains.\"d.com\".mailboxes.joe] too",
    ),
    ('[logins]\npolicy = "x"', "[logins]: policy", "one of jb0001"),
    ("[logins.last]\njb = -1", "[logins.last]: jb", "a number"),
    ('[logins.last]\n"j b" = 1', "[logins.last]: j b", "letters"),
    ('[system]\nuucp = ["a@b.c"]', "[system]: uucp", "unknown key"),
]


@pytest.mark.parametrize(("text", "field", "rule"), MALFORMED)
def test_errors_name_file_table_key_and_rule(text: str, field: str, rule: str) -> None:
    with pytest.raises(InputError) as refused:
        accounts_toml.parse(text, "accounts.toml")
    assert refused.value.file == "accounts.toml"
    assert refused.value.field == field
    assert rule in str(refused.value)
    assert "plain" not in str(refused.value)


LOCAL = st.from_regex(r"[a-z0-9+=_!#$%&'*?^`{|}~]{1,6}(\.[a-z]{1,3})?(-[a-z0-9]{1,3})?", fullmatch=True)
HOST = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,3})?\.(com|net|co\.uk|example)", fullmatch=True)
TARGET = st.builds(lambda local, host: f"{local}@{host}", LOCAL, HOST)
CRYPT = st.sampled_from([hashing.make(b"x", scheme) for scheme in ("des", "md5", "sha512")]).flatmap(
    lambda crypt: st.sampled_from([crypt, "!" + crypt])
)


@st.composite
def domain(draw: st.DrawFn, name: str) -> Domain:
    locals_ = draw(st.lists(LOCAL, unique=True, max_size=6))
    cut = draw(st.integers(0, len(locals_)))
    boxes, rest = locals_[:cut], locals_[cut:]
    made = Domain(name.replace(".", "-"))
    for local in boxes:
        aliases = tuple(sorted(rest.pop() for _ in range(draw(st.integers(0, min(2, len(rest)))))))
        delivery = draw(st.sampled_from(Delivery))
        # Logins are one host's names: the address keeps them apart.
        made.mailboxes[local] = Mailbox(f"u{local}@{name}", draw(CRYPT), draw(st.booleans()), delivery, aliases)
    for local in [*rest, *draw(st.sets(st.sampled_from(boxes), max_size=2) if boxes else st.just(set()))]:
        elsewhere = TARGET.filter(lambda target, address=f"{local}@{name}": target.lower() != address)  # type: ignore[misc]
        made.forwards[local] = tuple(draw(st.lists(elsewhere, unique=True, min_size=1, max_size=3)))
    addresses = sorted({*made.mailboxes, *made.forwards})
    made.catchall = draw(st.none() | st.sampled_from(addresses)) if addresses else None
    return made


def _apart(names: list[str]) -> bool:
    from mailhost.accounts.names import overlap, prefix_of

    return not any(overlap(prefix_of(a), prefix_of(b)) for n, a in enumerate(names) for b in names[:n])


@st.composite
def accounts(draw: st.DrawFn) -> Accounts:
    names = draw(st.lists(HOST, unique=True, max_size=4).filter(_apart))
    made = Accounts({name: draw(domain(name)) for name in names})
    if names and draw(st.booleans()):
        made.domains["other.name.example"] = Domain(made.domains[names[0]].prefix, alias_of=names[0])
    made.system = draw(st.dictionaries(st.just("root"), st.tuples(TARGET)))
    made.policy = draw(st.none() | st.just("pop1"))
    made.last = draw(st.dictionaries(st.sampled_from(["jb", "pop"]), st.integers(1, 99999)))
    return made


# Making a smaller example of a whole host takes minutes and tells little more.
SLOW = settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@SLOW
@given(accounts())
def test_render_parse_gives_the_same(declared: Accounts) -> None:
    assert accounts_toml.parse(accounts_toml.render(declared), "x") == declared


@given(
    st.text(max_size=300)
    | st.from_regex(r'\[domains\."[a-z.]*"\]\n([a-z]+ = (1|"[a-z]*"|\[\]|\{\})\n)*', fullmatch=True)
)
def test_anything_else_is_a_named_error(text: str) -> None:
    try:
        read = accounts_toml.parse(text, "x.toml")
    except InputError as why:
        refused = why
    else:
        assert accounts_toml.parse(accounts_toml.render(read), "x") == read
        return
    assert refused.file == "x.toml"
