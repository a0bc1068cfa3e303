"""The audit: clean hosts are clean, and each thing broken on purpose is named with its file, line and rule."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.faults import FAULTS, JOE, append, edit, fifo, link
from tests.popbox.migrate.oldhosts import HASH, HOSTS, QMAIL, assign, audited, controls, put, tree_of

from popbox.cli.migrate import migrate
from popbox.migrate.oldhost.mboxes.index import INDEX_HEAD
from popbox.migrate.oldhost.rules import RULES


@pytest.mark.parametrize("dialect", HOSTS)
def test_a_host_with_nothing_wrong_is_clean_and_its_dialect_is_told(dialect: str, tmp_path: Path) -> None:
    found = audited(HOSTS[dialect](tmp_path))
    of_mboxes = dialect == "system"  # each server of them makes its own UIDLs
    assert [one.rule for one in found.findings] == ["uidl-mbox"] * of_mboxes
    assert [f"{one.where}: {one.what}" for one in found.left] == [
        "/home/ben/Mailbox: the UIDLs of 2 mbox files"
    ] * of_mboxes
    assert (found.lost, found.host.dialect) == ([], dialect)


def test_an_mbox_with_the_index_of_an_export_has_its_uidls(tmp_path: Path) -> None:
    root = HOSTS["system"](tmp_path)
    for box in ("home/ben/Mailbox", "var/spool/mail/cat"):
        put(root / f"{box}.index", INDEX_HEAD)
    assert audited(root).findings == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_with_file_line_and_rule(fault: str, tmp_path: Path) -> None:
    dialect, breaking, where = FAULTS[fault]
    root = HOSTS[dialect](tmp_path)
    breaking(root)
    findings = audited(root, dialect).findings
    assert (fault.split()[0], where) in {(f.rule, str(f.where)) for f in findings}, findings


@pytest.mark.parametrize("line", ["&ann", "ann"])
@pytest.mark.parametrize(("file", "text"), [("me", "mx.old.example\n"), ("envnoathost", "domain.com \nx\n")])
def test_q_send_20_a_forward_without_a_domain_goes_to_envnoathost(
    line: str, file: str, text: str, tmp_path: Path
) -> None:
    root = HOSTS["howto"](tmp_path)
    (root / QMAIL / "control" / file).write_text(text)
    (root / QMAIL / "popboxes/domain-com/sales/.qmail").write_text(f"{line}\n")
    found = audited(root)
    assert [finding.rule for finding in found.findings] == []
    sales = found.accounts.domains["domain.com"].forwards["sales"]
    assert sales == [f"ann@{text.split()[0]}"]


def test_a_file_that_many_addresses_lead_to_is_read_and_told_once(tmp_path: Path) -> None:
    home = controls(tmp_path, {"domain.com": "domain-com"})
    boxes = [f"/var/qmail/popboxes/domain-com/b{number}" for number in range(100, 160)]
    for box in boxes:
        put(tmp_path / box[1:] / ".qmail", "#\n")
    names = [(f"{alias}{number}", box) for alias in "xy" for number, box in enumerate(boxes, 100)]
    assign(home, *(f"=domain-com-{name}:popuser:888:888:{box}:::" for name, box in names))
    found = audited(tmp_path)
    assert [finding.rule for finding in found.host.findings].count("dotqmail-discards") == len(boxes)
    assert len(found.host.routes) == len(names)


def test_every_rule_has_a_fault_that_it_catches() -> None:
    assert {fault.split()[0] for fault in FAULTS} | {"home-outside"} == set(RULES)


def test_what_a_copy_of_the_qmail_home_does_not_hold_is_said(tmp_path: Path) -> None:
    home = HOSTS["dtc"](tmp_path) / QMAIL
    findings = audited(home, "dtc").findings
    assert ("home-outside", "/var/qmail/users/assign:1") in {(f.rule, str(f.where)) for f in findings}


@pytest.mark.parametrize("given", ["in its place", "copied"])
def test_a_qmail_home_elsewhere_is_read_by_the_paths_that_it_names(given: str, tmp_path: Path) -> None:
    home = HOSTS["howto"](tmp_path) / QMAIL
    for table in (home / "users/poppasswd", home / "users/assign"):
        table.write_text(table.read_text().replace("/var/qmail/", f"{home}/"))
    source = [str(home)]
    if given == "copied":
        source = [str(home.rename(tmp_path / "copy")), "--as", str(home)]
    done = CliRunner().invoke(migrate, ["audit", *source, "--json"], obj={})
    said = json.loads(done.stdout)
    assert {box["messages"] for box in said["boxes"]} != {0}
    assert {finding["rule"] for finding in said["findings"]} <= {"cdb-old"}  # the tables were edited


def test_nothing_of_the_source_is_changed_and_no_time_of_a_message_either(tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    before = tree_of(root)
    audited(root)
    assert tree_of(root) == before


def test_a_copy_of_the_qmail_home_gives_what_the_root_gives(tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    assert audited(root).accounts == audited(root / QMAIL).accounts


@pytest.mark.parametrize(
    "breaking",
    [
        link(f"{JOE}/Maildir", "/etc"),
        link(f"{JOE}/Maildir", "../../../../../../../../etc"),
        link(f"{QMAIL}/users/poppasswd", "/etc/shadow-of-this-machine"),
        link(f"{QMAIL}/control/rcpthosts", "/dev/zero"),
        fifo(f"{QMAIL}/control/rcpthosts"),
        fifo(f"{QMAIL}/users/assign"),
        edit(f"{QMAIL}/users/assign", "/domain-com/ann:", "/../../../../../../../etc:"),
        edit(f"{QMAIL}/users/assign", "/domain-com/ann:", "/domain-com/a\xff\xfe\x1b[2J:"),
        edit(f"{QMAIL}/users/assign", "/domain-com/ann:", "/domain-com/a\0nn:"),
        edit(f"{JOE}/.qmail", "./Maildir/", "/../../etc/"),
        edit(f"{JOE}/.qmail", "./Maildir/", "./\xff\0/"),
        edit(f"{QMAIL}/control/virtualdomains", "domain-com", "../../x"),
        edit(f"{QMAIL}/users/poppasswd", "aa0002", "\x1b]0;owned\x07"),
        link(JOE, "joe"),
    ],
)
def test_hostile_trees_end_in_findings_and_never_leave_the_copy(
    breaking: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = HOSTS["howto"](tmp_path / "copy")
    breaking(root)
    opened: list[str] = []
    plain = os.open
    monkeypatch.setattr(os, "open", lambda path, *a, **k: opened.append(os.fsdecode(path)) or plain(path, *a, **k))  # type: ignore[func-returns-value]
    result = CliRunner().invoke(migrate, ["audit", str(root)], standalone_mode=False)
    assert result.return_value == 1, result.output
    assert all(c.isprintable() or c == "\n" for c in result.output)
    outside = [path for path in opened if path.startswith("/") and not path.startswith(str(tmp_path))]
    assert outside == []


def test_an_odd_name_of_a_message_is_shown_and_counted(tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    (tmp_path / JOE / "Maildir/new").joinpath(os.fsdecode(b"1.\xff\n2")).write_bytes(b"x\n")
    found = audited(root)
    assert [str(f.where) for f in found.findings] == [f"/{JOE}/Maildir/new/1.\\xff\\x0a2"]
    assert found.held[0].messages == 4


def test_the_table_and_the_exit_codes(tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    clean = CliRunner().invoke(migrate, ["audit", str(root)], standalone_mode=False)
    assert clean.return_value == 0
    row = next(line.split() for line in clean.output.splitlines() if line.startswith("domain.com"))
    octets = sum(path.stat().st_size for path in root.rglob("Maildir/*/*"))
    assert row == ["domain.com", "2", "2", "2", "joe", "6", str(octets)]
    assign(root / QMAIL, "=broken")
    broken = CliRunner().invoke(migrate, ["audit", str(root)], standalone_mode=False)
    assert broken.return_value == 1
    assert "/var/qmail/users/assign:1: '=broken': 0 colons where seven must be [assign-format]" in broken.output
    unusable = CliRunner().invoke(migrate, ["audit", str(tmp_path / "nowhere")])
    assert unusable.exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert CliRunner().invoke(migrate, ["audit", str(empty)]).exit_code == 2


def test_the_json_holds_everything_but_no_secret(tmp_path: Path) -> None:
    root = HOSTS["dtc"](tmp_path)
    append("etc/poppasswd", "tim@site.example:secret\n")(root)
    result = CliRunner().invoke(migrate, ["audit", "--json", str(root)], standalone_mode=False)
    said = json.loads(result.output)
    assert set(said) == {"dialect", "domains", "boxes", "findings", "left"}
    assert said["boxes"][0]["address"] == "bob@site.example"
    assert {f["rule"] for f in said["findings"]} == {"login-plain", "login-home"}
    assert "secret" not in result.output
    assert HASH not in result.output
