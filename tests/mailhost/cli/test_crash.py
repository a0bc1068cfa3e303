"""kill -9 at every write: the next writer finds the old state or makes the new, and no accepted mail bounces meanwhile.

The change runs in a child that kills itself just before the Nth thing it does to the disk (audit events of the
interpreter); N goes up until a run survives. After each death the host is looked at as qmail sees it, then mended.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts import journal
from mailhost.accounts.poppasswd import find
from mailhost.cli import main
from mailhost.qmail.assign import lookup
from mailhost.qmail.cdb import Cdb
from mailhost.qmail.control import accepts, load
from mailhost.qmail.dotqmail import Found
from mailhost.qmail.dotqmail import find as find_qmail
from mailhost.qmail.rewrite import Local, rewrite

EVENTS = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "shutil.rmtree"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_before(writes: int) -> None:
    """From now on this process kills itself before its write number ``writes``."""
    left = writes

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        opens = event == "open" and isinstance(args[2], int) and bool(args[2] & WRITING) and args[0] != os.devnull
        if event in EVENTS or opens:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


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
    "purge a mailbox": ["mailbox", "del", "old@domain.com", "--purge"],
    "delete a domain": ["domain", "del", "other.example"],
    "rename a mailbox": ["mailbox", "rename", "old@domain.com", "young"],
    "change a password": ["mailbox", "passwd", "joe@domain.com", "--crypt", "$6$salt$" + "x" * 86],
    "move the catchall": ["catchall", "set", "domain.com", "old@domain.com"],
    "drop extensions": ["mailbox", "set", "joe@domain.com", "--no-extensions"],
    "forward a mailbox": ["forward", "add", "old@domain.com", "x@elsewhere.example"],
    "add another name": ["domain", "alias", "new.example", "domain.com"],
    "apply a file": ["apply", "FILE", "--yes"],
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
    return host.home


def killed(host: Host, writes: int, words: list[str]) -> bool:
    """Make the change in a child that dies before its write number ``writes``; False when it lived to its end."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        die_before(writes)
        code = 1
        with contextlib.suppress(SystemExit):
            main(["--home", str(host.home), *words], standalone_mode=False)
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def deliverable(host: Host, address: str) -> bool:
    """As qmail sees it now: accepted, virtual, and led to a box whose .qmail counts, or to a directory that is missing
    (put off).
    """
    controls = load(host.home)
    if not accepts(controls, address.encode()).accepted:
        return False
    routed = rewrite(controls, address.encode())
    assert isinstance(routed, Local), f"{address} is accepted, but would be sent elsewhere and bounce"
    found = lookup(Cdb(host.home / "users/cdb"), routed.address.rpartition(b"@")[0])
    if found is None:
        return False
    box = Path(found.home.decode())
    if not box.exists():
        return True
    instructions = find_qmail(found.home, found.dash, found.ext)
    if (box / ".qmail").exists() and "./Maildir/" in (box / ".qmail").read_text():
        assert (box / "Maildir/new").is_dir(), "led to a half-made box"
    return isinstance(instructions, Found) and bool(instructions.text)


LOCALS = ("joe", "joe-x", "who", "old", "ann", "new", "any")
TRACKED = [*(f"{local}@domain.com" for local in LOCALS), "x@other.example", "any@new.example"]


def survey(start: Path, place: Path, name: str) -> int:
    """Kill the change at each of its writes; how many those are. AssertionError where mail or state is lost."""
    file = place / "accounts.toml"
    file.write_text(DECLARED)
    (place / "forward.toml").write_text(FORWARD)
    files = {"FILE": file, "FORWARD": place / "forward.toml"}
    words = [str(files.get(word, word)) for word in CHANGES[name]]
    host, kept = Host(place / "qmail"), place / "kept"
    shutil.copytree(start, host.home)
    for path in [host.home / "users/poppasswd", *(host.home / "users/domains").iterdir()]:
        path.write_text(path.read_text().replace(str(start), str(host.home)))
    host.ok("rebuild", "--force")
    shutil.copytree(host.home, kept)
    old, had = comparable(host), {address: deliverable(host, address) for address in TRACKED}
    assert not killed(host, 10_000, words), "untouched, the change is made"
    new, has = comparable(host), {address: deliverable(host, address) for address in TRACKED}
    for writes in itertools.count():
        shutil.rmtree(host.home)
        shutil.copytree(kept, host.home)
        if not killed(host, writes, words):
            return writes
        for address in TRACKED:
            served = deliverable(host, address)
            assert served or not (had[address] and has[address]), f"{address} is lost after {writes} writes"
        assert find(host.home / "users/poppasswd", b"testid") is not None
        host.ok("rebuild")  # any next writer
        assert comparable(host) in (old, new), f"neither the old state nor the new after {writes} writes"
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CHANGES))
def test_killed_at_every_write(start: Path, tmp_path: Path, name: str) -> None:
    assert survey(start, tmp_path, name) > 5, "the child must have been killed at its writes"


def test_the_survey_sees_a_wrong_order(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = journal.replay
    first = "control/rcpthosts"
    monkeypatch.setattr(journal, "replay", lambda steps, h: replay(sorted(steps, key=lambda s: s.path != first), h))
    with pytest.raises(AssertionError, match="would be sent elsewhere and bounce"):
        survey(start, tmp_path, "add a domain")


def comparable(host: Host) -> dict[str, tuple[int, int, bytes]]:
    """The tree without inode numbers and times of day."""
    tree: dict[str, tuple[int, int, bytes]] = {}
    for name, found in host.tree().items():
        parts = [part.split(".2")[0] for part in name.split("/")]
        tree["/".join(parts) if ".removed" in name else name] = found
    return tree
