"""Verbs run by a user who may not look into the private files: an answer, or which file and why; never a traceback."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

NOBODY = 65534
PRIVATE = ("users/.mailhost", "users/poppasswd", "users/logins", "popboxes/domain-com/joe")


@pytest.fixture
def reachable() -> Iterator[Host]:
    """A host with a mailbox in a directory that everybody can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        host = Host(Path(place) / "qmail")
        host.ok("init", "--me", "mail.example.net", "--logins", "pop00001")
        host.ok("domain", "add", "domain.com")
        host.ok("mailbox", "add", "joe@domain.com", "--crypt", HOWTO_CRYPT)
        host.ok("catchall", "set", "domain.com", "joe")
        yield host


@contextmanager
def somebody_else(host: Host) -> Iterator[None]:
    """Root becomes `nobody`; without root the files are closed to the one user there is."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    modes = {host.home / name: (host.home / name).stat().st_mode for name in PRIVATE}
    for path in modes:
        path.chmod(0)
    try:
        yield
    finally:
        for path in reversed(modes):
            path.chmod(modes[path])


@pytest.mark.parametrize(
    ("verb", "file"),
    [
        ("domain list", "users/poppasswd"),
        ("mailbox list", "users/poppasswd"),
        ("export", "users/poppasswd"),
        ("lint", "users/poppasswd"),
        ("domain add other.example", "users/.mailhost/governed"),
        ("rebuild", "users/.mailhost"),
    ],
)
def test_what_needs_private_files_says_which(reachable: Host, verb: str, file: str) -> None:
    reachable.run(*verb.split(), "--help")  # imports, which the account may not be able to read
    with somebody_else(reachable):
        done = reachable.run(*verb.split())
    assert done.exit_code == 111, done.output
    assert done.stderr.startswith(f"mailhost: {reachable.home}/{file}: ")
    assert "Permission denied" in done.stderr


def test_what_needs_none_works(reachable: Host) -> None:
    said = reachable.ok("catchall", "list")
    assert "joe@domain.com" in said
    with somebody_else(reachable):
        assert reachable.ok("catchall", "list") == said


def test_anything_else_the_system_refuses_has_no_traceback(howto: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    done = howto.run("lint")
    assert (done.exit_code, done.stdout) == (111, "")
    assert done.stderr.endswith(": Permission denied\n")
