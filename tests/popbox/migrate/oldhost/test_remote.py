"""An old host behind ssh or in a container: what is read, what is asked for, and that it is the same as from a copy."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.needs import require
from tests.popbox.migrate.faults import FAULTS, JOE, append, edit, fifo, link
from tests.popbox.migrate.oldhosts import HOSTS, audited, message, tree_of

from popbox.cli.migrate import migrate
from popbox.errors import HostError
from popbox.migrate.audit.audit import Audit, audit
from popbox.migrate.oldhost import command_output
from popbox.migrate.oldhost.source import open_source
from popbox.migrate.oldhost.stores import contents
from popbox.migrate.oldhost.tree import FileRequest, OldHostError, OldHostTree
from popbox.settings import Settings

SSH = """\
#!/bin/sh
# stands for ssh: the same options, one string for the other side's shell
echo "$@" >> "{log}"
while [ "$1" != -- ]; do shift; done
shift; [ "$1" = old.example.net ] || {{ echo "ssh: no such host" >&2; exit 255; }}
shift; exec sh -c "$*"
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named ssh that runs its command here; returns what it was asked, a line a call."""
    log, ssh = tmp_path / "asked", tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(log=log))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    return log


def by_ssh(root: Path, dialect: str | None = None) -> Audit:
    """Audit by way of ssh."""
    return audit(open_source(f"ssh:old.example.net:{root}", environ=os.environ), dialect, b"/var/qmail")


@pytest.mark.parametrize("dialect", HOSTS)
def test_ssh_finds_what_a_copy_gives(dialect: str, tmp_path: Path, asked: Path) -> None:
    root = HOSTS[dialect](tmp_path / "old host's $(root)")
    before = tree_of(root)
    far, near = by_ssh(root), audited(root)
    assert [one.rule for one in far.findings] == ["uidl-mbox"] * (dialect == "system")
    assert far.accounts == near.accounts
    assert [held.octets for held in far.held] == [held.octets for held in near.held]
    assert tree_of(root) == before
    assert len(asked.read_text().splitlines()) < 40, "not one call a file"
    assert all("BatchMode=yes" in line for line in asked.read_text().splitlines())


@pytest.mark.parametrize(
    "breaking",
    [FAULTS[name][1] for name in ("uidl-twice", "assign-format", "message-not-regular", "message-not-regular 2")]
    + [
        link(f"{JOE}/Maildir", "/etc"),
        link("var/qmail/users/poppasswd", "/etc/shadow"),
        fifo("var/qmail/control/rcpthosts"),
        edit("var/qmail/users/assign", "/domain-com/ann:", "/domain-com/a\xff '\\;:"),
        link(JOE, "joe"),
    ],
)
def test_ssh_finds_the_same_faults(breaking: Callable[[Path], None], tmp_path: Path, asked: Path) -> None:
    root = HOSTS["howto"](tmp_path / "old")
    breaking(root)
    far, near = by_ssh(root, "howto").findings, audited(root, "howto").findings
    assert [(f.rule, f.where) for f in far] == [(f.rule, f.where) for f in near]
    assert far


def test_an_import_by_ssh_is_the_import_of_a_copy(tmp_path: Path, asked: Path) -> None:
    root = HOSTS["howto"](tmp_path / "old", 30)
    message(root / JOE / "Maildir", os.fsdecode(b"1.\xff odd \n name" + b"x" * 120), 900)
    os.link(next((root / JOE / "Maildir/new").iterdir()), root / JOE / "Maildir/new/2.hard.link")
    for to, source in (("near", str(root)), ("far", f"ssh:old.example.net:{root}")):
        argv = ["import", source, "--to", str(tmp_path / to)]
        result = CliRunner().invoke(migrate, argv, standalone_mode=False, obj=Settings.from_environment(os.environ))
        assert result.return_value == 0, (result.output, result.exception)
    assert tree_of(tmp_path / "far/popboxes") == tree_of(tmp_path / "near/popboxes")
    assert len(tree_of(tmp_path / "far/popboxes")) == 62
    assert (tmp_path / "far/accounts.toml").read_text() == (tmp_path / "near/accounts.toml").read_text()


def test_files_that_vanish_on_the_way_are_told_and_the_others_come(tmp_path: Path, asked: Path) -> None:
    root = HOSTS["howto"](tmp_path / "old", 6)
    tree = open_source(f"ssh:old.example.net:{root}", environ=os.environ)
    there = audit(tree, None, b"/var/qmail")
    wanted = [
        FileRequest(m.path, m.entry) for m in contents(tree, there.host, there.held[0].box.store, 1 << 62).messages
    ]
    for gone in (wanted[1], wanted[-1]):
        (root / os.fsdecode(gone.path).lstrip("/")).unlink()
    came = [(one, body if isinstance(body, OldHostError) else b"".join(body)) for one, body in tree.bodies(wanted)]
    assert [one for one, _ in came] == wanted
    assert [str(text) for _, text in came if isinstance(text, OldHostError)] == ["has vanished"] * 2


def drained(tree: OldHostTree, wanted: list[FileRequest]) -> None:
    """Read them all, and see that none is said to be missing."""
    for one, body in tree.bodies(wanted):
        assert not isinstance(body, OldHostError), f"{one.path!r}: {body}"
        b"".join(body)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_an_archive_that_is_cut_off_is_no_smaller_archive(tmp_path: Path, asked: Path, code: int) -> None:
    """Cut at any record, behind a file too, and whatever the way's exit code: no file counts as vanished for it."""
    root = HOSTS["howto"](tmp_path / "old", 3)
    tree = open_source(f"ssh:old.example.net:{root}", environ=os.environ)
    paths = [f"/{path.relative_to(root)}".encode() for path in sorted((root / JOE / "Maildir/new").iterdir())]
    wanted = [FileRequest(path, entry) for path in paths if (entry := tree.lstat(path))]
    ssh = tmp_path / "bin/ssh"
    whole = SSH.format(log=asked)
    for records in range(1, 2 * len(wanted) + 1):
        cut = whole.replace('exec sh -c "$*"', f'sh -c "$*" | head -c {512 * records}; exit {code}')
        ssh.write_text(cut)
        with pytest.raises(HostError, match=r"cut off|no archive"):
            drained(tree, wanted)


@pytest.mark.parametrize("code", [0, 1])
def test_a_list_that_is_cut_off_is_no_shorter_list(tmp_path: Path, asked: Path, code: int) -> None:
    """Anywhere, between two names too: a message that is not listed would count as deleted in the final pass."""
    root = HOSTS["howto"](tmp_path / "old", 3)
    folder = f"/{JOE}/Maildir/new".encode()
    source = f"ssh:old.example.net:{root}"
    size = sum(len(f"{root}{path}") + 60 for path in (root / JOE / "Maildir/new").iterdir())
    for octets in range(0, size, 23):
        tree = open_source(source, "/", os.environ)
        tree.prepare([folder.rpartition(b"/")[0]], deep=False)  # so that the list of the folder is the next answer
        whole = (tmp_path / "bin/ssh").read_text()
        cut = f'sh -c "$*" > "{tmp_path}/said"; head -c {octets} "{tmp_path}/said"; exit {code}'
        (tmp_path / "bin/ssh").write_text(whole.replace('exec sh -c "$*"', cut))
        with pytest.raises(HostError, match=r"find's answer is cut off"):
            tree.scan(folder)
        (tmp_path / "bin/ssh").write_text(whole)


def test_hosts_that_cannot_be_reached_end_with_3_and_silence_ends(
    tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError, match="255"):
        open_source("ssh:other.example.net:/", environ=os.environ)
    with pytest.raises(HostError, match="no such directory"):
        open_source(f"ssh:old.example.net:{tmp_path}/nowhere", environ=os.environ)
    for odd in ("ssh:old.example.net", "ssh:-oProxyCommand=x:/", "ssh::/x", "container:x:relative"):
        with pytest.raises(OldHostError):
            open_source(odd, environ=os.environ)
    monkeypatch.setattr(command_output, "SILENCE_S", 0.2)
    (tmp_path / "bin/ssh").write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(HostError, match="nothing came for"):
        open_source("ssh:old.example.net:/", environ=os.environ)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A container with an old host at its root."""
    require("base image")
    root, name = HOSTS["vpopmail"](tmp_path / "old", 5), f"popbox-migrate-{uuid.uuid4().hex[:8]}"
    argv = ["docker", "run", "-d", "--rm", "--network", "none", "--name", name, "-l", "popbox.test=migrate"]
    subprocess.run([*argv, "debian:bookworm-slim", "sleep", "300"], check=True, capture_output=True)
    try:
        subprocess.run(["docker", "cp", "-q", f"{root}/.", f"{name}:/"], check=True, capture_output=True)
        yield name, root
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


@pytest.mark.docker
def test_a_container(container: tuple[str, Path], tmp_path: Path) -> None:
    name, root = container
    append("home/vpopmail/domains/v.example/vpasswd", "broken\n")(root)
    vpasswd = "home/vpopmail/domains/v.example/vpasswd"
    subprocess.run(["docker", "cp", "-q", f"{root}/{vpasswd}", f"{name}:/{vpasswd}"], check=True)
    found = audit(open_source(f"container:{name}:/", environ=os.environ), None, b"/var/qmail")
    assert found.host.dialect == "vpopmail"
    assert [str(f.where) for f in found.findings if f.rule != "cdb-old"] == [f"/{vpasswd}:3"]
    argv = ["import", f"container:{name}:/", "--to", str(tmp_path / "new")]
    result = CliRunner().invoke(migrate, argv, standalone_mode=False, obj=Settings.from_environment(os.environ))
    assert result.return_value == 0, (result.output, result.exception)
    near = {path.name: path.read_bytes() for path in root.rglob("Maildir/*/*")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "new/popboxes").rglob("Maildir/*/*")} == near
