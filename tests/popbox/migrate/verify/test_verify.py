"""``popbox migrate verify`` as its user meets it: trouble on the way, kill and resume, exit codes, secrets, forms."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
from click.testing import CliRunner
from tests.popbox.conformance.servers import PASSWORD, own_address, wait_for
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.damage import lost
from tests.popbox.migrate.houses import box, csv, logins, moved, ours, put, snapshot, text
from tests.popbox.migrate.meddler import Trouble, meddler

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address
from popbox.migrate.pop3.accounts import Unusable

Move = tuple[Address, Address, Path]


@pytest.fixture
def move(place: Path) -> Iterator[Move]:
    """Three boxes on ours in the profile qmail, moved well to ours in the other one."""
    for name in ("ann", "bob", "cid"):
        box(place / "old", name, 4)
    new = moved(place / "old", place / "new")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        yield old, there, csv(place / "a.csv", logins(place / "old"))


def lasting(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what is different each time: clock and way."""
    boxes = [{key: value for key, value in box.items() if key not in ("took_s", "retries")} for box in report["boxes"]]
    kept = {key: report[key] for key in ("schema", "old", "new", "content", "totals")}
    return kept | {"boxes": boxes}


def test_equal(move: Move, verify: Verify) -> None:
    code, report = verify(*move)
    assert code == 0
    assert report["schema"] == "popbox.migrate-verify/1"
    assert report["totals"]["verdicts"]["content"] == {"equal": 3, "different": 0, "not judged": 0}
    assert [side["profiles_seen"] for side in (report["old"], report["new"])] == [{"qmail": 3}, {"rfc1939": 3}]
    assert "Q-POP3-16" in report["old"]["leaving"]


def test_it_says_neither_quit_nor_dele_and_asks_for_each_message_once(move: Move, verify: Verify) -> None:
    with meddler(move[0], lambda _: Trouble()) as (between, heard):
        code, _ = verify(between, *move[1:], "--jobs", "1")
    assert code == 0
    verbs = [line.split()[0] for line in heard]
    assert set(verbs) == {b"CAPA", b"USER", b"PASS", b"LIST", b"UIDL", b"STAT", b"RETR"}
    assert verbs.count(b"RETR") == 12


TROUBLES: dict[str, Callable[[int], Trouble]] = {
    "every other connection is cut": lambda n: Trouble(cut_after=900 if n % 2 else 1500),
    "in use at first": lambda n: Trouble(refuse_pass=b"-ERR [IN-USE] locked\r\n" if n in (1, 2) else b""),
    "no more processes": lambda n: Trouble(refuse_pass=b"-ERR [SYS/TEMP] later\r\n" if n in (1, 3, 5) else b""),
    "too many connections": lambda n: Trouble(refuse=b"-ERR too many\r\n" if n in (1, 2, 4) else b""),
    "closes at once": lambda n: Trouble(cut_after=0 if n in (1, 3, 4) else None),
    "garbage": lambda n: Trouble(change=(lambda octets: b"garbage\r\n") if n in (2, 4) else bytes),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("side", [0, 1])
def test_trouble_on_the_way_changes_no_verdict(move: Move, verify: Verify, trouble: str, side: int) -> None:
    with meddler(move[side], TROUBLES[trouble]) as (between, _):
        sides = [between if at == side else move[at] for at in (0, 1)]
        code, report = verify(*sides, move[2], "--timeout", "5")
    assert code == 0, report["output"]
    assert sum(found["retries"] for found in report["boxes"]) > 0


def test_a_message_that_always_breaks_the_session_is_named(move: Move, verify: Verify) -> None:
    """The relay falls silent within number 3, each time; the others are read all the same."""

    def broken(_: int) -> Trouble:
        silent = False

        def change(octets: bytes) -> bytes:
            nonlocal silent
            before, found, _ = octets.partition(b"Subject: message 3\r")  # behind replies to other RETRs, if sent ahead
            sent = b"" if silent else before + found[:5]
            silent = silent or bool(found)
            return sent

        return Trouble(change=change)

    with meddler(move[1], broken) as (between, _):
        code, report = verify(move[0], between, move[2], "--timeout", "2")
    assert code == 1
    for found in report["boxes"]:
        assert [(f["kind"], f["old"]["number"]) for f in found["findings"]] == [("unreadable", 3)]
        assert found["verdicts"]["uidl"] == "equal"


def test_a_host_that_is_down(move: Move, verify: Verify) -> None:
    code, report = verify(own_address(), *move[1:])
    assert code == 3
    assert re.search(r"the old host: cannot connect to 127\.[0-9.]+:\d+", report["output"])


def test_a_host_that_goes_down(place: Path, verify: Verify) -> None:
    """Boxes that could not be judged are no differences: exit 3, each named, and the wait for the rest is short."""
    for number in range(40):
        box(place / "old", f"user{number:02}", 1)
    new = moved(place / "old", place / "new")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        accounts = csv(place / "a.csv", logins(place / "old"))
        with meddler(there, lambda n: Trouble(cut_after=0 if n > 10 else None)) as (between, _):
            code, report = verify(old, between, accounts, "--jobs", "1", "--state", str(place / "state"))
        assert code == 3
        assert report["totals"]["different"] == 0
        assert report["totals"]["unavailable"] + report["totals"]["equal"] == 40
        assert "given up" in report["boxes"][-1]["unavailable"]
        code, report = verify(old, there, accounts, "--state", str(place / "state2"))
    assert code == 0


def test_without_content(move: Move, place: Path, verify: Verify) -> None:
    with meddler(move[0], lambda _: Trouble()) as (between, heard):
        code, report = verify(between, *move[1:], "--no-content")
        assert not any(line.startswith((b"RETR", b"TOP")) for line in heard)
        assert code == 0
        assert report["totals"]["verdicts"]["content"]["not judged"] == 3
        gone = lost(place / "new" / "ann", Random(1))
        code, report = verify(between, *move[1:], "--no-content")
    assert code == 1
    (finding,) = report["boxes"][0]["findings"]
    assert (finding["kind"], finding["old"]["uidl"]) == ("missing", gone)
    assert finding["old"]["subject"].startswith("message ")
    assert [line.split()[0] for line in heard].count(b"TOP") == 1


def test_killed_and_run_again(place: Path) -> None:
    """SIGKILL in the middle, more than once; what is done is not done again, and the report is that of a whole run."""
    for number in range(40):
        box(place / "old", f"user{number:02}", 5)
    new = moved(place / "old", place / "new")
    lost(new / "user07", Random(1))
    lost(new / "user35", Random(2))
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        accounts, state = csv(place / "a.csv", logins(place / "old")), place / "state"
        sizes = []
        with meddler(old, lambda _: Trouble(change=slow)) as (between, heard):
            argv = [str(Path(sys.executable).with_name("popbox")), "migrate", "verify", "--old", str(between)]
            argv += ["--new", str(there), "--accounts", str(accounts), "--jobs", "2", "--json", str(place / "r.json")]
            for _ in range(2):
                process = subprocess.Popen([*argv, "--state", str(state)], stdout=subprocess.DEVNULL)
                wait_until(lambda: lines(state) > (sizes[-1] if sizes else 0) + 10)
                process.send_signal(signal.SIGKILL)
                process.wait()
                sizes.append(lines(state))
                with state.open("ab") as cut:
                    cut.write(b'{"login":"user')  # what a kill in the middle of a write leaves
            heard.clear()
            assert (
                subprocess.run([*argv, "--state", str(state)], stdout=subprocess.DEVNULL, check=False).returncode == 1
            )
            resumed = json.loads((place / "r.json").read_text())
            users = sum(line.startswith(b"USER") for line in heard)
            assert subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode == 1
            whole = json.loads((place / "r.json").read_text())
    assert 0 < users < 40 - sizes[-1] + 8
    assert resumed["resumed"] >= sizes[-1] - 1 > 10
    assert lasting(resumed) == lasting(whole)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert PASSWORD not in state.read_text()


def slow(octets: bytes) -> bytes:
    """So that there is a middle to kill it in."""
    time.sleep(0.002)
    return octets


def lines(path: Path) -> int:
    """Of boxes: the first line of a state file says how many there are."""
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_state_file_of_another_run_is_refused(move: Move, place: Path, verify: Verify) -> None:
    state = place / "state"
    state.write_text('{"schema": "popbox.migrate-verify-state/1", "old": ["elsewhere:110"]}\n')
    with pytest.raises(Unusable, match=r"state: line 1: is of another run"):
        verify(*move, "--state", str(state))


def test_a_broken_line_in_the_middle_of_a_state_file_is_refused(move: Move, place: Path, verify: Verify) -> None:
    state = place / "state"
    verify(*move, "--state", str(state))
    kept = state.read_text().splitlines(keepends=True)[:-1]  # without the line that says it has ended
    state.write_text("".join([kept[0], "{}\n", *kept[1:]]))
    with pytest.raises(Unusable, match=r"state: line 2: is no line of a state file"):
        verify(*move, "--state", str(state))


def test_a_run_that_ended_begins_anew(move: Move, place: Path, verify: Verify) -> None:
    assert verify(*move, "--state", str(place / "state"))[1]["resumed"] == 0
    lost(place / "new" / "ann", Random(1))
    code, report = verify(*move, "--state", str(place / "state"))
    assert (code, report["resumed"]) == (1, 0)


def test_no_password_in_output_arguments_or_files(move: Move, place: Path, verify: Verify) -> None:
    """Also where a server says it back, and where the login fails."""

    def echo(octets: bytes) -> bytes:
        return octets.replace(b"-ERR", b"-ERR " + b"secretive" + b" is wrong:")

    accounts = place / "b.csv"
    accounts.write_text(f"login,old_password,new_password\nann,secretive,{PASSWORD}\n")
    forms = {form: place / f"r.{form}" for form in ("csv", "html")}
    with meddler(move[0], lambda _: Trouble(change=echo)) as (between, _):
        options = [item for form, file in forms.items() for item in (f"--{form}", str(file))]
        code, report = verify(between, move[1], accounts, *options, "--state", str(place / "state"))
    assert code == 1
    assert "********" in json.dumps(report)
    for written in (json.dumps(report), *(file.read_text() for file in forms.values()), (place / "state").read_text()):
        assert "secretive" not in written
        assert PASSWORD not in written


def test_forms_escape_what_messages_say(place: Path, verify: Verify) -> None:
    """A subject is written by strangers: it is no markup in HTML, no escape sequence on a terminal."""
    box(place / "old", "ann", 1)
    evil = b"Subject: <script>alert(1)</script> \x1b[2J [bold]x[/bold] =?utf-8?q?=1b[31m?=\n\nbody\n"
    put(place / "old" / "ann", "1700009999.evil", evil, 99)
    new = moved(place / "old", place / "new")
    next((new / "ann" / "Maildir" / "new").glob("*.evil")).unlink()
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        _, report = verify(old, there, csv(place / "a.csv", ["ann"]), "--html", str(place / "r.html"))
    page = (place / "r.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"https?://|<link|src=", page)
    assert "\x1b" not in report["output"] + page
    assert "<script>alert(1)</script> \\x1b[2J [bold]x[/bold]" in report["output"]


def test_csv_has_a_row_a_box(move: Move, place: Path, verify: Verify) -> None:
    verify(*move, "--csv", str(place / "r.csv"))
    rows = (place / "r.csv").read_text().splitlines()
    assert rows[0].startswith("old_login,new_login,result,login,uidl,order,sizes,content,old_messages")
    assert [row.split(",")[:3] for row in rows[1:]] == [[name, name, "equal"] for name in ("ann", "bob", "cid")]


def test_tls(place: Path, verify: Verify) -> None:
    """STLS and implicit TLS, judged by a CA; an unknown certificate is refused unless that is asked for loudly."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("pop.new.example")
    (place / "cert.pem").write_bytes(issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes())
    authority.cert_pem.write_to_path(place / "ca.pem")
    box(place / "old", "ann", 3)
    new = moved(place / "old", place / "new")
    more = ("--cert", str(place / "cert.pem"), "--tls-listen", "127.0.0.1:0")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939", *more) as there:
        accounts, name = csv(place / "a.csv", ["ann"]), ("--new-tls-name", "pop.new.example")
        port = int(wait_for(r"listening pop3s 127\.0\.0\.1:(\d+)", place / "new.log")[1])
        trust = ("--new-ca", str(place / "ca.pem"))
        for address, mode in ((there, "stls"), (Address("127.0.0.1", port), "implicit")):
            code, report = verify(old, address, accounts, "--new-tls", mode, *trust, *name)
            assert (code, report["new"]["tls"]) == (0, mode), report["output"]
            code, report = verify(old, address, accounts, "--new-tls", mode, *trust)
            assert code == 3
            assert "no TLS with" in report["output"]
            assert verify(old, address, accounts, "--new-tls", mode, *name)[0] == 3
            code, report = verify(old, address, accounts, "--new-tls", mode, "--new-accept-any-certificate")
            assert code == 0
            assert "WARNING: ANY certificate is taken for the new host" in report["output"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--old-tls-name", "x"], "options of TLS for the old host need --old-tls"),
        (["--only", "nobody"], "--only nobody: no such login among the accounts"),
    ],
)
def test_options_that_do_not_fit(move: Move, verify: Verify, more: list[str], said: str) -> None:
    with pytest.raises(click.BadParameter, match=said):
        verify(*move, *more)


def test_exit_code_2_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("nonsense\n")
    argv = [sys.executable, "-m", "popbox", "migrate", "verify", "--old", "127.0.0.1:1", "--new", "127.0.0.1:1"]
    done = subprocess.run([*argv, "--accounts", str(tmp_path / "a.csv")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a.csv: line 1: unknown column 'nonsense'" in done.stderr


def test_the_old_host_is_left_as_it_was(move: Move, place: Path, verify: Verify) -> None:
    before = snapshot(place / "old")
    assert any("/new/" in name for name in before)
    verify(*move)
    verify(*move, "--no-content")
    assert snapshot(place / "old") == before


def test_a_message_of_50_mb_is_compared(place: Path, verify: Verify) -> None:
    box(place / "old", "ann", 1)
    put(place / "old" / "ann", "1700009999.big", text(9) + b"0123456789 line\n" * 3_276_800, 99)
    new = moved(place / "old", place / "new")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        argv = [
            str(Path(sys.executable).with_name("popbox")),
            "migrate",
            "verify",
            "--old",
            str(old),
            "--new",
            str(there),
        ]
        script = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
        script += "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        accounts = csv(place / "a.csv", ["ann"])
        argv = [sys.executable, "-c", script, *argv, "--accounts", str(accounts)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"})
    code, kib = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stdout
    assert int(kib) < 110_000  # what Python and its modules take is 60 MB of it


def test_help_names_the_insecure_ways() -> None:
    said = CliRunner().invoke(migrate, ["verify", "--help"]).output
    assert said.count("INSECURE") == 4
