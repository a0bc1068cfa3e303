"""An old host behind a real sshd on loopback: the same content, cut connections, host keys."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.oldhost.sshd import Cable, OldHost, running
from tests.popbox.migrate.oldhosts import HOSTS, audited, message, tree_of

from popbox.cli.migrate import migrate
from popbox.errors import HostError
from popbox.migrate.audit.audit import audit
from popbox.migrate.oldhost.source import open_source
from popbox.settings import Settings

JOE = "var/qmail/popboxes/domain-com/joe"
MESSAGES, OCTETS = 24, 20_000
pytestmark = [pytest.mark.needs("sshd", "ssh", "ssh-keygen"), pytest.mark.slow]


@pytest.fixture(scope="module")
def sshd() -> Iterator[OldHost]:
    with tempfile.TemporaryDirectory(prefix="popbox-sshd-") as place, running(Path(place)) as host:
        yield host


@pytest.fixture
def old(sshd: OldHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OldHost:
    """With its key known, and an ssh on PATH that goes there."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(sshd.command())
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    sshd.known("host")
    sshd.dial(sshd.port)
    return sshd


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A HOWTO host whose messages take more than one packet, with names that a shell could read its own way."""
    top = HOSTS["howto"](tmp_path / "old host's $(root)", MESSAGES)
    message(top / JOE / "Maildir", os.fsdecode(b"1.\xff odd \n $(name)"), 900)
    for path in (top / JOE / "Maildir/new").iterdir():
        status = path.stat()
        path.write_bytes(path.read_bytes() + os.urandom(OCTETS // 2).hex().encode() + b"\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return top


def imported(source: str, to: Path) -> tuple[int, str]:
    """Exit code and output of ``popbox migrate import``."""
    result = CliRunner().invoke(
        migrate, ["import", source, "--to", str(to)], standalone_mode=False, obj=Settings.from_environment(os.environ)
    )
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.output


@pytest.mark.parametrize("dialect", HOSTS)
def test_audit_finds_what_a_copy_gives(dialect: str, tmp_path: Path, old: OldHost) -> None:
    top = HOSTS[dialect](tmp_path / "it's the old one")
    before = tree_of(top)
    far = audit(open_source(f"ssh:old.example.net:{top}", environ=os.environ), None, b"/var/qmail")
    near = audited(top)
    assert (far.findings, far.accounts) == (near.findings, near.accounts)
    assert [held.octets for held in far.held] == [held.octets for held in near.held]
    assert tree_of(top) == before


def test_import_brings_the_same_content(root: Path, tmp_path: Path, old: OldHost) -> None:
    assert imported(str(root), tmp_path / "near")[0] == 0
    assert imported(f"ssh:old.example.net:{root}", tmp_path / "far")[0] == 0
    assert tree_of(tmp_path / "far/popboxes") == tree_of(tmp_path / "near/popboxes")
    assert (tmp_path / "far/accounts.toml").read_text() == (tmp_path / "near/accounts.toml").read_text()
    assert len(list((tmp_path / "far/popboxes").rglob("Maildir/new/*"))) > MESSAGES


@pytest.mark.parametrize("after", [1_000, 10_000, 200_000, 350_000])
def test_a_cut_connection_is_told_and_the_next_run_completes(
    root: Path, tmp_path: Path, old: OldHost, after: int
) -> None:
    """Cut in the key exchange, in find's answer, and in the midst of messages."""
    assert imported(str(root), tmp_path / "near")[0] == 0
    whole, source = tree_of(tmp_path / "near/popboxes"), f"ssh:old.example.net:{root}"
    cable = Cable(old.port, after)
    old.dial(cable.port)
    try:
        with pytest.raises(HostError) as told:
            imported(source, tmp_path / "far")
    finally:
        cable.close()
    assert cable.cut.is_set()
    # OpenSSH ends with 0 where the program's own exit code had come before the cut
    assert re.search(r"ssh:old\.example\.net:.*: ((find|tar) ended with 255|.* is cut off.*)\n", str(told.value))
    assert re.search(r"[Cc]onnection .*closed|Broken pipe|kex_exchange", str(told.value)), "ssh's own words"
    accounts = tmp_path / "far/accounts.toml"
    assert not accounts.exists() or accounts.read_text() == (tmp_path / "near/accounts.toml").read_text()
    come = {path.name: path.read_bytes() for path in (tmp_path / "far").rglob("Maildir/new/*")}
    there = {path.name: path.read_bytes() for path in (tmp_path / "near").rglob("Maildir/new/*")}
    assert come.items() <= there.items(), "half a message was believed"
    assert len(come) < len(there)
    old.dial(old.port)
    assert imported(source, tmp_path / "far")[0] == 0
    assert tree_of(tmp_path / "far/popboxes") == whole


@pytest.mark.parametrize("known", [None, "other"])
def test_a_host_that_shows_another_key_is_not_spoken_to(
    root: Path, tmp_path: Path, old: OldHost, known: str | None
) -> None:
    old.known(known)
    with pytest.raises(HostError) as told:
        imported(f"ssh:old.example.net:{root}", tmp_path / "far")
    assert "Host key verification failed" in str(told.value)
    assert not (tmp_path / "far/accounts.toml").exists()
    assert not list(tmp_path.glob("far/**/Maildir"))


def test_a_host_that_does_not_know_our_key_says_so(root: Path, old: OldHost) -> None:
    config = old.place / "config"
    config.write_text(config.read_text().replace(f"{old.place}/user\n", f"{old.place}/other\n"))
    with pytest.raises(HostError) as told:
        open_source(f"ssh:old.example.net:{root}", environ=os.environ)
    assert "Permission denied (publickey)" in str(told.value)
