"""users/cdb decides which addresses take mail, whatever users/assign says (Q-LSP-8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import HOSTS, QMAIL, assign, audited, put

from mailhost.qmail.assign import newmrh, newu
from popbox.migrate.oldhost.dialects.cdb import records

BOXES = f"/{QMAIL}/popboxes/domain-com"


def addresses(old: Path) -> list[str]:
    entry = audited(old).accounts.domains["domain.com"]
    taken = [*entry.boxes, *entry.forwards, *(alias for box in entry.boxes.values() for alias in box.aliases)]
    return sorted([*taken, *(["*"] if entry.catchall else [])])


@pytest.mark.parametrize("domains", [False, True])
def test_a_host_with_users_cdb_alone_has_the_same_addresses(domains: bool, tmp_path: Path) -> None:
    """``domains``: users/domains has lines too, which qmail-lspawn never reads."""
    old = HOSTS["howto"](tmp_path)
    before = addresses(old)
    newu(old / QMAIL)
    (old / QMAIL / "users/assign").unlink()
    if domains:
        (old / QMAIL / "users/domains").mkdir()
        (old / QMAIL / "users/domains/domain.com").write_text(f"=domain-com-tim:p:888:888:{BOXES}/joe:::\n")
    assert addresses(old) == before
    assert audited(old).lost == []


def test_an_address_that_only_users_cdb_has_comes_and_one_whose_home_differs_goes_as_there(tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path)
    lines = (old / QMAIL / "users/assign").read_text().splitlines()[:-1]
    assign(old / QMAIL, *lines, f"=domain-com-tim:popuser:888:888:{BOXES}/joe:::")
    newu(old / QMAIL)
    built = (old / QMAIL / "users/cdb").read_bytes()
    assign(old / QMAIL, *(line.replace(f"{BOXES}/ann", f"{BOXES}/joe") for line in lines))
    (old / QMAIL / "users/cdb").write_bytes(built)
    found = audited(old)
    boxes = found.accounts.domains["domain.com"].boxes
    assert sorted(boxes["joe"].aliases) == ["info", "tim"]
    assert boxes["ann"].login is not None
    assert [one.rule for one in found.findings] == ["cdb-differs", "cdb-differs"]


def test_records_are_the_lines_that_newu_was_given_and_torn_files_are_refused(tmp_path: Path) -> None:
    home = HOSTS["howto"](tmp_path) / QMAIL
    assign(home, "=A:u:1:2:/h:-:x:", "+a-:u:1:2:/h:::", "+:u:1:2:/h:::")
    newu(home)
    octets = (home / "users/cdb").read_bytes()
    assert [(one.address, one.wild, one.fields[3:]) for one in records(octets)] == [
        (b"a", False, [b"/h", b"-", b"x"]),
        (b"a-", True, [b"/h", b"", b""]),
        (b"", True, [b"/h", b"", b""]),
    ]
    for cut in (0, 100, 2047, 2048, 2060, 2100):
        with pytest.raises(ValueError, match="cut off"):
            list(records(octets[:cut]))
    with pytest.raises(ValueError, match="no cdb"):
        list(records(b"\xff" * 4096))
    put(home / "control/morercpthosts", "domain.com\n")
    newmrh(home)
    with pytest.raises(ValueError, match="not users/cdb"):
        list(records((home / "control/morercpthosts.cdb").read_bytes()))


def test_a_torn_users_cdb_is_lost_by_name_where_nothing_else_says_it(tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path)
    newu(old / QMAIL)
    octets = (old / QMAIL / "users/cdb").read_bytes()
    (old / QMAIL / "users/cdb").write_bytes(octets[:2100])
    (old / QMAIL / "users/assign").unlink()
    lost = [str(one) for one in audited(old, "howto").lost]
    assert f"/{QMAIL}/users/cdb: what it holds: it is cut off, or no cdb" in lost


def test_domains_beyond_rcpthosts_are_those_of_morercpthosts_cdb(tmp_path: Path) -> None:
    """The text has no effect until qmail-newmrh has read it (Q-RCPT-10)."""
    old = HOSTS["howto"](tmp_path)
    control = old / QMAIL / "control"
    (control / "virtualdomains").write_text("domain.com:domain-com\n")
    (control / "rcpthosts").write_text("mail.example.net\n")
    put(control / "morercpthosts", "domain.com\nelsewhere.example\n")
    refused = "domain-not-in-rcpthosts"
    assert refused in [one.rule for one in audited(old).findings]
    newmrh(old / QMAIL)
    (control / "morercpthosts").unlink()
    found = audited(old)
    assert refused not in [one.rule for one in found.findings]
    assert f"/{QMAIL}/control/morercpthosts.cdb" in [str(one.where) for one in found.lost]
    (control / "morercpthosts.cdb").write_bytes(b"torn")
    assert f"/{QMAIL}/control/morercpthosts.cdb: what it holds: it is cut off" in [
        str(one) for one in audited(old).lost
    ]
