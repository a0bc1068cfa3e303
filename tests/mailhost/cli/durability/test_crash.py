"""kill -9 at every write: the next writer finds the old state or makes the new, and no mail bounces in between.

See `crash.py`; `test_crash_again.py` has the changes that are tried by the same command again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mailhost.cli.durability.crash import copied, survey
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts.change import journal
from mailhost.poppasswd.file import find

DECLARED = """
[domains."domain.com".mailboxes.joe]
login = "testid"
crypt = "DmIMm9e5Hc8ic"
extensions = true
[domains."domain.com".mailboxes.ann]
login = "ann"
crypt = "DmIMm9e5Hc8ic"
[domains."new.example"]
catchall = "box"
[domains."new.example".mailboxes.box]
login = "box"
crypt = "DmIMm9e5Hc8ic"
"""

FORWARD = """
[domains."domain.com".mailboxes.joe]
[domains."domain.com".forwards]
old = ["x@elsewhere.example"]
[domains."other.example".mailboxes.x]
login = "x"
"""

CHANGES = {
    "add a domain": ["domain", "add", "new.example"],
    "add a mailbox": ["mailbox", "add", "new@domain.com", "--login", "new", "--crypt", HOWTO_CRYPT],
    "delete a mailbox": ["mailbox", "del", "old@domain.com"],
    "bring a mailbox back": ["mailbox", "add", "gone@domain.com", "--login", "gone", "--crypt", HOWTO_CRYPT],
    "purge a mailbox": ["mailbox", "del", "old@domain.com", "--purge"],
    "delete a domain": ["domain", "del", "other.example"],
    "rename a mailbox": ["mailbox", "rename", "old@domain.com", "young"],
    "change a password": ["mailbox", "passwd", "joe@domain.com", "--crypt", "$6$salt$" + "x" * 86],
    "move the catchall": ["catchall", "set", "domain.com", "old@domain.com"],
    "drop extensions": ["mailbox", "set", "joe@domain.com", "--no-extensions"],
    "forward a mailbox": ["forward", "add", "old@domain.com", "x@elsewhere.example"],
    "add another name": ["domain", "alias", "new.example", "domain.com"],
    "apply a file": ["apply", "FILE", "--yes"],
    "take an alias away": ["alias", "del", "who@domain.com"],
    "name the postmaster": ["alias", "system", "all", "joe@domain.com"],
    "take the catchall away": ["catchall", "unset", "domain.com"],
    "take a forward away": ["forward", "del", "away@domain.com"],
    "deliver into an mbox": ["mailbox", "set", "old@domain.com", "--mbox"],
    "lock a login": ["mailbox", "disable", "old@domain.com"],
    "rehash a login": ["mailbox", "rehash", "testid", "--password-file", "PASSWORD"],
    "turn a mailbox into a forward": ["apply", "FORWARD", "--yes"],
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host with something to lose."""
    host = Host(tmp_path_factory.mktemp("start") / "qmail")
    host.ok("init", "--me", "mail.example.net")
    for domain in ("domain.com", "other.example"):
        host.ok("domain", "add", domain)
    for address, login in (("joe@domain.com", "testid"), ("old@domain.com", "old"), ("any@domain.com", "any")):
        host.ok("mailbox", "add", address, "--login", login, "--crypt", HOWTO_CRYPT)
    host.ok("mailbox", "set", "joe@domain.com", "--extensions")
    host.ok("mailbox", "add", "x@other.example", "--login", "x", "--crypt", HOWTO_CRYPT)
    host.ok("catchall", "set", "domain.com", "any@domain.com")
    host.ok("alias", "add", "who@domain.com", "joe@domain.com")
    host.ok("forward", "add", "away@domain.com", "x@elsewhere.example")
    host.ok("mailbox", "add", "gone@domain.com", "--login", "gone", "--crypt", HOWTO_CRYPT)
    (host.home / "popboxes/domain-com/gone/Maildir/new/1").write_text("kept in popboxes/.removed")
    host.ok("mailbox", "del", "gone@domain.com")
    return host.home


LOCALS = ("joe", "joe-x", "who", "old", "ann", "new", "any", "gone")
TRACKED = [*(f"{local}@domain.com" for local in LOCALS), "x@other.example", "any@new.example"]


def run(start: Path, place: Path, name: str, *, full: bool = False) -> int:
    """Survey one of the changes."""
    texts = {"FILE": DECLARED, "FORWARD": FORWARD, "PASSWORD": "testpw\n"}
    for file, text in texts.items():
        (place / file).write_text(text)
    words = [str(place / word) if word in texts else word for word in CHANGES[name]]
    host = copied(start, place / "qmail")
    return survey(host, words, TRACKED, full=full, watch=lambda: find_row(host))


def find_row(host: Host) -> None:
    assert find(host.home / "users/poppasswd", b"testid") is not None


@pytest.mark.slow
@pytest.mark.timeout(600)  # a start for each write: the largest change has over a hundred
@pytest.mark.parametrize("name", list(CHANGES))
def test_killed_at_every_write(start: Path, tmp_path: Path, name: str) -> None:
    assert run(start, tmp_path, name) > 5, "the child must have been killed at its writes"


@pytest.mark.slow
def test_without_room_from_each_write_on(start: Path, tmp_path: Path) -> None:
    assert run(start, tmp_path, "add a mailbox", full=True) > 5, "the disk must have been full at its writes"


def test_the_survey_sees_a_wrong_order(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = journal.replay
    first = "control/rcpthosts"
    monkeypatch.setattr(journal, "replay", lambda steps, h: replay(sorted(steps, key=lambda s: s.path != first), h))
    with pytest.raises(AssertionError, match="would be sent elsewhere and bounce"):
        run(start, tmp_path, "add a domain")
