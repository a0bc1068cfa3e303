"""Who gets a local part: Q-LSP-*, Q-GETPW-*, E-19..E-33."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mailhost.qmail.model import slow_lookup
from tests.mailhost.qmail.support import UID, Home

from mailhost.qmail.assign import (
    Assignment,
    accounts_of,
    end_characters,
    find_account,
    getpw,
    locate,
    lookup,
    parse,
    resolve,
    split,
)
from mailhost.qmail.cdb.reader import Cdb, CdbError
from mailhost.qmail.cdb.writer import build
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import CDB_TROUBLE, INTERNAL, NFS_TROUBLE, NO_ALIAS, NO_HOST, ROOT


def cdb(*lines: str) -> Cdb:
    """A users/cdb made of lines; ``~`` stands for the usual five fields."""
    entries = parse("".join(f"{line.replace('~', ':u:1:2:/h')}\n" for line in lines).encode() + b".")
    return Cdb(build([*((entry.key, entry.data) for entry in entries), (b"", end_characters(entries))]))


def hit(found: Assignment | None) -> tuple[bytes, bytes, bytes] | None:
    return None if found is None else (found.key, found.dash, found.ext)


def test_q_lsp_2_the_address_is_split_at_the_last_at() -> None:
    assert split(b"a@b@d.com") == (b"a@b", b"d.com")
    assert split(b"@d.com") == (b"", b"d.com")
    assert split(b"joe") == NO_HOST


def test_b_3_q_lsp_4_exact_then_the_longest_prefix_with_an_end_character() -> None:
    lines = ["+domain-com-joe-~:-::", "+domain-com-joe~:::", "+domain-com-~:-::", "+domain-~:-::", "+~:-::"]
    for index, ext in enumerate((b"x", b"-x", b"Joe-x", b"com-Joe-x", b"domain-com-Joe-x")):
        found = lookup(cdb(*lines[index:]), b"domain-com-Joe-x")
        assert found is not None
        assert (found.ext, found.wild) == (ext, True)


def test_q_lsp_4_an_exact_entry_beats_any_prefix() -> None:
    found = lookup(cdb("+joe-~:-::", "=joe-x~:::"), b"JOE-X")
    assert found is not None
    assert (found.wild, found.key) == (False, b"joe-x")


def test_e_24_q_assign_10_a_prefix_in_capitals_needs_another_lines_end_character() -> None:
    assert lookup(cdb("+JOE~:::"), b"joe") is None
    assert lookup(cdb("+JOE~:::"), b"joex") is None
    assert hit(lookup(cdb("+JOE~:::", "+e~:::"), b"joex")) == (b"joe", b"", b"x")
    assert hit(lookup(cdb("+JOE-~:-::"), b"joe-x")) == (b"joe-", b"-", b"x")


def test_q_lsp_5_a_prefix_entry_matches_the_prefix_alone() -> None:
    assert hit(lookup(cdb("+joe-~:-::"), b"Joe-")) == (b"joe-", b"-", b"")


def test_q_lsp_6_the_rest_is_appended_to_ext_in_its_own_case() -> None:
    assert hit(lookup(cdb("+d-~:-:x-:"), b"d-Bob")) == (b"d-", b"-", b"x-Bob")


@pytest.mark.parametrize("local", [b"joey", b"joe.x", b"joe-lists", b"joe"])
def test_e_23_h_13_q_lsp_7_no_word_boundary(local: bytes) -> None:
    assert hit(lookup(cdb("+joe~:::"), local)) == (b"joe", b"", local[3:])


def test_e_25_a_prefix_must_be_complete() -> None:
    assert lookup(cdb("+joe-~:-::"), b"joe") is None


def test_e_26_exact_lines_have_no_extensions() -> None:
    both = cdb("=a-b~:::", "+a-~:-::")
    assert hit(lookup(both, b"a-b")) == (b"a-b", b"", b"")
    assert hit(lookup(both, b"a-b-c")) == (b"a-", b"-", b"b-c")


def test_e_2_the_first_of_two_equal_lines_is_used() -> None:
    found = lookup(cdb("=joe:first:1:2:/h:::", "=joe:second:1:2:/h:::"), b"joe")
    assert found is not None
    assert found.user == b"first"


def test_e_28_the_empty_prefix_catches_all() -> None:
    assert hit(lookup(cdb("+~:-::"), b"any-One")) == (b"", b"-", b"any-One")


@pytest.mark.parametrize(
    ("uid", "value", "failure"),
    [("888abc", 888, None), ("-5", 0, ROOT), (" 888", 0, ROOT), ("abc", 0, ROOT), ("", 0, ROOT), ("0", 0, ROOT),
     ("4294968184", 888, None), ("4294967296", 0, ROOT), ("4294967295", 4294967295, INTERNAL)],
)  # fmt: skip
def test_e_29_e_30_h_14_q_lsp_9_uids(uid: str, value: int, failure: Failure | None) -> None:
    found = lookup(cdb(f"=joe:u:{uid}:0:/h:::"), b"joe")
    assert found is not None
    assert (found.uid, found.gid, found.failure) == (value, 0, failure)


@pytest.mark.parametrize(("uid", "gid", "failure"), [("0", "4294967295", INTERNAL), ("5", "4294967295", INTERNAL)])
def test_q_lsp_9_the_gid_is_set_before_the_uid_is_looked_at(uid: str, gid: str, failure: Failure) -> None:
    found = lookup(cdb(f"=joe:u:{uid}:{gid}:/h:::"), b"joe")
    assert found is not None
    assert found.failure == failure


def test_e_31_gid_0_is_accepted_and_the_user_need_not_exist() -> None:
    found = lookup(cdb("=joe:nobody knows:5:0:/h:::"), b"joe")
    assert found is not None
    assert (found.user, found.gid, found.failure) == (b"nobody knows", 0, None)


def test_q_lsp_8_e_32_trouble_with_users_cdb_defers_and_never_falls_through(host: Home) -> None:
    path = host.path / "users/cdb"
    for content in (b"", b"short", build([(b"!joe\0", b"u\x001\x002\0/h\0\0")])):
        path.write_bytes(content)
        assert resolve(host.path, b"root-like") == CDB_TROUBLE
    path.unlink()
    os.mkfifo(path)
    assert resolve(host.path, b"root-like") == CDB_TROUBLE
    path.unlink()
    path.mkdir()
    assert resolve(host.path, b"joe") == CDB_TROUBLE


def test_q_lsp_12_a_record_with_too_few_fields_is_an_internal_bug(host: Home) -> None:
    content = build([(b"!joe\0", b"u\x001\x002\0/h\0-"), (b"", b"")])
    with pytest.raises(CdbError, match="six fields"):
        lookup(Cdb(content), b"joe")
    (host.path / "users/cdb").write_bytes(content)
    assert locate(host.path, b"joe") == INTERNAL


def test_q_lsp_8_without_users_cdb_or_a_match_qmail_getpw_decides(host: Home) -> None:
    alias = accounts_of(host.path)
    missing = locate(host.path, b"surely-no-such-user", alias)
    assert isinstance(missing, Assignment)
    assert (missing.source, missing.dash, missing.ext) == ("alias", b"-", b"surely-no-such-user")
    host.assign("=joe:u:1:2:/h:::")
    assert locate(host.path, b"surely-no-such-user", alias) == missing
    assert locate(host.path, b"joe") == resolve(host.path, b"joe")


class Passwd:
    """Our own passwd: name -> (uid, home)."""

    def __init__(self, **accounts: tuple[int, str]) -> None:
        self.accounts = accounts
        self.asked: list[str] = []

    def __call__(self, name: str) -> pwd.struct_passwd | None:
        self.asked.append(name)
        if name not in self.accounts:
            return None
        uid, home = self.accounts[name]
        return pwd.struct_passwd((name, "x", uid, uid, "", home, ""))


def own(tmp_path: Path) -> tuple[int, str]:
    """An account that owns its home: not root, because root never gets mail."""
    if os.getuid() == 0:
        os.chown(tmp_path, 888, 888)
    return tmp_path.stat().st_uid, str(tmp_path)


def test_q_getpw_1_longest_name_first_lower_case_under_32_octets(tmp_path: Path) -> None:
    passwd = Passwd(alias=(7790, "/a"))
    long = "x" * 32
    getpw(f"A-b-{long}-C".encode(), passwd)
    assert passwd.asked == ["a-b", "a", "alias"]
    for name in (long[1:], long):
        passwd = Passwd(alias=(7790, "/a"))
        getpw(name.encode(), passwd)
        assert (name in passwd.asked) is (len(name) < 32)
    passwd = Passwd(**{"a-b": own(tmp_path), "a": own(tmp_path)})
    found = getpw(b"A-B-C-d", passwd)
    assert isinstance(found, Assignment)
    assert (found.user, found.dash, found.ext, found.source) == (b"a-b", b"-", b"C-d", "passwd")


def test_q_getpw_1_an_account_counts_only_with_a_home_of_its_own(tmp_path: Path) -> None:
    uid, home = own(tmp_path)
    alias = (7790, "/a")
    assert Path("/").stat().st_uid == 0
    for account in ((0, "/"), (uid, "/no/such/home"), (uid + 1, home)):
        found = getpw(b"joe", Passwd(joe=account, alias=alias))
        assert isinstance(found, Assignment)
        assert (found.source, found.ext) == ("alias", b"joe")


def test_q_getpw_2_a_hit_on_the_whole_has_neither_dash_nor_ext(tmp_path: Path) -> None:
    found = getpw(b"JOE", Passwd(joe=own(tmp_path)))
    assert isinstance(found, Assignment)
    assert (found.user, found.dash, found.ext) == (b"joe", b"", b"")


def test_e_27_h_6_q_getpw_3_an_unknown_virtual_mailbox_ends_at_alias() -> None:
    found = getpw(b"domain-com-Nobody", Passwd(alias=(7790, "/a")))
    assert isinstance(found, Assignment)
    assert (found.home, found.dash, found.ext) == (b"/a", b"-", b"domain-com-Nobody")


def test_q_getpw_4_a_popuser_with_a_home_takes_its_extensions(tmp_path: Path) -> None:
    found = getpw(b"popuser-anything", Passwd(popuser=own(tmp_path), alias=(7790, "/a")))
    assert isinstance(found, Assignment)
    assert (found.source, found.ext) == ("passwd", b"anything")


def test_q_getpw_5_a_prefix_that_is_an_account_is_served_by_it(tmp_path: Path) -> None:
    found = getpw(b"alias-user", Passwd(alias=own(tmp_path)))
    assert isinstance(found, Assignment)
    assert (found.source, found.dash, found.ext) == ("passwd", b"-", b"user")


def test_q_lsp_12_without_an_alias_user_mail_waits() -> None:
    assert getpw(b"joe", Passwd()) == NO_ALIAS


def test_a_home_that_cannot_be_looked_at_just_now_defers(monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(self: Path) -> os.stat_result:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Path, "stat", stale)
    assert getpw(b"joe", Passwd(joe=(5, "/nfs"), alias=(7790, "/a"))) == NFS_TROUBLE


def test_the_alias_user_of_a_home_without_qmail_is_the_owner_of_its_directory(host: Home) -> None:
    account = accounts_of(host.path)("alias")
    assert account is not None
    assert (account.pw_uid, account.pw_dir) == (UID, str(host.path / "alias"))
    assert accounts_of(host.path)("root") == find_account("root")
    assert find_account("surely-no-such-user") is None
    (host.path / "alias").rmdir()
    assert locate(host.path, b"joe", accounts_of(host.path)) == NO_ALIAS


ADDRESS = st.text("ab-AB.", max_size=5).map(str.encode)
ENTRY = st.builds(
    lambda kind, address, dash, ext: kind + address + b":u:1:2:/h:" + dash + b":" + ext + b":",
    st.sampled_from([b"=", b"+"]),
    ADDRESS,
    st.sampled_from([b"", b"-"]),
    st.sampled_from([b"", b"pre-"]),
)


@given(st.lists(ENTRY, max_size=25), st.lists(ADDRESS, min_size=1, max_size=20))
def test_lookups_agree_with_the_plain_model(lines: list[bytes], locals_: list[bytes]) -> None:
    made = cdb(*(line.decode() for line in lines))
    for local in locals_:
        found = lookup(made, local)
        fields = None if found is None else (found.user, b"1", b"2", found.home, found.dash, found.ext)
        assert fields == slow_lookup(lines, local)
