"""What host local sees in folders that change while it looks."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from popbox.clients.wire import Address
from popbox.errors import HostError
from popbox.hosts.local import LocalHost
from popbox.hosts.local_files import LocalReading, loopback, remove_tree, scratch
from popbox.hosts.state import Process, Record, Registry


class Files(LocalReading):
    def __init__(self, home: Path) -> None:
        self._home = home

    def home(self) -> str:
        return str(self._home)


@pytest.mark.parametrize("gone", ["popboxes/a/.eve.mailhost-new", "popboxes/a/joe/new", "popboxes/a/joe/cur"])
def test_a_folder_that_vanishes_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    """A new box is renamed into its place: a whole `popbox run` ended with 1 where mail was looked for then."""
    for folder in ("joe/new", "joe/cur", ".eve.mailhost-new"):
        (tmp_path / "popboxes/a" / folder).mkdir(parents=True)
    for name in ("new/1", "cur/2:2,"):
        (tmp_path / "popboxes/a/joe" / name).write_text("needle")
    scandir = os.scandir

    def vanishing(path: Any = ".") -> Any:
        if os.fspath(path) == str(tmp_path / gone):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    mail = [f"popboxes/a/joe/{name}" for name in ("cur/2:2,", "new/1")]
    wanted = [path for path in mail if not path.startswith(gone)]
    files = Files(tmp_path)
    assert [one.entry.path for one in files.search(("needle",))] == wanted
    found = [one.entry.path for one in files.find("popboxes/a/joe", "needle")]
    assert [f"popboxes/a/joe/{name}" for name in found] == wanted


class NoIpv4(socket.socket):
    """On a host that has IPv6 alone."""

    def bind(self, address: Any) -> None:
        if self.family == socket.AF_INET:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        super().bind(address)


def test_where_there_is_no_ipv4_a_host_is_on_the_loopback_of_ipv6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`popbox demo` has passed in a network namespace with ::1 alone; it could not start there."""
    assert loopback() == "127.0.0.1"
    monkeypatch.setattr("socket.socket", NoIpv4)
    assert loopback() == "[::1]"
    (tmp_path / "log").mkdir()
    (tmp_path / "log/smtp.out").write_text("listening smtp [::1]:2525\n")
    host = LocalHost(Registry(tmp_path), Record("x", "local", "stand-in", str(tmp_path), Process(1, 1)), {})
    assert host.address("smtp") == Address("::1", 2525)


def test_no_place_for_temporary_files_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nonexistent"])
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(HostError, match=r"No usable temporary directory found in .*: set TMPDIR to one"):
        scratch()


@pytest.mark.parametrize("name", ["a:b", "a\nb", "a\x7f", os.fsdecode(b"a\xffb")])
def test_a_place_that_users_assign_cannot_name_is_refused_with_what_to_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with pytest.raises(HostError, match=r"^'\S+' has ':', .* set TMPDIR to another directory$"):
        scratch()


def test_the_place_of_hosts_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By TMPDIR=. a host recorded a place that popbox itself then called none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", ".")
    assert scratch() == str(tmp_path)


def test_a_folder_that_is_closed_to_its_owner_goes_too() -> None:
    """A plain user's host, in which a scenario had closed a Maildir, or whose umask was 777, stayed in /tmp."""
    plain = os.geteuid() or 65534
    with tempfile.TemporaryDirectory(prefix="popbox-closed-") as place:
        os.chown(place, plain, -1)
        child = os.fork()
        if child == 0:
            os.setuid(plain)
            top = Path(place, "host")
            (top / "joe/Maildir/new").mkdir(parents=True)
            (top / "joe/Maildir/new/1").touch()
            (top / "joe/away").symlink_to("/")
            for closed in ("Maildir/new", "Maildir"):
                (top / "joe" / closed).chmod(0)
            remove_tree(top)
            os._exit(top.exists())
        assert os.waitpid(child, 0)[1] == 0
