"""users/assign, users/cdb and the two builders: Q-ASSIGN-*, Q-UCDB-*, Q-CDB-9, Q-MRH-*."""

from __future__ import annotations

import hashlib
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mailhost.qmail.support import Home, throw_away

from mailhost.qmail import assignbulk
from mailhost.qmail.assign import NewuError, end_characters, newmrh, newu, parse
from mailhost.qmail.cdb import writer
from mailhost.qmail.cdb.reader import Cdb
from mailhost.qmail.cdb.writer import build

GOOD = "=joe:u:1:2:/h:::"
BAD = "qmail-newu: fatal: bad format in users/assign"


def made(text: bytes) -> bytes:
    """The users/cdb of a users/assign."""
    with throw_away() as path:
        (path / "users").mkdir()
        (path / "users/assign").write_bytes(text)
        newu(path)
        return (path / "users/cdb").read_bytes()


def records(text: bytes) -> list[tuple[bytes, bytes]]:
    return list(Cdb(made(text)).records())


HOWTO = "=domain-com-joe:popuser:888:888:/var/qmail/popboxes/domain-com/joe:::\n"


@pytest.mark.parametrize(
    ("text", "octets", "md5"),
    [
        (".", 2072, "494678207bf0fb60b421a8f38846eb84"),
        ("+domain-com-joe:popuser:888:888:/x:::\n.", 2132, "9dee276e6144aba79a9d25c5c5c40ef6"),
        (
            "+domain-com-:popuser:888:888:/x:-:pre:\n+:alias:1000:1000:/var/qmail/alias:-::\n.",
            2193,
            "5b8a38298890b1b548f98afb8719bcc9",
        ),
        ("=joe:u:1:2:/h:::\n=joe:v:3:4:/i:::\n.", 2150, "2123170df1959b5c8d4f398ffd65b842"),
        (
            "+a:u:1:2:/h:::\n+ba:u:1:2:/h:::\n+b-:u:1:2:/h:::\n+cA:u:1:2:/h:::\n.",
            2222,
            "2303eda6001e7ab9f66fdf92fa4f877f",
        ),
        (HOWTO + ".\n", 2164, "5649cef7a88eb9e30b0cf3363b504c24"),
    ],
)
def test_q_cdb_9_q_ucdb_4_fixtures(text: str, octets: int, md5: str) -> None:
    content = made(text.encode())
    assert (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()) == (octets, md5)


def test_q_mrh_5_fixture_and_q_mrh_1_what_becomes_a_key(host: Home) -> None:
    host.control("morercpthosts", b"Example.COM\n.wild.ORG \t\n# c\n\n lead.com\nlast.net")
    newmrh(host.path)
    path = host.path / "control/morercpthosts.cdb"
    content = path.read_bytes()
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == "7cfbe91249ecbf178da320fc13598ad7"
    assert len(content) == 2181
    assert [key for key, _ in Cdb(content).records()] == [b"example.com", b".wild.org", b" lead.com", b"last.net"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_q_mrh_2_an_empty_list_is_a_cdb_of_2048_octets_and_q_mrh_4_duplicates_stay(host: Home) -> None:
    host.control("morercpthosts", "")
    newmrh(host.path)
    assert (host.path / "control/morercpthosts.cdb").stat().st_size == 2048
    host.control("morercpthosts", "a.b\nA.b\n")
    newmrh(host.path)
    content = (host.path / "control/morercpthosts.cdb").read_bytes()
    assert list(Cdb(content).records()) == [(b"a.b", b""), (b"a.b", b"")]


def test_q_mrh_3_a_missing_list(host: Home) -> None:
    with pytest.raises(NewuError) as caught:
        newmrh(host.path)
    text = "qmail-newmrh: fatal: unable to read control/morercpthosts: file does not exist"
    assert (caught.value.text, caught.value.exit_code) == (text, 111)


def test_q_assign_1_q_ucdb_1_q_ucdb_2_the_form_of_a_line() -> None:
    (entry,) = parse(b"+Joe-:u:1:2:/h:-:x:\n.")
    assert (entry.address, entry.wild, entry.user, entry.uid, entry.gid) == (b"Joe-", True, b"u", b"1", b"2")
    assert (entry.home, entry.dash, entry.ext, entry.line) == (b"/h", b"-", b"x", 1)
    assert records(b"+Joe-:u:1:2:/h:-:x:\n.") == [(b"!joe-", b"u\x001\x002\0/h\0-\0x"), (b"", b"-")]
    assert records(b"=Joe:u:1:2:/h:::\n.") == [(b"!joe\0", b"u\x001\x002\0/h\0\0"), (b"", b"")]


def test_q_assign_2_any_other_first_byte_means_exact_and_is_thrown_away() -> None:
    keys = [key for key, _ in records(b"joe:u:1:2:/h:::\n#x:u:1:2:/h:::\n =joe:u:1:2:/h:::\n.")]
    assert keys == [b"!oe\0", b"!x\0", b"!=joe\0", b""]


@pytest.mark.parametrize("end", [".", ".\n", ".hidden:u:1:2:/h:::\n", ".\r\n", ".\n\nrubbish"])
def test_e_35_h_19_q_assign_3_a_dot_ends_the_file(end: str) -> None:
    assert made(f"{GOOD}\n{end}".encode()) == made(f"{GOOD}\n.".encode())


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("", 1, "ends before a line with a single dot"),
        (f"{GOOD}\n", 2, "ends before a line with a single dot"),
        (f"{GOOD}\n{GOOD}", 2, "last line has no newline"),
        (f"{GOOD}\n\n.", 2, "an empty line"),
        (f"{GOOD}\n=a\0b:u:1:2:/h:::\n.", 2, "a NUL byte"),
        (f"{GOOD}\n=joe\n.", 2, "0 colons"),
        (f"{GOOD}\n:u:1:2:/h::::\n.", 2, "starts with a colon"),
        (f"{GOOD}\n=joe:u:1:2:/h::\n.", 2, "6 colons"),
        ("# comment\n.", 1, "0 colons"),
    ],
)
def test_q_assign_4_e_11_format_errors_name_line_and_rule(host: Home, text: str, line: int, rule: str) -> None:
    host.assign(GOOD)
    before = (host.path / "users/cdb").read_bytes()
    (host.path / "users/assign").write_bytes(text.encode())
    with pytest.raises(NewuError) as caught:
        newu(host.path)
    error = caught.value
    assert (error.text, error.file, error.line) == (BAD, "users/assign", line)
    assert rule in error.rule
    assert f"users/assign:{line}: " in str(error)
    assert (host.path / "users/cdb").read_bytes() == before
    with pytest.raises(NewuError, match=error.rule.split(";")[0].replace("+", ".")):
        parse(text.encode())


def test_q_assign_5_missing_files_and_directories(host: Home) -> None:
    with pytest.raises(NewuError) as caught:
        newu(host.path)
    assert caught.value.text == "qmail-newu: fatal: unable to open users/assign"
    host.assign(GOOD, build=False)
    (host.path / "users/cdb.tmp").mkdir()
    with pytest.raises(NewuError) as caught:
        newu(host.path)
    assert caught.value.text == "qmail-newu: fatal: unable to open users/cdb.tmp"
    (host.path / "users/cdb.tmp").rmdir()
    (host.path / "users/cdb").mkdir()
    with pytest.raises(NewuError) as caught:
        newu(host.path)
    assert caught.value.text == "qmail-newu: fatal: unable to move users/cdb.tmp to users/cdb"


def test_q_assign_5_a_home_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NewuError) as caught:
        newu(tmp_path / "none")
    assert caught.value.text == "qmail-newu: fatal: unable to chdir"


def test_q_cdb_1_a_cdb_cannot_pass_4_gib(host: Home) -> None:
    for octets in (2060, 2090):  # among the records, among the tables
        with patch.object(writer, "MOST_OCTETS", octets), pytest.raises(NewuError, match="ends at 4 GiB") as caught:
            host.assign(GOOD)
        assert caught.value.text == "qmail-newu: fatal: unable to write users/cdb.tmp"


def test_e_36_h_21_q_assign_6_a_failure_leaves_cdb_tmp_and_the_next_success_takes_it(host: Home) -> None:
    host.assign(GOOD)
    host.assign("=joe:", build=False)
    with pytest.raises(NewuError):
        newu(host.path)
    assert (host.path / "users/cdb.tmp").exists()
    host.assign(GOOD)
    assert not (host.path / "users/cdb.tmp").exists()
    assert (host.path / "users/cdb").stat().st_mode & 0o777 == 0o644


def test_e_34_h_18_q_assign_7_what_follows_the_seventh_colon_is_lost() -> None:
    assert made(b"=a:u:1:2:/h:::=b:u:1:2:/h:::\n.") == made(b"=a:u:1:2:/h:::\n.")


def test_e_10_e_29_q_assign_8_nothing_else_is_checked() -> None:
    keys = records(b"=a:no such user: x:-5:relative:::\r\n.\r\n")
    assert keys[0] == (b"!a\0", b"no such user\0 x\0-5\0relative\0\0")


def test_q_assign_9_empty_addresses_are_allowed() -> None:
    assert [key for key, _ in records(b"=:u:1:2:/h:::\n+:u:1:2:/h:::\n.")] == [b"!\0", b"!", b""]


def test_e_24_q_assign_10_q_ucdb_3_end_characters_as_written_each_once() -> None:
    assert records(b"+a:u:1:2:/h:::\n+ba:u:1:2:/h:::\n+JOE:u:1:2:/h:::\n+:u:1:2:/h:::\n.")[-1] == (b"", b"aE")


def test_q_assign_11_duplicates_are_all_stored() -> None:
    assert len(records(f"{GOOD}\n{GOOD}\n.".encode())) == 3


FIELD = st.binary(max_size=6).map(lambda octets: octets.translate(None, b":\n\0"))
LINE = st.builds(
    lambda kind, address, fields, rest: kind + address + b":" + b":".join(fields) + b":" + rest + b"\n",
    st.sampled_from([b"=", b"+", b"=", b"#"]),
    FIELD,
    st.lists(FIELD, min_size=6, max_size=6),
    st.sampled_from([b"", b"", b"\r", b"junk:more"]),
)
RUBBISH = st.sampled_from([b"\n", b":a:b:c:d:e:f:\n", b"=x:y\n", b".dot\n", b"=a\0:b:c:d:e:f:g:\n"])
ASSIGN = st.builds(
    lambda lines, end: b"".join(lines) + end,
    st.lists(st.one_of(LINE, LINE, LINE, LINE, RUBBISH), max_size=30),
    st.sampled_from([b".", b".\n", b"", b"=last:no:newline"]),
)


@given(ASSIGN, st.integers(1, 200))
def test_the_fast_builder_agrees_with_the_plain_parser(text: bytes, piece_octets: int) -> None:
    def fast() -> bytes | str:
        with patch.object(assignbulk, "PIECE_OCTETS", piece_octets):
            try:
                return made(text)
            except NewuError as error:
                return str(error)

    def plain() -> bytes | str:
        try:
            entries = parse(text)
        except NewuError as error:
            return str(error)
        return build([*((entry.key, entry.data) for entry in entries), (b"", end_characters(entries))])

    with patch.object(assignbulk, "FEWEST_PIECES", 1 << 30):
        assert fast() == plain()


@pytest.mark.parametrize("spoil", [None, b":a:b:c:d:e:f:", b".end", b".e:n:d::::"])
def test_a_large_file_goes_through_two_processes_and_errors_keep_their_line(spoil: bytes | None) -> None:
    lines = [b"%c%d-User:u:1:2:/h/%d:::" % (b"=+"[number % 2], number, number) for number in range(2000)]
    if spoil is not None:
        lines[1500] = spoil
    text = b"\n".join(lines) + b"\n.\n"
    with patch.object(assignbulk, "PIECE_OCTETS", 4096):
        try:
            content: bytes | NewuError = made(text)
        except NewuError as error:
            content = error
    if spoil is not None and spoil.startswith(b":"):
        assert isinstance(content, NewuError)
        assert content.line == 1501
        return
    entries = parse(text)
    assert content == build([*((entry.key, entry.data) for entry in entries), (b"", end_characters(entries))])
