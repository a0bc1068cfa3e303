"""`mailhost apply`, `plan` and `export`: a whole host from one file, and back."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from tests.mailhost.accounts.sources.test_accounts_toml import HOUSE, SLOW, accounts
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts.layout import layout
from mailhost.accounts.model import Accounts
from mailhost.accounts.sources import accounts_toml, read_back
from mailhost.poppasswd import crypt as hashing

COUNT = itertools.count()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.toml"
    path.write_text(HOUSE)
    return path


def test_apply_makes_the_host_what_the_file_says_and_once_is_enough(host: Host, file: Path) -> None:
    assert "added mailbox joe@domain.com: login testid" in host.ok("apply", str(file))
    before = host.tree()
    for _ in range(2):
        assert host.ok("apply", str(file)) == "nothing to change\n"
        assert host.ok("plan", str(file)) == "nothing to change\n"
    assert host.tree() == before
    assert host.ok("lint").endswith("0 errors, 1 warning\n"), "the HOWTO's DES hash"


def test_single_verbs_and_apply_make_the_same_tree(host: Host, howto: Host, file: Path, tmp_path: Path) -> None:
    howto.ok("mailbox", "set", "joe@domain.com", "--extensions")
    howto.ok("forward", "add", "sales@domain.com", "joe@domain.com", "someone@elsewhere.example")
    howto.ok("catchall", "set", "domain.com", "joe")
    by_verbs = howto.tree()
    shutil.rmtree(howto.home)
    howto.ok("init", "--me", "mail.example.net")
    howto.ok("apply", str(file))
    assert howto.tree() == by_verbs


def test_plan_prints_a_table_and_changes_nothing(host: Host, file: Path) -> None:
    before = host.tree()
    said = host.ok("plan", str(file))
    assert "add  domain    domain.com" in said
    assert said.endswith("4 changes\n")
    assert [c["action"] for c in json.loads(host.ok("plan", str(file), "--json"))] == ["add"] * 4
    assert host.ok("apply", str(file), "--dry-run").startswith("would add domain domain.com")
    assert host.tree() == before


def test_plan_says_which_mailboxes_apply_would_refuse_without_generate(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "bare.toml"
    for boxes, which in (("ann", "ann@d.com has"), ("ann bob cat", "ann@d.com and 2 more have")):
        file.write_text("".join(f'[domains."d.com".mailboxes.{box}]\n' for box in boxes.split()))
        rule = f"no password in {file}: say crypt or password_file there, or give `apply` --generate"
        done = host.run("plan", str(file), "--json")
        assert (done.exit_code, done.stderr) == (0, f"mailhost: {which} {rule}\n")
    host.ok("apply", str(file), "--generate", str(tmp_path / "out.csv"))
    assert host.run("plan", str(file)).output == "nothing to change\n"


def test_what_is_not_declared_goes_aside_unless_kept(howto: Host, tmp_path: Path) -> None:
    howto.ok("domain", "alias", "domain.net", "domain.com")
    howto.ok("alias", "system", "root", "joe@domain.com")
    (howto.home / "popboxes/domain-com/joe/Maildir/new/1").write_text("kept")
    (tmp_path / "empty.toml").write_text("")
    assert howto.ok("apply", str(tmp_path / "empty.toml"), "--no-delete") == "nothing to change\n"
    howto.ok("apply", str(tmp_path / "empty.toml"), "--yes")
    assert howto.text("control/rcpthosts") == ""
    assert howto.text("users/poppasswd") == ""
    assert not (howto.home / "alias/.qmail-root").exists()
    assert [p.read_text() for p in (howto.home / "popboxes/.removed").rglob("new/1")] == ["kept"]


def test_an_address_changes_its_kind_in_one_apply(howto: Host, tmp_path: Path) -> None:
    """Mailbox to forward and back: the new one's directory is the old one's name, and the old mail is aside, whole."""
    (howto.home / "popboxes/domain-com/joe/Maildir/new/1").write_text("mail")
    file = tmp_path / "accounts.toml"
    file.write_text('[domains."domain.com".forwards]\njoe = ["x@elsewhere.example"]\n')
    howto.ok("apply", str(file), "--yes")
    assert howto.text("popboxes/domain-com/joe/.qmail") == "&x@elsewhere.example\n"
    (kept,) = (howto.home / "popboxes/.removed/domain-com").iterdir()
    assert (kept / "Maildir/new/1").read_text() == "mail"
    assert not (howto.home / "popboxes/domain-com/joe/Maildir").exists()
    assert howto.ok("lint") == "nothing wrong\n"
    assert howto.ok("apply", str(file), "--yes") == "nothing to change\n"
    file.write_text(f'[domains."domain.com".mailboxes.joe]\nlogin = "joe"\ncrypt = "{HOWTO_CRYPT}"\n')
    howto.ok("apply", str(file), "--yes")
    assert howto.text("popboxes/domain-com/joe/.qmail") == "./Maildir/\n"
    assert not list((howto.home / "popboxes/domain-com/joe/Maildir/new").iterdir()), "nobody gets another's mail"
    assert howto.ok("apply", str(file), "--yes") == "nothing to change\n"
    assert len(list((howto.home / "popboxes/.removed/domain-com").iterdir())) == 1, "a forward without mail leaves none"


def test_a_box_that_goes_together_with_the_catchall_that_it_was_leaves_no_directory(
    howto: Host, tmp_path: Path
) -> None:
    """The catchall goes first, which changes files of the box that then goes too."""
    howto.ok("catchall", "set", "domain.com", "joe@domain.com")
    file = tmp_path / "accounts.toml"
    file.write_text('[domains."domain.com"]\n')
    howto.ok("apply", str(file), "--yes")
    assert list((howto.home / "popboxes/domain-com").iterdir()) == []


def test_a_domain_takes_over_the_prefix_of_one_that_goes(howto: Host, tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    box = f'[domains."new.com".mailboxes.joe]\nlogin = "joe"\ncrypt = "{HOWTO_CRYPT}"\n'
    file.write_text(f'[domains."new.com"]\nprefix = "domain-com"\n{box}')
    howto.ok("apply", str(file), "--yes")
    assert howto.text("popboxes/domain-com/joe/.qmail") == "./Maildir/\n"
    assert [path.name[:10] for path in (howto.home / "popboxes/.removed").iterdir()] == ["domain-com"]
    assert howto.ok("lint").splitlines()[-1] in ("nothing wrong", "0 errors, 1 warning")


def test_another_name_for_a_domain_may_stand_above_it(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    box = f'[domains."domain.com".mailboxes.joe]\nlogin = "joe"\ncrypt = "{HOWTO_CRYPT}"\n'
    file.write_text(f'[domains."domain.net"]\nalias_of = "domain.com"\n{box}')
    host.ok("apply", str(file))
    assert "domain.net:domain-com" in host.text("control/virtualdomains").splitlines()


def test_nothing_is_taken_away_unasked_without_a_terminal(howto: Host, tmp_path: Path) -> None:
    howto.ok("forward", "add", "sales@domain.com", "joe@domain.com")
    file = tmp_path / "a.toml"
    file.write_text('[domains."domain.com"]\n')
    said = howto.refused("apply", str(file))
    assert f"{file}: would take 2 things away" in said
    assert "give --yes, or --no-delete" in said
    assert "would remove mailbox joe@domain.com" in howto.ok("apply", str(file), "--dry-run")
    file.write_text(f'[domains."domain.com".mailboxes.joe]\ncrypt = "{HOWTO_CRYPT}"\n')
    assert "would take 1 thing away" in howto.refused("apply", str(file))
    assert howto.ok("apply", str(file), "--no-delete") == "nothing to change\n"
    assert "removed forward" in howto.ok("apply", str(file), "--yes")


def test_on_a_terminal_it_asks(howto: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.toml"
    file.write_text("")
    monkeypatch.setattr("os.isatty", lambda descriptor: True)
    assert "Take these away?" in howto.refused("apply", str(file), code=1, stdin="n\n")
    assert "removed domain domain.com" in howto.ok("apply", str(file), stdin="y\n")


def test_every_kind_of_change_of_a_box(host: Host, file: Path) -> None:
    host.ok("apply", str(file))
    file.write_text(
        HOUSE.replace('"testid"', '"other"')
        .replace(HOWTO_CRYPT, "$1$salt$qJH7.N4xYta3aEG/dfqo/0")
        .replace("extensions = true", 'extensions = false\ndelivery = "mbox"\naliases = ["info"]')
        .replace('catchall = "joe"', 'catchall = "sales"')
        .replace('"someone@elsewhere.example"', '"else@elsewhere.example"')
    )
    said = host.ok("apply", str(file))
    for change in (
        "login testid is now other", "password of login other", "extensions off", "delivery into ./Mailbox",
        "added alias info@domain.com", "catchall domain.com: into sales@", "to joe@domain.com, else@elsewhere.example",
    ):  # fmt: skip
        assert change in said
    assert host.ok("apply", str(file)) == "nothing to change\n"
    read, _ = read_back.read(layout(host.home))
    assert read.domains == accounts_toml.load(file).domains


def test_password_files_are_read_once_and_a_new_salt_is_no_change(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[domains."d.com".mailboxes.joe]\npassword_file = "joe.pw"\n')
    assert "joe.pw" in host.refused("apply", str(tmp_path / "a.toml"))
    (tmp_path / "joe.pw").write_text("secret\n")
    host.ok("apply", str(tmp_path / "a.toml"))
    assert host.ok("apply", str(tmp_path / "a.toml")) == "nothing to change\n"
    (tmp_path / "joe.pw").write_text("other\n")
    said = host.ok("apply", str(tmp_path / "a.toml"))
    assert "password of login" in said
    assert "other" not in said


def test_a_new_mailbox_without_a_password(host: Host, tmp_path: Path) -> None:
    file, out = tmp_path / "a.toml", tmp_path / "pw.csv"
    file.write_text('[domains."d.com".mailboxes.joe]\n')
    assert '[domains."d.com".mailboxes.joe]: is new: say crypt' in host.refused("apply", str(file))
    host.ok("apply", str(file), "--generate", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    head, line = out.read_text().splitlines()
    assert head == "address,password"
    crypt = host.text("users/poppasswd").split(":")[1].encode()
    assert hashing.verify(line.split(",")[1].encode(), crypt)
    assert host.ok("apply", str(file)) == "nothing to change\n"


def test_dry_runs_make_no_password_up(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("verbs.declare", "verbs.mailbox_import"):
        monkeypatch.setattr(f"mailhost.cli.{module}.generated", lambda: pytest.fail("made for nothing"))
    file, table, out = tmp_path / "a.toml", tmp_path / "a.csv", tmp_path / "pw.csv"
    file.write_text('[domains."d.com".mailboxes.joe]\n')
    table.write_text("address\njoe@d.com\n")
    assert "would add mailbox" in host.ok("apply", str(file), "--generate", str(out), "--dry-run")
    words = ("mailbox", "import", str(table), "--add-domains", "--generate", str(out), "--dry-run")
    assert "would add mailbox" in host.ok(*words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('[domains."mail.example.net"]', "control/locals: line 1"),
        ('[domains."d.com"]\n[domains."d.com.br"]', 'a.toml: line 2: [domains."d.com.br"]: prefix: \'d-com-br\' and'),
        ('[domains."d.com.br"]\n[domains."d.com"]', '\'d-com\' of [domains."d.com"] overlap'),
        ('[domains."a-b.com"]\n[domains."a.b.com"]', '[domains."a.b.com"]: prefix: \'a-b-com\' and'),
        ('[domains."a-b.com"]\n[domains."a.b.com"]', 'as in prefix = "a_b_com"'),
        ('[domains."alias.com"]\nprefix="alias"',
         'a.toml: line 2: [domains."alias.com"]: prefix \'alias\' of alias.com: mail for unknown'),
        ('[domains."alias.com"]\nprefix="alias"', 'as in prefix = "alias_mail" in [domains."alias.com"] of'),
        ('[domains."d.com"]\nprefix = "other"', "delete it first"),
        ('[domains."d.com".mailboxes.a]\nlogin="x"\ncrypt="DmIMm9e5Hc8ic"\n'
         '[domains."d.com".mailboxes.b]\nlogin="x"\ncrypt="DmIMm9e5Hc8ic"',
         "a.toml: line 5: [domains.\"d.com\".mailboxes.b]: login: 'x' is the login of [domains.\"d.com\".mailboxes.a]"),
        (f'[domains."d.com".mailboxes.a]\nlogin="x"\ncrypt="$6$rounds=999999999$abcdefgh${"x" * 86}"',
         "a.toml: line 3: [domains.\"d.com\".mailboxes.a]: crypt: crypt: asks for other than 1 to 1,000,000 rounds"),
        ("nonsense", "is not TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_changes_nothing(host: Host, tmp_path: Path, text: str, rule: str) -> None:
    host.ok("domain", "add", "d.com") if "prefix" in text else None
    (tmp_path / "a.toml").write_text(text)
    assert rule in host.refused("apply", str(tmp_path / "a.toml"))
    host.refused("plan", str(tmp_path / "a.toml"))


def test_h9_an_overlap_with_the_host_itself(host: Host, tmp_path: Path) -> None:
    host.ok("domain", "add", "a-b.com")
    file = tmp_path / "a.toml"
    file.write_text('[domains."a.b.com"]\n')
    said = host.refused("apply", str(file), "--no-delete")
    assert "control/virtualdomains: line 1" in said
    assert f'prefix = "a_b_com" in [domains."a.b.com"] of {file}' in said
    file.write_text('[domains."a-b.com"]\n[domains."a.b.com"]\n')
    said = host.refused("apply", str(file))
    assert "--prefix" not in said
    assert "virtualdomains" not in said
    file.write_text('[domains."a-b.com"]\n[domains."a.b.com"]\nprefix = "a_b_com"\n')
    assert host.ok("apply", str(file)) == "added domain a.b.com: prefix a_b_com\n"


def test_export_keeps_hashes_private_and_foreign_lines_out(howto: Host, tmp_path: Path) -> None:
    part = howto.home / "users/domains/domain.com"
    part.write_text(part.read_text() + "=domain-com-x:joe:1000:1000:/home/joe:::\n")
    done = howto.run("export", "-o", str(tmp_path / "out.toml"))
    assert done.exit_code == 0
    assert "is not of mailhost's making" in done.stderr
    assert stat.S_IMODE((tmp_path / "out.toml").stat().st_mode) == 0o600
    assert howto.ok("export") == (tmp_path / "out.toml").read_text()
    assert howto.ok("apply", str(tmp_path / "out.toml")) == "nothing to change\n"
    assert "/home/joe" in part.read_text()


def test_export_replaces_nothing_that_is_no_file_and_keeps_links(howto: Host, tmp_path: Path) -> None:
    """As root, /dev/null was a file of ours then."""
    fifo, link, folder = tmp_path / "fifo", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(fifo)
    folder.mkdir()
    link.symlink_to("there")
    assert f"{fifo}: is no regular file; without -o" in howto.refused("export", "-o", str(fifo))
    assert f"{folder}: is no regular file" in howto.refused("export", "-o", str(folder))
    assert "cannot be written: its folder is not there" in howto.refused("export", "-o", str(tmp_path / "none/x"))
    howto.ok("export", "-o", str(link))
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert link.is_symlink()
    assert (tmp_path / "there").read_text() == howto.ok("export")


@SLOW
@given(accounts())
def test_apply_read_export_apply_of_anything_valid(
    tmp_path_factory: pytest.TempPathFactory, declared: Accounts
) -> None:
    place = tmp_path_factory.getbasetemp() / f"any{next(COUNT)}"
    host = Host(place / "qmail")
    place.mkdir()
    host.ok("init", "--me", "mail.host.test")
    (place / "a.toml").write_text(accounts_toml.render(declared))
    host.ok("apply", str(place / "a.toml"))
    read, foreign = read_back.read(layout(host.home))
    assert not foreign
    assert read.domains == declared.domains
    assert read.system == declared.system
    assert host.run("lint").exit_code == 0, host.run("lint").output
    before = host.tree()
    host.ok("export", "-o", str(place / "b.toml"))
    shutil.rmtree(host.home)
    host.ok("init", "--me", "mail.host.test")
    host.ok("apply", str(place / "b.toml"))
    assert host.tree() == before
    shutil.rmtree(place)


def test_all_that_the_host_cannot_become_is_told_at_once_each_with_its_line(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("""[domains."d.com".mailboxes.ann]
[domains."D.com.br"]
[domains."D.com.br".mailboxes.BOB]
password_file = "none"
[domains."e.com"]
prefix = "d-com-x"
[domains."e.com".mailboxes]
empty = {password_file = "empty"}
device = {password_file = "/dev/zero"}
jim.extensions = true
""")
    (tmp_path / "empty").write_text("\n")
    new = "is new: say crypt or password_file, or run with --generate"
    said = [
        f'line 1: [domains."d.com".mailboxes.ann]: {new}',
        "line 2: [domains.\"d.com.br\"]: prefix: 'd-com-br' and 'd-com' of [domains.\"d.com\"] overlap: qmail would "
        "take one domain's mail for the other's (H-9). Give one of the two tables another prefix, as in "
        'prefix = "d_com_br"',
        f'line 4: [domains."d.com.br".mailboxes.bob]: password_file: {tmp_path}/none: cannot be read: '
        "No such file or directory",
        "line 6: [domains.\"e.com\"]: prefix: 'd-com-x' and 'd-com' of [domains.\"d.com\"] overlap: qmail would "
        "take one domain's mail for the other's (H-9). Give one of the two tables another prefix, as in "
        'prefix = "d_com_x"',
        f'line 8: [domains."e.com".mailboxes.empty]: password_file: {tmp_path}/empty: its first line is empty',
        'line 9: [domains."e.com".mailboxes.device]: password_file: /dev/zero: cannot be read: '
        "it is a device, not a file",
        f'line 10: [domains."e.com".mailboxes.jim]: {new}',
    ]
    assert host.refused("apply", str(file)) == "mailhost: " + "".join(f"{file}: {line}\n" for line in said)
    assert host.refused("plan", str(file)).count("\n") == len(said) - 2, "plan makes passwords up"


def test_all_that_stands_in_the_way_on_the_host_is_told_at_once(host: Host, tmp_path: Path) -> None:
    """A local domain, logins of others, another's line for an address; not what only follows from these."""
    host.ok("domain", "add", "d.com")
    host.ok("mailbox", "add", "joe@d.com", "--login", "joe", "--crypt", HOWTO_CRYPT)
    rows = host.home / "users/poppasswd"
    rows.write_text(f"{rows.read_text()}ann:x:u:/home/ann\nbob:x:u:/home/bob\n")
    file = tmp_path / "a.toml"
    file.write_text(f"""[domains."mail.example.net".mailboxes.one]
crypt = "{HOWTO_CRYPT}"
[domains."other.net"]
alias_of = "mail.example.net"
[domains."d.com"]
catchall = "bob"
[domains."d.com".mailboxes]
joe = {{ login = "ann" }}
bob = {{ login = "bob", crypt = "{HOWTO_CRYPT}", aliases = ["robert"] }}
[domains."e.com"]
prefix = "alias"
""")
    before = host.tree()
    said = host.refused("apply", str(file)).splitlines()
    assert [line.partition("a.toml: ")[2].partition(" (")[0].partition(". Give")[0] for line in said] == [
        'line 1: [domains."mail.example.net"]: control/locals: line 1: domain mail.example.net: the domain is local '
        "there, so its mail would go to system accounts",
        'line 8: [domains."d.com".mailboxes.joe]: users/poppasswd: login ann: is taken, by /home/ann',
        'line 9: [domains."d.com".mailboxes.bob]: users/poppasswd: login bob: is taken, by /home/bob',
        "line 11: [domains.\"e.com\"]: prefix 'alias' of e.com: mail for unknown addresses would go to the system "
        "account 'alias'",
    ]
    assert host.tree() == before


def test_a_byte_order_mark_is_no_part_of_the_file(host: Host, file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    host.ok("apply", str(file))
    file.write_bytes(b'\xef\xbb\xbf[domains."domain.com"]\nprefix = "other"\n')
    assert 'line 1: [domains."domain.com"]: is there' in host.refused("apply", str(file))


def test_a_prefix_that_is_changed_is_told_with_its_line(howto: Host, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('\n[domains."domain.com"]\nprefix = "other"\n[domains."x.com".mailboxes.ann]\n')
    said = howto.refused("apply", str(file)).splitlines()
    assert said[0].startswith(f'mailhost: {file}: line 2: [domains."domain.com"]: is there with prefix')
    assert said[1].startswith(f'{file}: line 4: [domains."x.com".mailboxes.ann]: is new')
