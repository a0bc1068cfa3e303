"""Files of 64 GiB of holes, which cost nothing to make: each reader has a limit, and the error names file and limit."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

GIB = 1 << 30
READERS = ["mailbox list", "domain list", "forward list", "export", "lint", "explain joe@domain.com", "rebuild"]


def run(host: Host, *words: str) -> tuple[int, str]:
    """The verb in a process of 2 GiB at most."""

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 * GIB, 2 * GIB))

    argv = [sys.executable, "-m", "mailhost", "--home", str(host.home), *words]
    done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=bounded, timeout=100)
    return done.returncode, done.stdout + done.stderr


def sparse(path: Path) -> None:
    """All holes; the owner and mode stay."""
    path.touch()
    os.truncate(path, 0)
    os.truncate(path, 64 * GIB)


@pytest.fixture
def two(served: Host) -> Host:
    """joe and ann."""
    served.ok("mailbox", "add", "ann@domain.com", "--login", "annid", "--crypt", HOWTO_CRYPT)
    served.ok("alias", "system", "root", "ann@domain.com")
    return served


@pytest.mark.parametrize("verb", READERS)
def test_one_box_does_not_hide_the_others(two: Host, verb: str) -> None:
    sparse(two.home / "popboxes/domain-com/joe/.qmail")
    code, told = run(two, *verb.split())
    assert "Traceback" not in told
    assert code in (0, 1), told
    if verb in ("mailbox list", "export"):
        assert "annid" in told
    if verb != "rebuild":
        assert ".qmail" in told, told
        assert "is larger than 1048576 octets, and not read" in told


@pytest.mark.parametrize("verb", ["export", "lint", "forward list"])
def test_an_alias_of_the_host_does_not_hide_the_boxes(two: Host, verb: str) -> None:
    sparse(two.home / "alias/.qmail-root")
    code, told = run(two, *verb.split())
    assert code in (0, 1), told
    assert "Traceback" not in told
    if verb != "lint":
        assert "alias/.qmail-root: is larger than 1048576 octets, and not read" in told


def test_a_change_of_that_box_is_refused_and_of_another_is_made(two: Host) -> None:
    sparse(two.home / "popboxes/domain-com/joe/.qmail")
    code, told = run(two, "forward", "add", "joe@domain.com", "x@elsewhere.example")
    assert code == 2
    assert "popboxes/domain-com/joe/.qmail: is larger than 1048576 octets" in told
    assert run(two, "forward", "add", "ann@domain.com", "x@elsewhere.example")[0] == 0


@pytest.mark.parametrize(
    ("file", "verb"),
    [
        ("control/rcpthosts", "domain add other.example"),
        ("control/rcpthosts", "explain joe@domain.com"),
        ("control/rcpthosts", "lint"),
        ("control/virtualdomains", "mailbox list"),
        ("control/locals", "domain add other.example"),
        ("control/locals", "explain joe@domain.com"),
        ("users/poppasswd", "mailbox list"),
        ("users/poppasswd", "mailbox disable joe@domain.com"),
        ("users/poppasswd", "lint"),
        ("users/assign", "lint"),
        ("users/assign", "newu"),
        ("users/assign", "explain joe@domain.com"),
        ("users/assign", "rebuild"),
        ("users/cdb", "lint"),
        ("users/cdb", "explain joe@domain.com"),
        ("users/domains/domain.com", "mailbox list"),
        ("users/domains/domain.com", "rebuild"),
        ("users/domains/domain.com", "lint"),
        ("users/logins", "mailbox list"),
        ("users/.mailhost/journal", "mailbox disable joe@domain.com"),
        ("accounts.toml", "apply {}"),
        ("accounts.toml", "plan {}"),
        ("new.csv", "mailbox import {}"),
    ],
)
def test_a_file_of_roots_is_named_with_its_limit(two: Host, file: str, verb: str) -> None:
    sparse(two.home / file)
    code, told = run(two, *verb.format(two.home / file).split())
    assert "Traceback" not in told, told
    assert code != 0, told
    assert Path(file).name in told
    assert "is larger than " in told, told
