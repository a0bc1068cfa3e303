"""`mailhost lint`: each rule has a host that is wrong in just that way, and --fix where there is one right answer."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts import lint as rules
from mailhost.accounts.errors import BusyError
from mailhost.accounts.files import box_directories as boxes
from mailhost.accounts.layout import Identity
from mailhost.accounts.lint import RULES
from mailhost.system.beneath import Beneath

RELAY = "control/relayclients"
VIRTUAL = "control/virtualdomains"
SECOND = "users/poppasswd.temporary"
PART, BOX = "users/domains/domain.com", "popboxes/domain-com/joe"
Break = Callable[[Host], object]


def write(path: str, text: str) -> Break:
    return lambda host: (host.home / path).write_text(text)


def add(path: str, text: str) -> Break:
    def wrong(host: Host) -> None:
        file = host.home / path
        file.write_text((file.read_text() if file.exists() else "") + text.replace("HOME", str(host.home)))

    return wrong


def remove(path: str) -> Break:
    return lambda host: (host.home / path).unlink()


def chmod(path: str, mode: int) -> Break:
    return lambda host: (host.home / path).chmod(mode)


def own(path: str) -> Break:
    return lambda host: os.chown(host.home / path, 4711, 4711)


def edit(path: str, old: str, new: str) -> Break:
    return lambda host: write(path, host.text(path).replace(old, new))(host)


def moved_out(host: Host, path: str) -> None:
    """Out of the home, with a link in its place."""
    (host.home / path).symlink_to((host.home / path).rename(host.home.parent / "out"))


def linked(path: Path) -> None:
    """Beside itself, with a link in its place."""
    path.symlink_to(path.rename(path.with_name("real")).name)


LINE = "=domain-com-x:popuser:888:888:/x:::\n"
AS_ROOT = pytest.mark.needs("root")

# rule, what makes it, file and line of the finding, whether --fix mends it
CASES: list[tuple[str, Break, str, int, bool]] = [
    ("control-unreadable", lambda h: (h.home / "control/databytes").mkdir(), "control/databytes", 0, False),
    ("open-relay", remove("control/rcpthosts"), "control/rcpthosts", 0, False),
    ("domain-local", add("control/locals", "domain.com\n"), "control/locals", 2, True),
    ("domain-refused", write("control/rcpthosts", ""), "control/virtualdomains", 1, True),
    ("domain-not-virtual", add("control/rcpthosts", "backup.example\n"), "control/rcpthosts", 2, False),
    ("domain-twice", add("control/virtualdomains", "domain.com:other\n"), "control/virtualdomains", 2, False),
    (
        "prefix-collision",
        lambda h: (add(VIRTUAL, "domain-com:domain-com\n")(h), write("users/domains/domain-com", "")(h)),
        "control/virtualdomains", 2, False,
    ),
    ("prefix-overlap", add(VIRTUAL, "domain.com.br:domain-com-br\n"), "control/virtualdomains", 2, False),
    ("prefix-is-account", add("control/virtualdomains", "a.example:alias\n"), "control/virtualdomains", 2, False),
    ("odd-blank", write("control/rcpthosts", "domain.com\r\n"), "control/rcpthosts", 1, False),
    ("alias-default", write("alias/.qmail-default", "&x@y.z\n"), "alias/.qmail-default", 0, False),
    ("unfinished-change", write("users/.mailhost/journal", ""), "users/.mailhost/journal", 0, True),
    ("relayclients-odd", write(RELAY, "# ours\n10.0.0.1\n10.0.0.1/8 @fix\n"), RELAY, 3, False),
    ("relayclients-odd", write(RELAY, "localhost\n"), RELAY, 1, False),
    ("relayclients-odd", lambda h: (h.home / RELAY).mkdir(), RELAY, 0, False),
    ("relayclients-standin", write(RELAY, "127.0.0.0/8\n::1 @fix\n"), RELAY, 0, False),
    ("part-broken", add(PART, "# a note\n"), PART, 2, False),
    ("part-broken", add(PART, "\n"), PART, 2, False),
    ("part-broken", add(PART, LINE.replace(":/x:::", ":/x")), PART, 2, False),
    ("part-broken", lambda h: write(PART, h.text(PART).rstrip("\n"))(h), PART, 1, True),
    ("address-twice", lambda h: add(PART, h.text(PART).replace("joe:pop", "JOE:pop"))(h), PART, 2, False),
    ("plus-too-wide", edit(PART, "=", "+"), PART, 1, False),
    ("plus-without-dash", add(PART, "+domain-com-ann-:popuser:888:888:HOME/x:::\n"), PART, 2, False),
    (
        "plus-shadows-domain",
        lambda h: (h.ok("domain", "add", "x.example"), add(PART, "+x-:popuser:888:888:HOME/x:-::\n")(h)),
        PART, 2, False,
    ),
    ("uid-zero", edit(PART, ":888:888:", ":0:888:"), PART, 1, False),
    ("uid-zero", edit(PART, ":888:888:", ":abc:888:"), PART, 1, False),
    ("uid-odd", edit(PART, ":888:888:", ":888x:888:"), PART, 1, False),
    ("home-relative", add(PART, LINE.replace("/x", "x")), PART, 2, False),
    ("part-misnamed", lambda h: write(PART + "~", h.text(PART))(h), PART + "~", 0, False),
    ("part-without-domain", write("users/domains/gone.example", LINE), "users/domains/gone.example", 0, False),
    ("domain-without-part", add("control/virtualdomains", "x.example:x\n"), "control/virtualdomains", 2, False),
    ("assign-stale", write("users/assign", ".\n"), "users/assign", 0, True),
    ("assign-stale", lambda h: write("users/assign", h.text(PART))(h), "users/assign", 0, True),
    ("assign-stale", remove("users/assign"), "users/assign", 0, True),
    ("assign-refused", lambda h: write("users/assign", h.text(PART))(h), "users/assign", 2, True),
    ("cdb-stale", write("users/cdb", "x"), "users/cdb", 0, True),
    ("cdb-missing", remove("users/cdb"), "users/cdb", 0, True),
    ("home-outside", add(PART, LINE), PART, 2, False),
    ("home-outside", lambda h: moved_out(h, BOX), PART, 1, False),
    ("home-outside", edit(PART, "/qmail/popboxes", "/qmail/../other/popboxes"), PART, 1, False),
    ("home-missing", lambda h: (h.home / BOX).rename(h.home / "away"), PART, 1, True),
    ("home-mode", chmod(BOX, 0o777), BOX, 0, True),
    ("home-mode", chmod(BOX, 0o1700), BOX, 0, True),
    ("home-mode", chmod(BOX, 0o750), BOX, 0, True),
    pytest.param("home-owner", own(BOX), BOX, 0, True, marks=AS_ROOT),  # type: ignore[list-item]
    pytest.param("maildir-owner", own(BOX + "/Maildir/new"), BOX + "/Maildir/new", 0, True, marks=AS_ROOT),  # type: ignore[list-item]
    ("qmail-missing", remove(BOX + "/.qmail"), PART, 1, False),
    ("qmail-missing", write(BOX + "/.qmail", ""), PART, 1, False),
    ("qmail-link", lambda h: linked(h.home / BOX / ".qmail"), PART, 1, False),
    ("qmail-unusable", chmod(BOX + "/.qmail", 0o646), PART, 1, False),
    ("qmail-writable", chmod(BOX + "/.qmail", 0o620), BOX + "/.qmail", 0, True),
    ("qmail-program", add(BOX + "/.qmail", "|cat\n"), BOX + "/.qmail", 2, False),
    ("qmail-fails", chmod(BOX + "/.qmail", 0o700), BOX + "/.qmail", 1, True),
    ("qmail-fails", write(BOX + "/.qmail", "\n./Maildir/\n"), BOX + "/.qmail", 1, False),
    ("qmail-fails", write(BOX + "/.qmail", "+list\n./Maildir/\n"), BOX + "/.qmail", 2, False),
    ("qmail-device", add(BOX + "/.qmail", "/dev/null\n"), BOX + "/.qmail", 2, False),
    ("qmail-no-slash", write(BOX + "/.qmail", "./Maildir\n"), BOX + "/.qmail", 1, False),
    ("maildir-incomplete", lambda h: (h.home / BOX / "Maildir/tmp").rmdir(), BOX + "/Maildir", 0, True),
    ("maildir-incomplete", write(BOX + "/.qmail", "./Other\0dir/\n"), BOX + "/Other", 0, False),
    ("box-orphan", lambda h: (h.home / "popboxes/domain-com/lost").mkdir(), "popboxes/domain-com/lost", 0, False),
    ("row-broken", add("users/poppasswd", "nonsense\n"), "users/poppasswd", 2, False),
    ("poppasswd-open", chmod("users/poppasswd", 0o644), "users/poppasswd", 0, True),
    ("poppasswd-missing", remove("users/poppasswd"), "users/poppasswd", 0, False),
    ("login-twice", lambda h: add("users/poppasswd", h.text("users/poppasswd"))(h), "users/poppasswd", 2, False),
    (
        "hash-costly",
        edit("users/poppasswd", ":DmIMm9e5Hc8ic:", f":$6$rounds=999999999$abcdefgh${'x' * 86}:"),
        "users/poppasswd",
        1,
        False,
    ),
    ("hash-odd", edit("users/poppasswd", ":DmIMm9e5Hc8ic:", ":plain:"), "users/poppasswd", 1, False),
    ("hash-weak", lambda h: None, "users/poppasswd", 1, False),
    ("realuser-unknown", edit("users/poppasswd", ":popuser:", ":nosuchuser:"), "users/poppasswd", 1, False),
    ("realuser-root", edit("users/poppasswd", ":popuser:", ":root:"), "users/poppasswd", 1, False),
    ("realuser-other", edit("users/poppasswd", ":popuser:", ":daemon:"), "users/poppasswd", 1, False),
    ("row-without-address", edit(PART, "com/joe:", "com/jim:"), "users/poppasswd", 1, False),
    ("row-without-maildir", edit("users/poppasswd", "com/joe\n", "com\n"), "users/poppasswd", 1, False),
    ("box-without-login", write("users/poppasswd", ""), PART, 1, False),
    ("temporary-broken", write(SECOND, "joe:x\n"), SECOND, 1, False),
    ("temporary-open", lambda host: (host.home / SECOND).touch(0o666) or chmod(SECOND, 0o666)(host), SECOND, 0, True),
    ("temporary-unreadable", lambda host: (host.home / SECOND).symlink_to("poppasswd"), SECOND, 0, False),
    ("temporary-later", write(SECOND, "joe:DmIMm9e5Hc8ic:4102444800:4102448400:-:5\n"), SECOND, 0, False),
    ("temporary-counts", lambda host: host.ok("mailbox", "temporary", "--all", "--for", "1h"), SECOND, 0, False),
]  # fmt: skip


def findings(host: Host, *words: str) -> list[dict[str, object]]:
    done = host.run("lint", "--json", *words)
    found: list[dict[str, object]] = json.loads(done.stdout)["findings"]
    assert done.exit_code == (1 if any(f["level"] == "error" for f in found) else 0)
    return found


def adapted(host: Host, wrong: Break) -> None:
    """Break the host; without root its lines carry the caller's name and numbers in place of popuser's."""
    names = (PART, "users/poppasswd", "users/assign")
    user, uid, gid = host.owner.split(":")
    for name in names:
        text = host.text(name).replace(f":{host.owner}:", ":popuser:888:888:").replace(f":{user}:/", ":popuser:/")
        (host.home / name).write_text(text)
    wrong(host)
    for name in names:
        if (host.home / name).exists():
            text = host.text(name).replace(":popuser:888:", f":{user}:{uid}:").replace(":888:", f":{gid}:")
            (host.home / name).write_text(text.replace(":popuser:/", f":{user}:/"))


@pytest.mark.parametrize(("rule", "wrong", "file", "line", "fixable"), CASES)
def test_each_rule(howto: Host, rule: str, wrong: Break, file: str, line: int, fixable: bool) -> None:
    adapted(howto, wrong)
    found = [f for f in findings(howto) if f["rule"] == rule]
    assert (file, line or None) in [(f["file"], f["line"]) for f in found]
    assert all((f["fix"] is not None) == fixable for f in found) or rule == "assign-refused"
    before = howto.tree()
    howto.run("lint")
    assert howto.tree() == before, "lint alone changes nothing"
    howto.run("lint", "--fix")
    left = [f for f in findings(howto) if f["rule"] == rule]
    assert (not left) == fixable


def test_q_def_1_a_default_delivery_into_the_maildir_needs_no_file(howto: Host) -> None:
    remove(BOX + "/.qmail")(howto)
    for text, missing in (("./Maildir/\n", False), ("./Mailbox\n", True)):
        write("control/defaultdelivery", text)(howto)
        assert ("qmail-missing" in {one["rule"] for one in findings(howto)}) is missing
    write("control/defaultdelivery", "./Maildir/\n")(howto)
    write(BOX + "/.qmail", "\n")(howto)
    assert "qmail-missing" in {one["rule"] for one in findings(howto)}, "a blank line defers"


def test_every_rule_has_a_case() -> None:
    source = "".join(inspect.getsource(inspect.getmodule(rule)) for rule in RULES)  # type: ignore[arg-type]
    known = set(re.findall(r'Finding\(\s*(?:"error"|"warning"|level),\s*"([a-z-]+)"', source))
    tried = {getattr(case, "values", case)[0] for case in CASES}
    assert known == tried


def test_a_clean_host(howto: Host) -> None:
    howto.ok("mailbox", "passwd", "joe@domain.com", "--generate")
    assert howto.ok("lint") == "nothing wrong\n"
    assert howto.ok("lint", "--strict") == "nothing wrong\n"


def test_good_relayclients_are_a_warning_only(howto: Host) -> None:
    write(RELAY, "# ours\n127.0.0.0/8\n10.0.0.1 @fix\n2001:db8::/32\n")(howto)
    assert "control/relayclients: warning: is read by the stand-in only" in howto.ok("lint")


def test_warnings_fail_only_when_strict(howto: Host) -> None:
    assert "users/poppasswd: line 1: warning: testid has a des hash" in howto.ok("lint")
    assert howto.run("lint", "--strict").exit_code == 1


@pytest.mark.parametrize(
    "wrong",
    [remove("users/assign"), remove("users/cdb"), write("users/cdb", "x")],
    ids=["no assign", "no cdb", "a broken cdb"],
)
def test_each_command_that_is_advised_ends_well_and_helps(howto: Host, wrong: Break) -> None:
    wrong(howto)
    advice = howto.run("lint").output + howto.run("explain", "joe@domain.com").output
    commands = set(re.findall(r"`mailhost ([^`]+)`", advice))
    assert commands
    for command in commands:
        howto.ok(*command.split())
    assert howto.run("lint").exit_code == 0


def test_fix_shows_what_it_does(howto: Host) -> None:
    (howto.home / BOX).chmod(0o777)
    done = howto.run("lint", "--fix")
    assert done.exit_code == 0
    assert f"mending {BOX}: chmod 0700: has mode 0777" in done.stdout
    assert "1 mended" in done.stdout


def test_the_closing_line_counts_in_english(howto: Host) -> None:
    assert howto.ok("lint").endswith("\n0 errors, 1 warning\n")
    (howto.home / BOX).chmod(0o777)
    assert howto.run("lint").stdout.endswith("\n1 error, 1 warning\n")
    (howto.home / "popboxes/domain-com/lost").mkdir()
    assert howto.run("lint").stdout.endswith("\n1 error, 2 warnings\n")


def test_fix_in_a_copied_home_leaves_the_original_alone(howto: Host, tmp_path: Path) -> None:
    box, uid = howto.home / BOX, os.geteuid() or 4711
    (box / ".qmail").chmod(0o620)
    (box / "Maildir/tmp").rmdir()
    for path in (box, box / "Maildir/new"):
        path.chmod(0o777)
        os.chown(path, uid, -1)
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    (howto.home / "popboxes/domain-com/ann").rename(tmp_path / "gone")
    copy = Host(tmp_path / "copy")
    shutil.copytree(howto.home, copy.home, symlinks=True)
    before = howto.tree()
    found = findings(copy, "--fix")
    assert howto.tree() == before
    assert [(f["file"], f["line"]) for f in found if f["rule"] == "home-outside"] == [(PART, 1), (PART, 2)]
    assert not [f for f in found if str(howto.home) in str(f["file"]) and f["fix"]]
    assert str(howto.home) in copy.run("lint").stdout


@pytest.mark.parametrize("linked", [BOX + "/Maildir", BOX + "/Maildir/new", BOX + "/.qmail", "users/poppasswd"])
def test_fix_follows_no_link_out_of_the_home(howto: Host, linked: str) -> None:
    moved_out(howto, linked)
    out = howto.home.parent / "out"
    out.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(out, 4711, 4711)
    (out / "tmp").rmdir() if (out / "tmp").exists() else None
    before = out.stat(), sorted(out.iterdir()) if out.is_dir() else []
    howto.run("lint", "--fix")
    after = out.stat()
    assert (after.st_uid, after.st_mode) == (before[0].st_uid, before[0].st_mode)
    assert (sorted(out.iterdir()) if out.is_dir() else []) == before[1]


@pytest.mark.needs("root")
@pytest.mark.parametrize("swapped", [BOX + "/Maildir", BOX + "/Maildir/new"])
def test_q_perm_fix_follows_no_link_that_popuser_puts_there_after_the_look(
    howto: Host, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """popuser owns the box: between the look and the chown it can put a link to a directory of root's there."""
    out = howto.home.parent / "out"
    (out / "new").mkdir(parents=True)
    os.chown(howto.home / BOX / "Maildir/new", 4711, 4711)
    if swapped.endswith("Maildir"):
        (howto.home / BOX / "Maildir/tmp").rmdir()

    def swap(*_: object) -> None:
        (howto.home / swapped).rename(howto.home.parent / "aside")
        (howto.home / swapped).symlink_to(out)

    looked, look = itertools.count(1), rules.lint
    monkeypatch.setattr(rules, "lint", lambda *a, **k: (look(*a, **k), swap() if next(looked) == 2 else None)[0])
    before = {path: path.stat().st_uid for path in (out, out / "new")}
    assert howto.run("lint", "--fix").exit_code == 111
    assert {path: path.stat().st_uid for path in before} == before
    assert [path.name for path in out.iterdir()] == ["new"]


@pytest.mark.needs("root")
def test_a_maildir_that_is_a_link_is_not_completed_elsewhere(howto: Host, tmp_path: Path) -> None:
    """A change that makes a box whole again (a replay, `apply`) gives nothing away behind a link of popuser's."""
    (tmp_path / "etc/tmp").mkdir(parents=True)
    shutil.rmtree(howto.home / BOX / "Maildir")
    (howto.home / BOX / "Maildir").symlink_to(tmp_path / "etc")
    identity = Identity("popuser", 888, 888)
    with Beneath(howto.home / "popboxes") as tree, pytest.raises(BusyError, match="Maildir: is a symbolic link"):
        boxes.make(tree, BOX.removeprefix("popboxes/"), {}, identity, maildir=True, sync=True)
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["tmp"]
    assert (tmp_path / "etc/tmp").stat().st_uid == 0


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ["Maildir", "Maildir/new", ".qmail"])
def test_a_second_name_of_roots_file_is_not_given_away(howto: Host, tmp_path: Path, name: str) -> None:
    """Where fs.protected_hardlinks is 0, the kernel's own default, popuser can make one."""
    secret, here = tmp_path / "secret", howto.home / BOX / name
    secret.write_text("of root")
    secret.chmod(0o620)
    here.rename(tmp_path / "aside")
    here.hardlink_to(secret)
    before = secret.stat()
    done = howto.run("lint", "--fix")
    assert done.exit_code == (0 if name == ".qmail" else 111)
    assert ("a second name of another user's file" if name == ".qmail" else "a directory is wanted here") in done.output
    assert str(here.parent if name == ".qmail" else here) in done.output
    after = secret.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_popboxes_on_another_disk_is_still_ours(howto: Host) -> None:
    boxes = howto.home / "popboxes"
    boxes.symlink_to(boxes.rename(howto.home.parent / "disk"))
    (howto.home / BOX).chmod(0o777)
    assert "1 mended" in howto.ok("lint", "--fix")


def test_the_hash_itself_is_never_shown(howto: Host) -> None:
    edit("users/poppasswd", ":DmIMm9e5Hc8ic:", ":plain-secret:")(howto)
    assert "plain-secret" not in howto.run("lint").output


def test_nothing_at_all(empty: Host, tmp_path: Path) -> None:
    empty.home.mkdir()
    rules = {f["rule"] for f in findings(empty)}
    assert {"open-relay", "cdb-missing", "poppasswd-missing"} <= rules
