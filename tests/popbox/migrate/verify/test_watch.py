"""``verify --watch``: mail that the old host gets after the switch is found; what else happens there is none."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.popbox.conformance.servers import PASSWORD, own_address
from tests.popbox.migrate.houses import box, csv, logins, moved, ours, put, text
from tests.popbox.migrate.meddler import Trouble, meddler

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address
from popbox.migrate.pop3.accounts import Unusable

Hosts = tuple[Address, Address]
Watched = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def hosts(place: Path) -> Iterator[Hosts]:
    for name in ("ann", "bob", "cid"):
        box(place / "old", name, 4)
    new = moved(place / "old", place / "new")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        yield old, there


@pytest.fixture
def watched(place: Path, hosts: Hosts) -> Watched:
    """One round as cron runs it: exit code and report."""

    def run(*more: str, old: Address = hosts[0], new: Address = hosts[1]) -> tuple[int, dict[str, Any]]:
        file = place / "watch.json"
        argv = ["verify", "--old", str(old), "--new", str(new), "--accounts", str(accounts(place)), "--watch", "0"]
        argv += ["--rounds", "1", "--state", str(place / "state"), "--json", str(file), "--retry-wait", "0.01"]
        done = CliRunner().invoke(migrate, [*argv, *more], standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return int(done.return_value), json.loads(file.read_text()) | {"output": done.output}

    return run


def accounts(place: Path) -> Path:
    return csv(place / "a.csv", logins(place / "old"))


def messages(home: Path) -> list[Path]:
    return sorted(path for part in ("new", "cur") for path in (home / "Maildir" / part).iterdir())


def test_late_mail_is_found_until_it_is_moved_or_gone(place: Path, watched: Watched) -> None:
    assert watched()[0] == 0
    put(place / "old/ann", "1800000001.late", text(50, "ann"), 900)
    put(place / "old/bob", "1800000002.late", text(51, "bob"), 901)
    code, report = watched()
    assert code == 1
    found = {login: [one["message"]["uidl"] for one in late] for login, late in report["late"].items()}
    assert found == {"ann": ["1800000001.late"], "bob": ["1800000002.late"]}
    assert report["late"]["ann"][0]["message"]["subject"] == "message 50"
    assert "ann: late: number 5, UIDL 1800000001.late" in report["output"]
    code, report = watched()
    assert (code, "ann: late" in report["output"]) == (1, False), "shown once, counted on"
    put(place / "new/ann", "1800000001.late", text(50, "ann"), 900)
    (place / "old/bob/Maildir/new/1800000002.late").unlink()
    code, report = watched()
    assert (code, report["late"]) == (0, {})


def test_what_clients_do_on_either_host_is_no_late_mail(place: Path, watched: Watched) -> None:
    """They fetch and delete on the new host, and get new mail there; old clients delete on the old one."""
    assert watched()[0] == 0
    messages(place / "new/ann")[0].unlink()
    put(place / "new/bob", "1800000003.new", text(60, "bob"), 950)
    messages(place / "old/cid")[0].unlink()
    path = messages(place / "old/ann")[-1]
    path.rename(path.parent.parent / "cur" / (path.name.partition(":")[0] + ":2,RS"))
    assert watched()[0] == 0


def test_one_for_one_with_the_same_size_is_seen(place: Path, watched: Watched) -> None:
    """STAT would say the same as before."""
    assert watched()[0] == 0
    path = messages(place / "old/ann")[0]
    put(place / "old/ann", "1800000004.late", path.read_bytes(), 960)
    path.unlink()
    assert watched()[0] == 1


def test_a_round_without_changes_asks_the_new_host_for_nothing(place: Path, hosts: Hosts) -> None:
    with meddler(hosts[1], lambda _: Trouble()) as (between, heard):
        argv = ["verify", "--old", str(hosts[0]), "--new", str(between), "--accounts", str(accounts(place))]
        argv += ["--watch", "0", "--rounds", "3", "--state", str(place / "state")]
        assert CliRunner().invoke(migrate, argv, standalone_mode=False).return_value == 0
    assert sum(line.startswith(b"USER") for line in heard) == 3, "each box once, in the first round"


def test_a_host_that_cannot_be_asked_is_no_all_clear(watched: Watched, place: Path, hosts: Hosts) -> None:
    argv = ["verify", "--old", str(own_address()), "--new", str(hosts[1]), "--accounts", str(accounts(place))]
    argv += ["--watch", "0", "--rounds", "2", "--state", str(place / "other")]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False)
    assert done.return_value == 3
    assert done.output.count("cannot connect") == 2, "it goes on"


def test_a_refused_login_is_named(place: Path, watched: Watched) -> None:
    row = place / "old.qmail/users/poppasswd"
    row.write_text("".join(line for line in row.read_text().splitlines(keepends=True) if not line.startswith("bob:")))
    code, report = watched()
    assert (code, list(report["unavailable"])) == (3, ["bob"])
    assert report["unavailable"]["bob"].startswith("the old host refused the login: -ERR")


def test_the_state_file(place: Path, watched: Watched) -> None:
    """Only the owner's; cut off by a kill it still counts; that of another watch is refused."""
    watched()
    state = place / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert PASSWORD not in state.read_text()
    with state.open("a") as file:
        file.write('{"login":"an')
    messages(place / "new/ann")[0].unlink()
    assert watched()[0] == 0
    assert len(state.read_text().splitlines()) == 4
    with pytest.raises(Unusable, match="is of another watch"):
        watched("--no-content")
    state.write_text(state.read_text() + "{}\n")
    with pytest.raises(Unusable, match="line 5: is no line of a watch"):
        watched()


def test_interrupted_it_ends_at_once_and_goes_on_later(place: Path, hosts: Hosts, watched: Watched) -> None:
    argv = [sys.executable, "-m", "popbox", "migrate", "verify", "--old", str(hosts[0]), "--new", str(hosts[1])]
    argv += ["--accounts", str(accounts(place)), "--watch", "60", "--state", str(place / "state")]
    out = place / "out"
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with out.open("w") as file:
        child = subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT, env=environ)
    try:
        deadline = time.monotonic() + 60
        while "3 boxes, 0 late messages" not in out.read_text():
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.02)
        with pytest.raises(Unusable, match="another watch is at work"):
            watched()
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    finally:
        child.kill()
        child.wait()
    assert "Traceback" not in out.read_text()
    put(place / "old/ann", "1800000009.late", text(50, "ann"), 900)
    assert watched()[0] == 1


@pytest.mark.parametrize("more", [["--old", "h:1", "--new", "h:2", "--accounts", "{a}"], ["--files", "/", "/nowhere"]])
def test_it_needs_a_state_and_logins(place: Path, more: list[str]) -> None:
    path = csv(place / "a.csv", ["ann"])
    done = CliRunner().invoke(migrate, ["verify", "--watch", "1", *[word.format(a=path) for word in more]])
    assert done.exit_code == 2
