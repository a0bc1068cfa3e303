"""images/mailhost/declare-canary: the health check's login, which is never in a customer's way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

SCRIPT = Path(__file__).parents[4] / "images/mailhost/declare-canary"


pytestmark = pytest.mark.needs("flock")


def declare(host: Host, word: str, tmp_path: Path, first: Path = Path(sys.executable).parent) -> tuple[int, str]:
    """The script as the images run it, on this home in place of /var/qmail."""
    script = tmp_path / "declare-canary"
    script.write_text(SCRIPT.read_text().replace("home=/var/qmail", f"home='{host.home}'"))
    path = f"{first}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", str(script), word], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    return done.returncode, done.stderr


def logins(host: Host) -> dict[str, str]:
    """Login -> home, in the file's order."""
    return {row.split(":")[0]: row.split(":")[3] for row in host.text("users/poppasswd").splitlines()}


def test_a_customers_login_stays_whatever_the_switch_says(howto: Host, tmp_path: Path) -> None:
    for login in ("canary", "zoe"):
        howto.ok("mailbox", "add", f"{login}@domain.com", "--login", login, "--crypt", HOWTO_CRYPT)
    before = howto.text("users/poppasswd")
    assert declare(howto, "yes", tmp_path) == (0, "")
    assert list(logins(howto)) == ["canary", "popbox-canary", "testid", "zoe"]
    secret = howto.home / "users/canary"
    assert (stat.S_IMODE(secret.stat().st_mode), len(secret.read_text())) == (0o400, 32)
    kept = howto.text("users/poppasswd"), secret.read_text()
    assert declare(howto, "yes", tmp_path) == (0, "")
    assert (howto.text("users/poppasswd"), secret.read_text()) == kept, "a second start changes nothing"
    assert declare(howto, "no", tmp_path) == (0, "")
    assert howto.text("users/poppasswd") == before
    assert not secret.exists()
    assert not (howto.home / "popboxes/.canary").exists()


@pytest.mark.parametrize("word", ["yes", "no"])
def test_the_reserved_name_in_a_customers_hands_is_his(howto: Host, tmp_path: Path, word: str) -> None:
    howto.ok("mailbox", "add", "bird@domain.com", "--login", "popbox-canary", "--crypt", HOWTO_CRYPT)
    before = howto.text("users/poppasswd")
    code, said = declare(howto, word, tmp_path)
    assert (code, "there is no canary" in said) == ((2, True) if word == "yes" else (0, False))
    assert howto.text("users/poppasswd") == before


def test_a_mailbox_is_refused_the_canarys_login(howto: Host, tmp_path: Path) -> None:
    declare(howto, "yes", tmp_path)
    said = howto.refused("mailbox", "add", "bird@domain.com", "--login", "popbox-canary", "--crypt", HOWTO_CRYPT)
    assert f"is taken, by {howto.home}/popboxes/.canary" in said


def test_the_row_of_an_earlier_image_goes_and_nobody_elses(howto: Host, tmp_path: Path) -> None:
    with (howto.home / "users/poppasswd").open("a") as rows:
        rows.write(f"canary:{HOWTO_CRYPT}:popuser:{howto.home}/popboxes/.canary\n")
    (howto.home / "users/canary").write_text("old")
    declare(howto, "yes", tmp_path)
    assert list(logins(howto)) == ["popbox-canary", "testid"]


def test_a_row_added_by_hand_at_that_moment_is_not_lost(
    howto: Host, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The awk of this test is the real one, and a person's editor after it."""
    rows, shim = howto.home / "users/poppasswd", tmp_path_factory.mktemp("programs") / "awk"  # none runs from memory
    shim.write_text(f"#!/bin/sh\nPATH=${{PATH#*:}}\nawk \"$@\" || exit\n[ $1 = -F: ] && echo '# mine' >>'{rows}'\n")
    shim.chmod(0o755)
    code, said = declare(howto, "yes", tmp_path, first=shim.parent)
    assert (code, f"{rows}: it was changed by someone else in between" in said) == (111, True)
    assert "# mine\n" in rows.read_text()
    assert not rows.with_name("poppasswd.canary").exists()


def test_a_switch_that_is_neither_yes_nor_no_is_refused(howto: Host, tmp_path: Path) -> None:
    assert declare(howto, "yes", tmp_path) == (0, "")
    before = howto.text("users/poppasswd")
    for word in ("true", "YES", "no "):
        assert declare(howto, word, tmp_path) == (
            111,
            f"declare-canary: POPBOX_CANARY must be yes or no, not '{word}'\n",
        )
    assert howto.text("users/poppasswd") == before
