"""kill -9 at every write of what an operator runs again: the same command completes, and no mail bounces in between."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mailhost.cli.durability.crash import copied, copy, killed, survey
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts import lint as rules
from mailhost.accounts.change import hup, journal
from mailhost.accounts.layout import layout
from mailhost.poppasswd import crypt as hashing

pytestmark = pytest.mark.slow
ROWS = "address,crypt\nann@domain.com,DmIMm9e5Hc8ic\nbob@new.example,DmIMm9e5Hc8ic\n"
BARE = "address,login,password\nann@domain.com,,\nbob@new.example,bob,\neve@domain.com,,her own\n"
DECLARED = '[domains."domain.com".mailboxes]\nann = {login = "ann"}\nbob = {login = "bob"}\n'
TRACKED = ["joe@domain.com", "info@domain.com", "ann@domain.com", "bob@new.example", "x@other.example"]


@pytest.fixture(autouse=True)
def _closed_umask() -> Iterator[None]:
    """The one that shows where a mode is left to chance."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path) -> Host:
    """The HOWTO's host, and another domain."""
    host = Host(tmp_path / "start" / "qmail")
    host.ok("init", "--me", "mail.example.net")
    for address, login in (("joe@domain.com", "testid"), ("x@other.example", "x")):
        host.ok("domain", "add", address.partition("@")[2])
        host.ok("mailbox", "add", address, "--login", login, "--crypt", HOWTO_CRYPT)
    return copied(host.home, tmp_path / "qmail")


def test_alias_add(home: Host) -> None:
    assert survey(home, ["alias", "add", "info@domain.com", "joe@domain.com"], TRACKED, again=True) > 5


def test_import(home: Host, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(ROWS)
    assert survey(home, ["mailbox", "import", str(tmp_path / "in.csv"), "--add-domains"], TRACKED, again=True) > 5


@pytest.mark.parametrize("verb", ["import", "apply"])
def test_made_up_passwords_are_known_to_somebody(home: Host, tmp_path: Path, verb: str) -> None:
    file, out = tmp_path / "in", home.home / "out.csv"
    words = ["apply", str(file), "--no-delete"]
    if verb == "import":
        words = ["mailbox", "import", str(file), "--add-domains"]
    file.write_text(BARE if verb == "import" else DECLARED)

    def watch() -> None:
        written = {row.split(",")[0].partition("@")[0]: row.split(",")[-1] for row in lines(out)}
        for row in lines(home.home / "users/poppasswd"):
            _, crypt, _, box = row.split(":")
            name = box.rpartition("/")[2]
            if name in ("ann", "bob"):
                assert hashing.verify(written[name].encode(), crypt.encode()), f"nobody knows the password of {name}"

    assert survey(home, [*words, "--generate", str(out)], TRACKED, again=True, watch=watch) > 5


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def broken(host: Host) -> None:
    """Wrong in every way that --fix mends in place, in the tables and in control/."""
    box, part = host.home / "popboxes/domain-com/joe", host.home / "users/domains/other.example"
    (box / "Maildir/tmp").rmdir()
    (box / ".qmail").chmod(0o620)
    (host.home / "users/poppasswd").chmod(0o644)
    part.write_text(part.read_text() + part.read_text().replace("example-x:", "example-y:").rstrip("\n"))
    (host.home / "control/rcpthosts").write_text("domain.com\n")
    (host.home / "control/locals").write_text("mail.example.net\ndomain.com\n")


def repair(host: Host, monkeypatch: pytest.MonkeyPatch) -> int:
    """Break the host and survey its repair."""
    told, journal_ = host.home / "queue/told", host.home / "users/.mailhost/journal"

    def watch() -> None:
        if "domain.com" not in host.text("control/locals") and not journal_.exists():
            assert told.read_text() == host.text("control/locals"), "the sender does not know"

    monkeypatch.setattr(hup, "hup", lambda home: told.write_text(host.text("control/locals")) and None)
    broken(host)
    return survey(host, ["lint", "--fix"], ["x@other.example", "y@other.example"], again=True, watch=watch)


def test_lint_fix(home: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repair(home, monkeypatch) > 20


def test_lint_fix_in_a_wrong_order_is_seen(home: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    replay, first = journal.replay, "control/rcpthosts"
    monkeypatch.setattr(journal, "replay", lambda steps, h: replay(sorted(steps, key=lambda s: s.path != first), h))
    with pytest.raises(AssertionError, match=r"other\.example would bounce"):
        repair(home, monkeypatch)


def test_lint_fix_does_not_bring_back_what_an_interrupted_change_took_away(home: Host, tmp_path: Path) -> None:
    """rcpthosts is without the domain, virtualdomains has it still: that looks like a domain that is refused."""
    kept, words = tmp_path / "kept", ["domain", "del", "other.example"]
    copy(home.home, kept)
    deaths = 0
    for writes in itertools.count():
        shutil.rmtree(home.home)
        copy(kept, home.home)
        if not killed(home, writes, words):
            break
        found = [finding.rule for finding in rules.lint(layout(home.home))]
        if "unfinished-change" in found and "domain-refused" in found:
            deaths += 1
            home.run("lint", "--fix")
            assert "other.example" not in home.text("control/rcpthosts") + home.text("control/virtualdomains")
    assert deaths, "no death fell between the two files"


@pytest.mark.parametrize("there", [(), ("control", "users", "popboxes")])
def test_init(tmp_path: Path, there: tuple[str, ...]) -> None:
    host = Host(tmp_path / "qmail")
    for name in there:
        (host.home / name).mkdir(parents=True)
        (host.home / name).chmod(0o755)

    def watch() -> None:
        made = [path.name for path in (host.home / "control").glob("[!.]*")]
        assert "me" not in made or "rcpthosts" in made, "an open relay, should qmail start now"

    assert survey(host, ["init", "--me", "mail.example.net", "--logins", "pop1"], again=True, watch=watch) > 20
    host.ok("domain", "add", "domain.com")
