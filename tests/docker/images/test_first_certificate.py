"""The scripts of the images on a host without a certificate yet: the first one needs no restart; needs no engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.popbox import ROOT

IMAGES = ROOT / "images"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home, no folder for the certificate, and programs that report how they were started."""
    for name in ("control/me", "users/poppasswd", "log/pop3"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    program(tmp_path, "greets", "exit 0")
    for name in ("mailhost", "maillog", "declare-canary", "starttls", "certificate-late", "roomy"):
        program(tmp_path, name, 'echo "${0##*/}" "$@"')
    return tmp_path


def program(place: Path, name: str, text: str) -> None:
    path = place / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(place: Path, script: str, *words: str, **environ: str) -> tuple[int, list[str]]:
    """Run a script of an image, with this home and folder in place of the image's."""
    text = (IMAGES / script).read_text().replace("/var/qmail", str(place)).replace("/etc/popbox/tls", f"{place}/tls")
    text = text.replace("/var/log/popbox", f"{place}/log")
    path = place / "script"
    path.write_text(text)
    env = {"PATH": f"{place}/bin:{os.environ['PATH']}", **environ}
    done = subprocess.run(["sh", str(path), *words], env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize("folder", [False, True])
def test_the_servers_are_told_where_it_will_be(place: Path, folder: bool) -> None:
    if folder:
        (place / "tls").mkdir()
    chain = f"--cert {place}/tls/fullchain.pem --key {place}/tls/privkey.pem"
    code, said = run(place, "mailhost/start-pop3")
    assert code == 0
    assert f"--tls-listen 0.0.0.0:995 {chain}" in said[-1]
    assert "--require-tls" not in said[-1]
    code, said = run(place, "mailhost/start-pop3", POPBOX_REQUIRE_TLS="yes")
    assert code == 0
    assert f"--require-tls --tls-listen 0.0.0.0:995 {chain}" in said[-1]
    code, said = run(place, "mailhost/start-standin")
    assert code == 0
    assert chain in next(line for line in said if line.startswith("maillog"))


@pytest.mark.parametrize("word", ["true", "Yes", "yes ", "1"])
@pytest.mark.parametrize("setting", ["POPBOX_REQUIRE_TLS", "POPBOX_LOG_MESSAGES"])
def test_a_switch_that_is_neither_yes_nor_no_is_refused(place: Path, setting: str, word: str) -> None:
    refused = f"start-pop3: {setting} must be yes or no, not '{word}'"
    assert run(place, "mailhost/start-pop3", **{setting: word}) == (2, [refused])


def test_the_console_is_found_among_the_profiles_as_compose_finds_it(place: Path) -> None:
    (place / "log/pop3").unlink()
    (place / "log/pop3").mkdir()
    for profiles in ("console", "standin,console", "standin, console", " console ,x"):
        for script in ("mailhost/start-pop3", "mailhost/start-standin"):
            assert "--keep" in str(run(place, script, POPBOX_PROFILES=profiles)), (profiles, script)
    assert "--keep" not in str(run(place, "mailhost/start-standin", POPBOX_PROFILES="standin,consoles"))


def test_each_smtp_session_looks_whether_there_is_one(place: Path) -> None:
    words = (f"{place}/tls/fullchain.pem", f"{place}/tls/privkey.pem", "echo", "qmail-smtpd", "x y")
    assert run(place, "qmail/with-tls", *words) == (0, ["qmail-smtpd x y"])
    (place / "tls").mkdir()
    assert run(place, "qmail/with-tls", *words) == (0, ["qmail-smtpd x y"])
    (place / "tls/fullchain.pem").touch()
    assert run(place, "qmail/with-tls", *words) == (0, ["starttls " + " ".join(words)])


def test_the_health_check_says_that_tls_is_off_and_fails_where_it_is_required(place: Path) -> None:
    chain, key = place / "tls/fullchain.pem", place / "tls/privkey.pem"
    for missing in (chain, chain, key):
        said = f"no TLS: {missing} is missing"
        assert run(place, "mailhost/healthy-pop3") == (0, [said, f"roomy {place}/popboxes", f"roomy {place}/log"])
        assert run(place, "mailhost/healthy-pop3", POPBOX_REQUIRE_TLS="yes") == (1, [said])
        chain.touch() if chain.parent.exists() else chain.parent.mkdir()
    key.touch()
    whole = (0, [f"roomy {place}/popboxes", f"roomy {place}/log", "certificate-late"])
    assert run(place, "mailhost/healthy-pop3", POPBOX_REQUIRE_TLS="yes") == whole
