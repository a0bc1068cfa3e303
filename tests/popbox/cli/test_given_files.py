"""Each file that a command of popbox takes: a device, a FIFO, a folder or a huge file in its place ends it at once."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from popbox.cli.main import cli
from popbox.errors import UnusableError

WAYS = {
    "accounts of verify": ["migrate", "verify", "--old", "127.0.0.1:1", "--new", "127.0.0.1:1", "--accounts", "FILE"],
    "certificates of verify": [
        *("migrate", "verify", "--old", "127.0.0.1:1", "--new", "127.0.0.1:1", "--accounts", "CSV"),
        *("--old-tls", "stls", "--old-ca", "FILE"),
    ],
    "accounts of import": ["migrate", "import", "--pop3", "127.0.0.1:1", "--to", "TO", "--accounts", "FILE"],
    "report of merge": ["migrate", "verify", "merge", "FILE"],
    "report of plan": ["migrate", "plan", "--old", "a", "--new", "b", "--verify-report", "FILE"],
    "addresses of routes": [
        "migrate",
        "routes",
        "--old",
        "HOME",
        "--new",
        "HOME",
        "--new-as",
        "/var/qmail",
        "--addresses",
        "FILE",
    ],
    "log of routes": ["migrate", "routes", "--old", "HOME", "--new", "HOME", "--new-as", "/var/qmail", "--log", "FILE"],
    "scenario": ["run", "FILE"],
    "load": ["load", "FILE"],
    "accounts of load": ["load", "LOAD", "--accounts", "FILE"],
    "message": ["send", "a@b", "c@d", "--to-host", "127.0.0.1:1", "--file", "FILE"],
    "password": ["pop3-check", "127.0.0.1:1", "--login", "a", "--password-file", "FILE"],
}
A_FOLDER_IS_TAKEN = {"accounts of verify", "accounts of import", "scenario"}


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """What the words in capitals stand for."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 43)
    (tmp_path / "folder").mkdir()
    for name in ("control", "users", "popboxes"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home/control/me").write_text("mx.example\n")
    (tmp_path / "home/users/assign").write_text(".\n")
    (tmp_path / "home/users/poppasswd").write_text("")
    (tmp_path / "a.csv").write_text("login,password\njoe,secret\n")
    load = Path("scenarios/load/smoke.toml").resolve()
    words = {"HOME": tmp_path / "home", "TO": tmp_path / "to", "CSV": tmp_path / "a.csv", "LOAD": load}
    return {word: str(path) for word, path in words.items()} | {"": str(tmp_path)}


KINDS = ("/dev/zero", "/dev/full", "fifo", "folder", "huge")
REFUSED = [(way, kind) for way in WAYS for kind in KINDS if kind != "folder" or way not in A_FOLDER_IS_TAKEN]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("way", "kind"), REFUSED)
def test_it_is_refused_at_once(way: str, kind: str, place: dict[str, str]) -> None:
    named = kind if kind.startswith("/") else f"{place['']}/{kind}"
    words = [named if word == "FILE" else place.get(word, word) for word in WAYS[way]]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert isinstance(done.exception, UnusableError | click.ClickException), (done.exception, done.output)
    assert named in str(done.exception)
    assert len(str(done.exception).splitlines()) == 1
    assert "Errno" not in str(done.exception)


@pytest.mark.parametrize(
    "words",
    [
        ["migrate", "import", "HOME", "--to"],
        ["migrate", "export", "HOME", "--to", "dovecot", "--out"],
        ["run", "--report"],
        ["load", "LOAD", "--report"],
    ],
)
def test_an_empty_name_is_no_folder_to_write_into(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(cli, [*words, ""])
    assert ended.exit_code == 2
    assert "its name is empty" in ended.output
    assert not list(tmp_path.iterdir())
