"""A host that a file governs: what an unattended apply removes, and what single verbs refuse."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from tests.exposition import parsed
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts import exposed, governed
from mailhost.accounts.layout import layout
from mailhost.cli import main
from mailhost.cli.verbs.follow import Follower, follow

END = "# end of accounts\n"


def box(domain: str, *names: str) -> str:
    """A domain with these mailboxes, each with a login of its own."""
    tables = [
        f'[domains."{domain}".mailboxes.{name}]\nlogin = "{name}.{domain}"\ncrypt = "{HOWTO_CRYPT}"\n' for name in names
    ]
    return f'[domains."{domain}"]\n' + "".join(tables)


A, B = box("a.example", "joe"), box("b.example", "joe")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.toml"


@pytest.fixture
def both(host: Host, file: Path) -> Host:
    """A host that the file governs, with two domains, of which b.example has mail."""
    file.write_text(A + B)
    host.ok("apply", str(file))
    governed.note(layout(host.home), file)
    (host.home / "popboxes/b-example/joe/Maildir/new/1").write_text("precious")
    return host


def unattended(host: Host, file: Path, still_s: float = 60) -> tuple[int, str]:
    done = host.run("apply", "--unattended", str(still_s), str(file))
    return done.exit_code, done.output


def domains(host: Host) -> list[str]:
    return [str(one["domain"]) for one in json.loads(host.ok("domain", "list", "--json"))]


def test_half_of_a_file_takes_nothing_away_however_long_it_stands(both: Host, file: Path) -> None:
    follower = Follower(both.home, file, 0.1)
    file.write_text(A)
    before = both.tree()
    for _ in range(4):
        follower.round()
    after = both.tree()
    assert {name for name in after if after[name] != before.get(name)} == {"users/.mailhost/governed"}
    record = governed.read(layout(both.home))
    assert record is not None
    assert "takes away b.example with the mail in it" in record.waits
    assert "waits" in both.ok("governed")
    file.write_text(A + B + "# a comment more\n")
    follower.round()
    follower.round()
    record = governed.read(layout(both.home))
    assert record is not None
    assert (record.waits, record.applied) == ("", hashlib.sha256(file.read_bytes()).hexdigest())
    assert (both.home / "popboxes/b-example/joe/Maildir/new/1").read_text() == "precious"


def test_a_text_is_applied_when_two_looks_saw_the_same(both: Host, file: Path) -> None:
    follower = Follower(both.home, file, 0.1)
    file.write_text(A + B + box("c.example", "ann"))
    follower.round()
    assert domains(both) == ["a.example", "b.example"]
    file.write_text(A + B + box("c.example", "ann", "bob"))
    follower.round()
    assert domains(both) == ["a.example", "b.example"], "it has changed between the looks"
    follower.round()
    assert domains(both) == ["a.example", "b.example", "c.example"]
    assert "bob.c.example" in both.text("users/poppasswd")


def test_what_goes_must_have_stood_still_for_a_minute_or_end_in_the_mark(host: Host, file: Path) -> None:
    file.write_text(box("a.example", "joe", "ann"))
    assert unattended(host, file)[0] == 0
    file.write_text(A)
    code, said = unattended(host, file, 59)
    assert (code, "stood still for 60 s" in said) == (111, True)
    assert "ann.a.example" in host.text("users/poppasswd")
    file.write_text(A + END)
    assert unattended(host, file, 3)[0] == 0
    assert "ann.a.example" not in host.text("users/poppasswd")


def test_a_file_that_had_the_mark_is_half_without_it(host: Host, file: Path) -> None:
    file.write_text(A + B + END)
    assert unattended(host, file)[0] == 0
    file.write_text(A + B + box("c.example"))
    code, said = unattended(host, file)
    assert (code, "'# end of accounts'" in said) == (2, True)
    assert domains(host) == ["a.example", "b.example"]


@pytest.mark.parametrize("text", ["", "\n \n", A.removesuffix("\n")])
def test_a_text_that_does_not_end_whole_is_not_applied(host: Host, file: Path, text: str) -> None:
    file.write_text(text)
    assert unattended(host, file)[0] == 2
    assert domains(host) == []


LOST = {
    "four boxes": (box("a.example", *"abcd", "joe"), A, "takes away 4 addresses"),
    "four forwards": (
        A + '[domains."a.example".forwards]\n' + "".join(f'{x} = ["{x}@else.example"]\n' for x in "abcd"),
        A,
        "takes away 4 addresses",
    ),
    "four aliases": (A + 'aliases = ["a", "b", "c", "d"]\n', A, "takes away 4 addresses"),
    "every domain": (A, box("c.example", "joe"), "takes away every domain: a.example"),
    "a domain of four boxes": (A + box("b.example", *"abcd"), A, "takes away 4 addresses: b.example"),
}


@pytest.mark.parametrize(("before", "after", "why"), LOST.values(), ids=LOST)
def test_more_than_a_few_wait_for_a_person_and_nothing_else_of_the_file_is_applied(
    host: Host, file: Path, before: str, after: str, why: str
) -> None:
    file.write_text(before)
    assert unattended(host, file)[0] == 0
    tree = host.tree()
    file.write_text(after + box("new.example", "x"))
    code, said = unattended(host, file, 3600)
    assert code == 2
    assert why in said
    assert "Nothing of it is applied" in said
    assert host.tree() == tree
    assert host.run("apply", str(file), "--yes").exit_code == 0, "a person agrees"
    assert "new.example" in domains(host)


def test_removals_that_the_file_agrees_to_wait_for_nobody(both: Host, file: Path) -> None:
    file.write_text('[removals]\nagreed = ["b.example"]\n' + A)
    assert unattended(both, file, 0)[0] == 0
    assert domains(both) == ["a.example"]


@pytest.mark.parametrize("place", ["Maildir/cur/1:2,S", "Maildir/.Sent/cur/1:2,S", "Mailbox"])
def test_mail_that_was_read_or_filed_is_mail_too(both: Host, file: Path, place: str) -> None:
    box = both.home / "popboxes/b-example/joe"
    (box / place).parent.mkdir(parents=True, exist_ok=True)
    (box / "Maildir/new/1").rename(box / place)
    file.write_text(A)
    assert "with the mail in it" in unattended(both, file)[1]


def test_another_text_than_the_one_that_stood_still_is_not_applied(host: Host, file: Path) -> None:
    file.write_text(A)
    done = host.run("apply", "--unattended", "3", "--sha256", hashlib.sha256(b"").hexdigest(), str(file))
    assert (done.exit_code, domains(host)) == (111, [])


def test_the_file_that_goes_leaves_the_accounts_and_no_file_at_the_start_governs_nothing(
    both: Host, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.unlink()
    Follower(both.home, file, 0.1).round()
    assert "is gone; the accounts stay" in capsys.readouterr().out
    assert str(file) in both.refused("domain", "add", "c.example")
    Follower(both.home, file, 0.1).begin()
    both.ok("domain", "add", "c.example")
    assert domains(both) == ["a.example", "b.example", "c.example"]


def test_the_verb_says_each_thing_once_and_ends_with_a_change_finished(host: Host, file: Path) -> None:
    file.write_text(A)
    verb = [sys.executable, "-P", "-m", "mailhost", "--home", str(host.home), "follow", str(file), "--every", "0.1"]
    with subprocess.Popen(verb, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "accounts: added domain a.example: prefix a-example\n"
        new = file.with_suffix(".new")
        new.write_text("nonsense = 1\n")
        new.rename(file)  # it is looked at meanwhile: at half of it, too, where it is written in its place
        lines = [line for line in iter(running.stdout.readline, "accounts: not applied\n") if "nonsense" in line]
        running.terminate()
        assert running.wait(60) == 0
        assert "not applied" not in running.stdout.read()
    assert len(lines) == 1


UNLUCKY = """
import os, signal, threading
from mailhost.cli.verbs import follow as verbs
from mailhost.cli import main

def told(*_):
    os.kill(os.getpid(), signal.SIGTERM)

threading.Condition.wait = told  # it is called with the lock held that set() takes
looked = []
verbs.Follower.round = lambda _: looked.append(1) or (len(looked) > 1 and told())
main()
"""


def test_a_signal_at_any_moment_ends_it(host: Host, file: Path) -> None:
    verb = [sys.executable, "-P", "-c", UNLUCKY, "--home", str(host.home), "follow", str(file), "--every", "0.1"]
    assert subprocess.run(verb, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("fifo", "cannot be read: it is a FIFO, not a file"),
        ("device", "cannot be read: it is a device, not a file"),
        ("directory", "cannot be read: it is a directory, not a file"),
        ("missing", "there is no such file"),
    ],
)
def test_what_is_no_file_is_named_and_holds_no_start_up(
    both: Host, file: Path, kind: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the file that the images mount the host starts all the same; a file that is named must be there."""
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "directory":
        file.mkdir()
    assert both.refused("follow", "--once", str(file)) == f"mailhost: {file}: {why}\n"
    (option,) = (one for one in follow.params if one.name == "file")
    monkeypatch.setattr(option, "default", file)
    told = "" if kind == "missing" else f"accounts: {file}: {why}\naccounts: not applied\n"
    assert both.ok("follow", "--once") == told
    assert domains(both) == ["a.example", "b.example"]


VERBS = {
    "domain add": ("c.example",),
    "domain alias": ("c.example", "a.example"),
    "domain del": ("a.example",),
    "mailbox add": ("ann@a.example", "--crypt", HOWTO_CRYPT),
    "mailbox del": ("joe@a.example",),
    "mailbox passwd": ("joe@a.example", "--generate"),
    "mailbox rename": ("joe@a.example", "jim"),
    "mailbox disable": ("joe@a.example",),
    "mailbox enable": ("joe@a.example",),
    "mailbox set": ("joe@a.example", "--extensions"),
    "mailbox import": ("IMPORT",),
    "mailbox rehash": ("joe.a.example", "--password-stdin"),
    "forward add": ("x@a.example", "joe@a.example"),
    "forward del": ("x@a.example",),
    "catchall set": ("a.example", "joe"),
    "catchall unset": ("a.example",),
    "alias add": ("x@a.example", "joe@a.example"),
    "alias del": ("x@a.example",),
    "alias system": ("root", "joe@a.example"),
    "init": ("--logins", "pop1"),
}
OTHERS = {
    *("alias list", "catchall list", "domain list", "domain show", "forward list", "mailbox list", "mailbox show"),
    *(
        "accounts",
        "apply",
        "commands",
        "explain",
        "export",
        "find",
        "follow",
        "governed",
        "lint",
        "mailbox measure",
        "mailbox temporary",
        "mkpasswd",
        "plan",
        "queue",
    ),
    *(
        "newmrh",
        "newu",
        "rebuild",
        "nodes forget",
        "nodes list",
        "removed list",
        "removed purge",
        "removed restore",
        "schema",
        "serve",
    ),
}
"""They change no account, or are the file's own."""


def test_every_verb_is_known_here() -> None:
    found = set()
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        nested = isinstance(command, click.Group) and name not in ("queue", "serve")
        found |= {f"{name} {sub}" for sub in command.commands} if nested else {name}  # type: ignore[union-attr]
    assert found == set(VERBS) | OTHERS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_the_file_would_take_back_is_refused_and_says_what_to_edit(
    both: Host, file: Path, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "new.csv").write_text("address,login\nann@a.example,ann\n")
    out = tmp_path / "made.csv"
    words = [str(tmp_path / "new.csv"), "--generate", str(out)] if verb == "mailbox import" else VERBS[verb]
    said = both.refused(*verb.split(), *words, stdin="testpw")
    assert said.startswith(f"mailhost: {file}: [")
    assert "this file governs the accounts of this host" in said
    assert not out.exists()


def test_a_password_that_the_file_does_not_say_is_changed_by_the_verb(host: Host, file: Path, tmp_path: Path) -> None:
    file.write_text('[domains."a.example".mailboxes.joe]\nlogin = "ja"\n')
    host.ok("apply", str(file), "--generate", str(tmp_path / "made"))
    governed.note(layout(host.home), file)
    assert "changed mailbox joe@a.example" in host.ok("mailbox", "passwd", "joe@a.example", "--crypt", HOWTO_CRYPT)
    host.ok("mailbox", "disable", "joe@a.example")
    host.ok("mailbox", "enable", "joe@a.example")
    assert "sha512" in host.ok("mailbox", "rehash", "ja", "--password-stdin", stdin="testpw")
    rows = host.text("users/poppasswd")
    assert unattended(host, file) == (0, "nothing to change\n")
    assert host.text("users/poppasswd") == rows


def test_only_the_file_that_governs_is_applied(both: Host, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(A + B + box("c.example"))
    assert f"{file} is, and would take these accounts back" in both.refused("apply", str(other), "--yes")
    (tmp_path / "link.toml").symlink_to(file)
    assert both.ok("apply", str(tmp_path / "link.toml")) == "nothing to change\n"


def test_follow_keeps_gauges_of_what_is_applied_and_what_waits(both: Host, file: Path, tmp_path: Path) -> None:
    place, gauges = layout(both.home), tmp_path / "gauges"
    exposed.put(gauges, exposed.text(both.home, None, 1.0))
    found = parsed(gauges.read_text())
    assert (found["popbox_accounts_governed"], found["popbox_accounts_looked_timestamp_seconds"]) == (0, 1)
    assert "popbox_accounts_waiting" not in found
    governed.note(place, file, applied="0" * 64, at="2026-11-28T15:00:00Z", waits="")
    found = parsed(exposed.text(both.home, governed.read(place), 2.0))
    assert (found["popbox_accounts_waiting"], found["popbox_accounts_governed"]) == (0, 1)
    assert found["popbox_accounts_applied_timestamp_seconds"] == 1_795_878_000
    assert found['popbox_volume_size_bytes{volume="users"}'] > 0
    governed.note(place, file, at="", waits="joe@a.example goes only when a person agrees")
    said = exposed.text(both.home, governed.read(place), 3.0)
    assert parsed(said)["popbox_accounts_waiting"] == 1
    assert ("joe" in said, "applied_timestamp" in said) == (False, False)


def test_follow_shows_gauges_after_each_look(both: Host, file: Path, tmp_path: Path) -> None:
    """Readable by the page's own user, whatever the umask; a place that cannot be written stops nothing."""
    gauges = tmp_path / "gauges"
    argv = [sys.executable, "-m", "mailhost", "--home", str(both.home), "follow", "--every", "0.1", "--gauges"]
    for place in (gauges, tmp_path / "none" / "gauges"):
        with subprocess.Popen([*argv, str(place), str(file)], umask=0o077) as child:
            looked = {0.0}
            deadline = time.monotonic() + 60
            while place == gauges and len(looked) < 4 and time.monotonic() < deadline:
                text = gauges.read_text() if gauges.exists() else ""
                looked.add(parsed(text).get("popbox_accounts_looked_timestamp_seconds", 0.0))
                time.sleep(0.02)
            assert child.poll() is None
            child.terminate()
            assert child.wait(60) in (0, -15)
        assert place != gauges or (len(looked) == 4 and gauges.stat().st_mode & 0o777 == 0o644)
