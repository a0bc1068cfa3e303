"""Every verb, as root, on a host whose boxes hold a hostile twin of each file and directory that the verbs touch.

popuser, who owns the boxes, can put a link, a FIFO, or where fs.protected_hardlinks is 0 a second name of root's file
in the place of any name there. Afterwards what lies outside is as it was, no verb hangs, and a refusal names the path.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from click.testing import CliRunner, Result
from tests.mailhost.cli.support import HOWTO_CRYPT, Host
from tests.mailhost.pop3.support import new_home, remove

pytestmark = pytest.mark.needs("root")
POPUSER, STRANGER = 888, 4242
VERB_S = 60
BOX = "popboxes/domain-com/joe"

TOML = f"""[domains."domain.com"]
catchall = "ann"
[domains."domain.com".mailboxes.joe]
login = "testid"
crypt = "{HOWTO_CRYPT}"
extensions = true
[domains."domain.com".mailboxes.ann]
login = "annid"
crypt = "{HOWTO_CRYPT}"
[domains."domain.com".forwards]
joe = ["x@elsewhere.example"]
[system]
root = ["joe@domain.com"]
"""
CSV = f"address,login,crypt\njoe@domain.com,testid,{HOWTO_CRYPT}\nnew@domain.com,newid,{HOWTO_CRYPT}\n"

VERBS = [
    "mailbox list", "mailbox show joe@domain.com", "domain list", "domain show domain.com", "forward list", "export",
    "explain joe@domain.com", "explain joe-x@domain.com", "explain root@mail.example.net", "lint", "lint --fix",
    "mailbox measure", "rebuild", "newu", "mailbox disable joe@domain.com", "mailbox enable joe@domain.com",
    "forward add joe@domain.com y@elsewhere.example", "forward del joe@domain.com y@elsewhere.example",
    "catchall set domain.com joe@domain.com", "catchall set domain.com ann@domain.com",
    "mailbox set joe@domain.com --extensions", "alias add info@domain.com joe@domain.com",
    "alias system root ann@domain.com", "plan FILE.toml", "apply --yes FILE.toml", "mailbox import FILE.csv",
    "mailbox rename joe@domain.com jim@domain.com", "mailbox rename jim@domain.com joe@domain.com",
    "mailbox del joe@domain.com", "mailbox add joe@domain.com --login testid --crypt HASH",
    "mailbox del joe@domain.com", "removed list", "removed restore joe@domain.com", "removed purge joe@domain.com",
    "mailbox add joe@domain.com --login testid --crypt HASH", "mailbox del joe@domain.com --purge",
    "domain del domain.com --purge",
]  # fmt: skip

PLACES = {
    ".qmail": f"{BOX}/.qmail",
    ".qmail-default": f"{BOX}/.qmail-default",
    ".qmail.mailhost-new": f"{BOX}/.mailhost-new",
    "Maildir": f"{BOX}/Maildir",
    "tmp": f"{BOX}/Maildir/tmp",
    "new": f"{BOX}/Maildir/new",
    "cur": f"{BOX}/Maildir/cur",
    "a message": f"{BOX}/Maildir/new/1.x.host",
    "alias": "alias/.qmail-root",
    "alias staged": "alias/..qmail-root.mailhost-new",
    "the box": BOX,
    "the box staged": "popboxes/domain-com/.joe.mailhost-new",
    "the prefix": "popboxes/domain-com",
    "removed": "popboxes/.removed",
    "records": "popboxes/.removed/.records",
}


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / ("secret" if path.name.startswith(".qmail") or "host" in path.name else ""))


def mode_of_all(path: Path, _outside: Path) -> None:
    """What was there, owned by another user and open to all."""
    if not path.exists():
        path.mkdir()
    os.chown(path, STRANGER, STRANGER)
    path.chmod(0o777)


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link": link,
    "link to nothing": lambda path, _outside: path.symlink_to("/nonexistent/x"),
    "hard link": lambda path, outside: path.hardlink_to(outside / "secret"),
    "FIFO": lambda path, _outside: os.mkfifo(path),
    "device": lambda path, _outside: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "file": lambda path, _outside: path.write_text("&a@b.example\n"),
    "directory": lambda path, _outside: (path / "new/x").mkdir(parents=True),
    "somebody else's": mode_of_all,
}


@contextmanager
def quick(verb: str) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"`{verb}` hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(VERB_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def seen(top: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Names, modes, owners and octets."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        octets = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, octets)
    return found


def in_a_process(host: Host, *words: str) -> Result:
    """`mailbox measure` gives root up for good: in a fork, which has all modules already."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            done = host.run(*words)
            os.write(theirs, done.stderr.encode())
            code = done.exit_code
        finally:
            os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return Result(CliRunner(), b"", said, said, None, os.waitstatus_to_exitcode(status), None)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that popuser can search."""
    found = new_home()
    found.chmod(0o755)
    yield found
    remove(found)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """joe with extensions, ann with the catchall, the trio; popboxes is popuser's, as after the HOWTO's chown -R."""
    host = Host(tmp_path_factory.mktemp("template") / "qmail")
    host.ok("init", "--me", "mail.example.net")
    (host.home.parent / "accounts.toml").write_text(TOML)
    host.ok("apply", "--yes", str(host.home.parent / "accounts.toml"))
    (host.home / BOX / "Maildir/new/1.x.host").write_text("Subject: x\n\nx\n")
    for top in ("popboxes", "alias"):
        for path in [host.home / top, *(host.home / top).rglob("*")]:
            os.lchown(path, POPUSER, POPUSER)
    return host.home


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_no_verb_leaves_the_boxes(template: Path, reachable: Path, place: str, kind: str) -> None:
    host = Host(reachable / "qmail")
    shutil.copytree(template, host.home, symlinks=True, copy_function=shutil.copy2)
    for path in host.home.rglob("*"):
        source = template / path.relative_to(host.home)
        os.lchown(path, source.lstat().st_uid, source.lstat().st_gid)
    for part in ("users/assign", "users/poppasswd", "users/domains/domain.com"):
        text = (host.home / part).read_text()
        (host.home / part).write_text(text.replace(str(template), str(host.home)))
    host.ok("newu")
    outside = reachable / "outside"
    for folder in ("tmp", "new", "cur", "Maildir/new", "joe/Maildir/new", "domain-com"):
        (outside / folder).mkdir(parents=True)
    (outside / "secret").write_text("&secret@of.root.example\n")
    (outside / "secret").chmod(0o640)
    files = {".toml": TOML, ".csv": CSV}
    for suffix, text in files.items():
        (reachable / f"accounts{suffix}").write_text(text)
    before = seen(outside)
    here = host.home / PLACES[place]
    for verb in VERBS:
        planted(here, KINDS[kind], outside, host.home)
        words = [
            word.replace("FILE", str(reachable / "accounts")).replace("HASH", HOWTO_CRYPT) for word in verb.split()
        ]
        with quick(verb):
            done = in_a_process(host, *words) if verb == "mailbox measure" else host.run(*words)
        assert seen(outside) == before, verb
        assert done.exit_code in (0, 1, 2, 111), f"{verb}: {done.output}"
        if done.exit_code == 111 and kind not in ("somebody else's", "directory"):
            assert here.name in done.stderr or "is missing" in done.stderr, f"{verb}: {done.stderr}"


def planted(here: Path, plant: Callable[[Path, Path], object], outside: Path, home: Path) -> None:
    """Put the twin there again, where a verb has replaced it and its directory still is what it was."""
    if any(parent.is_symlink() or not parent.is_dir() for parent in here.parents if parent.is_relative_to(home)):
        return
    if plant is not mode_of_all:
        if here.is_dir() and not here.is_symlink():
            shutil.rmtree(here)
        elif os.path.lexists(here):
            here.unlink()
    plant(here, outside)
