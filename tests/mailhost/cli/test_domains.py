"""`mailhost init`, `rebuild` and `domain`: each verb, and each refusal."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import stat
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host


def test_init_makes_what_is_missing_and_keeps_what_is_there(empty: Host) -> None:
    assert "made control/me" in empty.ok("init", "--me", "Mail.Example.net")
    assert empty.text("control/me") == "mail.example.net\n"
    assert empty.text("control/rcpthosts") == ""
    assert empty.text("control/locals") == "mail.example.net\n"
    assert empty.text("users/assign") == ".\n"
    assert (empty.home / "users/cdb").stat().st_size == 2072
    assert stat.S_IMODE((empty.home / "users/poppasswd").stat().st_mode) == 0o600
    assert len((empty.home / "users/scramkey").read_bytes()) == 65
    assert stat.S_IMODE((empty.home / "users/scramkey").stat().st_mode) == 0o600
    before = empty.tree()
    assert empty.ok("init") == "nothing was missing\n"
    assert empty.tree() == before


@pytest.mark.needs("root")  # who can give a file to a group
def test_the_scram_key_of_an_older_host_is_for_those_who_may_read_its_passwords(host: Host) -> None:
    path = host.home / "users/poppasswd"
    os.chown(path, 0, 889)
    path.chmod(0o640)
    (host.home / "users/scramkey").unlink()
    assert host.ok("init") == "made users/scramkey\n"
    status = (host.home / "users/scramkey").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 889, 0o640)


def test_init_does_not_change_the_hosts_name(host: Host) -> None:
    assert "control/me: line 1: --me: says 'mail.example.net'" in host.refused("init", "--me", "other.example")


def test_init_remembers_how_logins_are_numbered(empty: Host) -> None:
    empty.ok("init", "--me", "m.example", "--logins", "pop00001")
    assert empty.text("users/logins") == "policy pop00001\n"


def test_add_writes_the_howtos_lines(host: Host) -> None:
    assert host.ok("domain", "add", "Domain.COM") == "added domain domain.com: prefix domain-com\n"
    assert host.text("control/rcpthosts") == "domain.com\n"
    assert host.text("control/virtualdomains") == "domain.com:domain-com\n"
    assert host.text("users/domains/domain.com") == ""


def test_other_lines_of_the_control_files_stay(host: Host) -> None:
    (host.home / "control/rcpthosts").write_text("# ours\nbackup.example")
    (host.home / "control/virtualdomains").write_text("joe@x.example:special\n.wild.example:w\nout.example:\n")
    host.ok("domain", "add", "domain.com")
    assert host.text("control/rcpthosts") == "# ours\nbackup.example\ndomain.com\n"
    host.ok("domain", "del", "domain.com")
    assert host.text("control/rcpthosts") == "# ours\nbackup.example\n"
    assert host.text("control/virtualdomains") == "joe@x.example:special\n.wild.example:w\nout.example:\n"


def test_an_internationalised_domain(host: Host) -> None:
    assert host.ok("domain", "add", "Bücher.example") == (
        "added domain xn--bcher-kva.example: prefix xn--bcher-kva-example\n"
    )


def test_a_domain_twice_is_refused(howto: Host) -> None:
    assert "control/virtualdomains: line 1: domain domain.com" in howto.refused("domain", "add", "DOMAIN.com")


def test_h10_a_local_domain_is_refused(host: Host) -> None:
    assert "control/locals: line 1" in host.refused("domain", "add", "mail.example.net")
    (host.home / "control/locals").unlink()
    assert "control/me: line 1" in host.refused("domain", "add", "mail.example.net"), "without locals, me is local"


@pytest.mark.parametrize(("one", "other"), [("a-b.com", "a.b.com"), ("d.com", "d.com.br"), ("d.com.br", "d.com")])
def test_h9_overlapping_prefixes_are_refused_and_another_prefix_helps(host: Host, one: str, other: str) -> None:
    host.ok("domain", "add", one)
    said = host.refused("domain", "add", other)
    assert "control/virtualdomains: line 1" in said
    assert "overlap" in said
    prefix = said.rsplit("--prefix ", 1)[1].strip()
    host.ok("domain", "add", other, "--prefix", prefix)
    assert f"{other}:{prefix}\n" in host.text("control/virtualdomains")
    host.ok("mailbox", "add", f"joe@{other}", "--crypt", HOWTO_CRYPT)
    assert (host.home / "popboxes" / prefix / "joe/Maildir/new").is_dir()


def test_q_getpw_5_a_prefix_that_is_an_account_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    home = host.home / "games"
    home.mkdir()
    real, uid = pwd.getpwnam, home.stat().st_uid or 4711
    if os.geteuid() == 0:
        os.chown(home, uid, uid)
    account = pwd.struct_passwd(("games", "x", uid, uid, "", str(home), "/bin/false"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: account if name == "games" else real(name))
    assert "system account 'games'" in host.refused("domain", "add", "games.example")
    host.ok("domain", "add", "games.example", "--prefix", "games_example")


def test_without_rcpthosts_nothing_is_added(host: Host) -> None:
    (host.home / "control/rcpthosts").unlink()
    assert "accepts mail for every domain" in host.refused("domain", "add", "domain.com", code=1)


@pytest.mark.parametrize("name", ["domain.com.", "a b", "../x", "x\ny.com", "1.2.3.4"])
def test_hostile_names_change_nothing(host: Host, name: str) -> None:
    host.refused("domain", "add", name)


def test_dry_run_changes_nothing(host: Host) -> None:
    before = host.tree()
    assert host.ok("domain", "add", "domain.com", "--dry-run") == "would add domain domain.com: prefix domain-com\n"
    assert host.tree() == before


def test_alias_is_another_name_for_the_same_boxes(howto: Host) -> None:
    howto.ok("domain", "alias", "domain.net", "domain.com")
    assert howto.text("control/virtualdomains") == "domain.com:domain-com\ndomain.net:domain-com\n"
    assert howto.text("control/rcpthosts") == "domain.com\ndomain.net\n"
    assert not (howto.home / "users/domains/domain.net").exists()
    howto.ok("mailbox", "add", "ann@domain.net", "--crypt", HOWTO_CRYPT)
    assert "domain-com-ann" in howto.text("users/domains/domain.com")
    assert "domain.net lead to it" in howto.refused("domain", "del", "domain.com")
    howto.ok("domain", "del", "domain.net")
    assert howto.text("control/virtualdomains") == "domain.com:domain-com\n"
    assert "ann" in howto.text("users/assign")


def test_alias_of_nothing_is_refused(host: Host) -> None:
    assert "is not declared" in host.refused("domain", "alias", "domain.net", "domain.com")


def test_del_keeps_the_mail_aside(howto: Host) -> None:
    mail = howto.home / "popboxes/domain-com/joe/Maildir/new/1"
    mail.write_text("kept")
    assert "boxes: 1, logins: 1, mail kept" in howto.ok("domain", "del", "domain.com")
    for file in ("control/rcpthosts", "control/virtualdomains", "users/poppasswd"):
        assert howto.text(file) == ""
    assert howto.text("users/assign") == ".\n"
    assert not (howto.home / "users/domains/domain.com").exists()
    aside = list((howto.home / "popboxes/.removed").rglob("new/1"))
    assert [path.read_text() for path in aside] == ["kept"]


def test_del_purge_removes_the_mail(howto: Host) -> None:
    howto.ok("domain", "del", "domain.com", "--purge")
    assert [p.name for p in (howto.home / "popboxes").iterdir()] == []


def test_del_does_not_take_a_foreign_line_with_it(howto: Host) -> None:
    part = howto.home / "users/domains/domain.com"
    part.write_text(part.read_text() + "=domain-com-x:joe:1000:1000:/home/joe:::\n")
    assert "not of mailhost's making" in howto.refused("domain", "del", "domain.com")


def test_list_and_show(howto: Host) -> None:
    howto.ok("domain", "alias", "domain.net", "domain.com")
    listed = json.loads(howto.ok("domain", "list", "--json"))
    assert [(d["domain"], d["mailboxes"], d["alias_of"]) for d in listed] == [
        ("domain.com", 1, None),
        ("domain.net", 0, "domain.com"),
    ]
    assert "domain.com  domain-com  1" in howto.ok("domain", "list")
    shown = howto.ok("domain", "show", "domain.com")
    assert "by control/rcpthosts line 1" in shown
    assert "by control/virtualdomains line 1" in shown
    assert "domain.net" in shown
    assert json.loads(howto.ok("domain", "show", "domain.net", "--json"))["part"] == "users/domains/domain.com"
    assert "is not declared" in howto.refused("domain", "show", "other.example")


def test_rebuild_takes_a_part_edited_by_hand(howto: Host) -> None:
    assert howto.ok("rebuild") == "users/assign: 1 entry of 1 domain; users/cdb made\n"
    part = howto.home / "users/domains/domain.com"
    part.write_text(part.read_text() + part.read_text().replace("-joe:", "-jim:"))
    assert howto.ok("rebuild") == "users/assign: 2 entries of 1 domain; users/cdb made\n"
    assert howto.text("users/assign") == part.read_text() + ".\n"


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("\n", 2, "empty line"),
        ("# x\n", 2, "comment"),
        (".\n", 2, "dot"),
        ("=x:u:1:1:/h:::", 0, "newline"),
        ("=x:u:1:1:/h:::\n=y:u:1:1:/h::\n", 3, "6 colons"),
        (":u:1:1:/h::::\n", 2, "without an address"),
        ("=x:u:1:1:/h:::\0\n", 2, "NUL"),
        ("=x:u:1:1:/h:::\n" * 70_000 + "=y\n", 70_002, "0 colons"),  # beyond one block of reading
    ],
    ids=lambda value: str(value)[:30],
)
def test_h18_rebuild_refuses_a_part_that_would_lose_entries(howto: Host, text: str, line: int, rule: str) -> None:
    part = howto.home / "users/domains/domain.com"
    good, before = part.read_text(), howto.text("users/assign")
    part.write_text(good + text)
    said = howto.refused("rebuild")
    assert rule in said
    assert "users/domains/domain.com" in said
    assert (f"line {line}:" in said) == bool(line)
    assert howto.text("users/assign") == before
    part.write_text(good)
    assert "users/cdb made" in howto.ok("rebuild"), "a refusal leaves nothing that stands in the way"


def test_h18_an_editors_copy_is_refused(howto: Host) -> None:
    (howto.home / "users/domains/domain.com~").write_text(howto.text("users/domains/domain.com"))
    assert "users/domains/domain.com~: is not a file named like a domain" in howto.refused("rebuild")


def test_lines_that_somebody_put_into_assign_are_not_lost(howto: Host) -> None:
    (howto.home / "users/assign").write_text("=mine:joe:1000:1000:/home/joe:::\n.\n")
    assert "users/assign: line 1: is in no file" in howto.refused("rebuild", code=1)
    assert "users/assign: line 1" in howto.refused("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT, code=1)
    assert "line 1, in no file of users/domains: would be taken out" in howto.ok("rebuild", "--force", "--dry-run")
    before = howto.text("users/assign")
    assert "line 1, in no file of users/domains: taken out" in howto.ok("rebuild", "--force")
    assert "mine" not in howto.text("users/assign")
    assert howto.text("users/assign.old") == before


def test_h20_a_line_added_by_hand_gets_mail_by_the_verb_that_the_hint_names(howto: Host) -> None:
    """The HOWTO's first way: a line in users/assign, then qmail-newu. Each hint's verb does what it says."""
    assign = howto.home / "users/assign"
    line = f"=domain-com-ann:{howto.owner}:{howto.home}/popboxes/domain-com/joe:::\n"
    assign.write_text(line + howto.text("users/assign"))
    (hint,) = (
        h for h in howto.run("explain", "ann@domain.com").stdout.splitlines() if "users/assign:1 would take" in h
    )
    assert f"run `mailhost --home {howto.home} newu`" in hint
    said = howto.refused("rebuild", code=1)
    assert f"take users/assign as it stands with `mailhost --home {howto.home} newu`" in said
    assert howto.ok("newu") == "users/cdb made from 3 lines of users/assign\n"
    assert re.search(r"assigned +users/assign:1 ", howto.run("explain", "ann@domain.com").stdout)
    assert assign.read_text().startswith(line)
    said = howto.run("lint").stdout
    assert "users/assign: line 1: error: is in no file of users/domains: put it into the one of its domain" in said
    with (howto.home / "users/domains/domain.com").open("a") as part:
        part.write(line)
    howto.ok("rebuild")
    assert line in howto.text("users/assign")
    assert "assign-stale" not in howto.run("lint").stdout


def test_h20_fix_makes_users_cdb_and_keeps_a_line_added_by_hand(howto: Host) -> None:
    assign = howto.home / "users/assign"
    assign.write_text(f"=domain-com-ann:{howto.owner}:{howto.home}/popboxes/domain-com/joe:::\n" + assign.read_text())
    before = assign.read_bytes()
    done = howto.run("lint", "--fix")
    assert "mending users/cdb: newu" in done.stdout
    assert assign.read_bytes() == before
    assert re.search(r"assigned +users/assign:1 ", howto.run("explain", "ann@domain.com").stdout)


def test_newu_that_cannot_leaves_the_old_state_and_later_verbs_alone(howto: Host) -> None:
    assign = howto.text("users/assign")
    (howto.home / "users/assign").write_text("=half\n")
    before = howto.text("users/domains/domain.com"), (howto.home / "users/cdb").read_bytes()
    done = howto.run("newu")
    assert (done.exit_code, "bad format in users/assign" in done.stderr) == (1, True)
    assert before == (howto.text("users/domains/domain.com"), (howto.home / "users/cdb").read_bytes())
    (howto.home / "users/assign").write_text(assign)
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)


def test_newmrh_makes_what_its_hint_says(howto: Host) -> None:
    (howto.home / "control/morercpthosts").write_text("more.example\n")
    assert f"run `mailhost --home {howto.home} newmrh`" in howto.run("explain", "joe@more.example").stdout
    howto.ok("newmrh")
    after = howto.run("explain", "joe@more.example").stdout
    assert "control/morercpthosts.cdb" in after
    assert "newmrh" not in after


def test_the_howtos_own_script_may_have_written_assign(howto: Host) -> None:
    (howto.home / "users/assign").write_text(howto.text("users/domains/domain.com") + ".\n")
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)


@pytest.fixture
def newu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a program of that name may stand: none is run from tmp_path, which may lie in memory (tests/places.py)."""
    return tmp_path_factory.mktemp("programs") / "newu"


def test_newu_runs_somebody_elses_program(howto: Host, newu: Path) -> None:
    program = newu
    program.write_text("#!/bin/sh\nprintf 'made by it' >users/cdb.tmp && mv users/cdb.tmp users/cdb\n")
    program.chmod(0o755)
    howto.ok("rebuild", "--newu", str(program))
    assert howto.text("users/cdb") == "made by it"


@pytest.mark.parametrize(
    ("script", "rule"), [("exit 111", "exit 111"), ("exit 0", "is as before"), (None, "No such file")]
)
def test_newu_that_fails_is_an_error_and_the_change_is_finished_later(
    howto: Host, newu: Path, script: str | None, rule: str
) -> None:
    program = newu
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    done = howto.run("domain", "add", "other.example", "--newu", str(program))
    assert done.exit_code == 1
    assert rule in done.stderr
    assert howto.text("control/rcpthosts") == "domain.com\n", "no mail is accepted for a half-made domain"
    assert "finished a change" in howto.run("rebuild").stderr
    assert howto.text("control/rcpthosts") == "domain.com\nother.example\n"


def test_a_broken_part_of_another_domain_stops_a_change_before_it_begins(howto: Host) -> None:
    howto.ok("domain", "add", "other.example")
    (howto.home / "users/domains/other.example").write_text("=other-example-x:u:1:1:/h\n")
    said = howto.refused("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    assert "users/domains/other.example: line 1: a line with 4 colons" in said
    assert not (howto.home / "users/.mailhost/journal").exists(), "or every later change would fail at it too"


def test_dry_runs_of_init_rebuild_and_fix_say_what_the_real_ones_then_do(empty: Host) -> None:
    would = empty.ok("init", "--me", "mail.example.net", "--logins", "pop1", "--dry-run")
    assert not empty.home.exists()
    said = empty.ok("init", "--me", "mail.example.net", "--logins", "pop1")
    assert {line.replace("would make", "made") for line in would.splitlines()} == set(said.splitlines())
    empty.ok("domain", "add", "domain.com")
    shutil.rmtree(empty.home / "popboxes")
    for path in ("control/locals", "users/cdb"):
        (empty.home / path).unlink()
    for words, done in (
        (("init", "--dry-run"), "would make popboxes\nwould make control/locals\nwould make users/cdb\n"),
        (("rebuild", "--dry-run"), "users/assign: would join 0 entries of 1 domain\n"),
    ):
        before = empty.tree()
        assert empty.ok(*words) == done
        assert empty.tree() == before
    before = empty.tree()
    said = empty.run("lint", "--fix", "--dry-run").stdout
    assert "would mend users/cdb" in said
    assert "mended" not in said
    assert empty.tree() == before
    assert "mending users/cdb" in empty.run("lint", "--fix").stdout
