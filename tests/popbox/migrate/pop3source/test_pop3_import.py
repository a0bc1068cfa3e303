"""An import over POP3 alone, from each server that is here into ours: then ``verify`` finds no difference."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.needs import require
from tests.popbox.conformance.servers import PASSWORD, child, wait_for
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.houses import ON_DISK, box, csv, ours, put, snapshot, text
from tests.popbox.migrate.matrix import ASPECTS
from tests.popbox.migrate.matrix import fill as fill_odd
from tests.popbox.migrate.meddler import Trouble, meddler
from tests.popbox.migrate.pop3source.support import DOMAIN, boxes, files, run
from tests.popbox.migrate.programs import mailhost

from popbox.clients.wire import Address
from popbox.migrate.copy.journal import Journal

OLD = [*ON_DISK]
NEW = ["rfc1939", "qmail"]


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
def test_verify_finds_no_difference(old: str, new: str, place: Path, verify: Verify) -> None:
    require(*ON_DISK[old][1])
    fill_odd(place / "old")
    names = sorted(path.name for path in (place / "old").iterdir())
    before = snapshot(place / "old")
    with ON_DISK[old][0](place, place / "old") as one:
        code, said = run(one, place, names, "--jobs", "3")
        assert (code, "not done" in said) == (0, False), said
        if "dovecot" not in old and old != "courier":
            assert snapshot(place / "old") == before
        with ours(place, boxes(place), new) as other:
            code, report = verify(one, other, place / "a.csv")
    assert (code, report["totals"]["messages_old"]) == (0, 95), report["output"]
    assert all(report["totals"]["verdicts"][aspect]["equal"] == len(names) for aspect in ASPECTS)


def test_octets_are_those_that_the_old_host_has(place: Path) -> None:
    home = box(place / "old", "joe")
    odd = [
        b"A: b\n\nx\n",
        b"A: b\n\nx",
        b"",
        b"\n",
        b"A: b\r\n\r\nx\r\n",
        b"A: b\n\n\n\n",
        b"A: b\n\n.\n..\nx\ry\n",
        b"A",
    ]
    for number, octets in enumerate(odd):
        put(home, f"m{number}", octets, number)
    with ours(place, place / "old", "qmail") as one:
        assert run(one, place, ["joe"])[0] == 0
    assert [path.read_bytes() for path in files(place).values()] == odd


def test_a_second_pass_brings_what_came_and_final_follows(place: Path, verify: Verify) -> None:
    home = box(place / "old", "joe", 4)
    with ours(place, place / "old", "rfc1939") as one:
        assert "copied 4 messages" in run(one, place, ["joe"])[1]
        gone = min((home / "Maildir/new").iterdir())  # a folder lists its files in any order
        gone.unlink()
        put(home, "between", text(30), 2)  # a date between those of others
        put(home, "later", text(31), 1000)
        next(iter(files(place).values())).unlink()  # fetched and deleted on the new host
        code, said = run(one, place, ["joe"])
        assert "copied 2 messages" in said
        assert gone.name in files(place)
        assert (code, "not in the old host's order: 1 message;" in said) == (1, True)
        code, said = run(one, place, ["joe"], "--final")
        assert "removed 1" in said
        assert "1 were fetched and deleted on the new host" in said
        assert gone.name not in files(place)
        assert len(files(place)) == 4
        assert list(files(place))[-1] == "later"


def test_room_between_two_is_used(place: Path, verify: Verify) -> None:
    home = box(place / "old", "joe")
    received = b"Received: from x by y; Sun, 22 Nov 2020 10:%02d:00 +0000\n"
    for number in (1, 3):
        put(home, f"m{number}", received % number + text(number), number)
    with ours(place, place / "old", "rfc1939") as one:
        assert run(one, place, ["joe"])[0] == 0
        put(home, "m2", received % 2 + text(2), 2)
        code, said = run(one, place, ["joe"])
        assert code == 0, said
        assert list(files(place)) == ["m1", "m2", "m3"]
        with ours(place, boxes(place), "qmail") as other:
            assert verify(one, other, place / "a.csv")[0] == 0


def test_cut_anywhere_and_locked_it_goes_on(place: Path, verify: Verify) -> None:
    box(place / "old", "joe", 30)

    def plan(number: int) -> Trouble:
        if number % 3 == 0:
            return Trouble(cut_after=400 + 700 * number)
        return Trouble(refuse_pass=b"-ERR [IN-USE] another session has it\r\n") if number % 3 == 1 else Trouble()

    with ours(place, place / "old", "rfc1939") as one:
        with meddler(one, lambda number: plan(number) if number < 20 else Trouble()) as (address, heard):
            code, said = run(address, place, ["joe"], "--jobs", "1")
        assert (code, "copied 30 messages" in said) == (0, True), said
        with ours(place, boxes(place), "rfc1939") as other:
            assert verify(one, other, place / "a.csv")[0] == 0
    commands = {line.split()[0] for line in heard}
    assert commands <= {b"USER", b"PASS", b"STAT", b"LIST", b"UIDL", b"RETR", b"CAPA"}


@pytest.mark.slow
def test_killed_again_and_again_no_message_is_lost_or_twice(place: Path, verify: Verify) -> None:
    for name in ("ann", "joe"):
        box(place / "old", name, 300)
    with ours(place, place / "old", "rfc1939") as one:
        program = [str(Path(sys.executable).with_name("popbox")), "migrate", "import", "--pop3", str(one)]
        program += ["--accounts", str(csv(place / "a.csv", ["ann", "joe"])), "--to", str(place / "to")]
        program += ["--domain", DOMAIN]
        kills = 0
        for allowance_s in (1.0, 1.3, 1.6, 2.0, 2.5):
            try:
                subprocess.run([*program, "--max-files", "150"], timeout=allowance_s, check=False, capture_output=True)
            except subprocess.TimeoutExpired:  # killed
                kills += 1
        assert kills >= 2
        done = subprocess.run(program, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(files(place)) == len(files(place, "ann")) == 300
        with ours(place, boxes(place), "qmail") as other:
            code, report = verify(one, other, place / "a.csv")
        assert code == 0, report["output"]
    assert all(not list((boxes(place) / name / "Maildir/tmp").iterdir()) for name in ("ann", "joe"))


def test_a_host_without_uidl_is_known_by_content(place: Path) -> None:
    home = box(place / "old", "joe", 3)
    put(home, "twin1", text(1), 50)
    put(home, "twin2", text(1), 51)

    with (
        ours(place, place / "old", "rfc1939") as one,
        meddler(one, lambda _: Trouble(unknown=b"UIDL")) as (address, _),
    ):
        code, said = run(address, place, ["joe"])
        assert (code, len(files(place))) == (0, 5), said
        assert "the old host has no UIDLs" in (place / "to/not-carried.txt").read_text()
        code, said = run(address, place, ["joe"], "--final")
        assert (code, len(files(place))) == (0, 5)
        assert "copied 0 messages" in said
        assert "removed 0" in said


def test_what_is_refused_or_silent_is_told_by_the_exit_code(place: Path) -> None:
    box(place / "old", "joe", 1)
    with ours(place, place / "old", "rfc1939") as one:
        code, said = run(one, place, ["joe", "nobody"])
        assert code == 1
        assert "lost: login nobody: the old host refuses it: -ERR [AUTH]" in said
        assert "nobody" not in (place / "to/accounts.toml").read_text()
        locked = Trouble(refuse_pass=b"-ERR [IN-USE] not now\r\n")
        with meddler(one, lambda number: locked if number else Trouble()) as (address, _):
            code, said = run(address, place, ["joe"], "--tries", "2")
        assert code == 3
        assert "not read: login joe" in said
    with pytest.raises(Exception, match="the old host") as caught:
        run(one, place, ["joe"], "--timeout", "0.5")
    assert type(caught.value).__name__ == "Unavailable"


def test_a_message_without_end_or_that_ends_the_session_is_named(place: Path) -> None:
    home = box(place / "old", "joe", 3)
    put(home, "deadly", b"A: b\n\nBOOM\n", 100)
    (home / "Maildir/new/deadly").chmod(0o644)

    def change(octets: bytes) -> bytes:
        if b"BOOM" in octets:
            raise OSError
        return octets

    with ours(place, place / "old", "rfc1939") as one, meddler(one, lambda _: Trouble(change=change)) as (address, _):
        code, said = run(address, place, ["joe"], "--timeout", "1")
    assert code == 1, said
    assert f"joe@{DOMAIN}: number 4, UIDL deadly: not copied: the session ended 3 times" in said
    assert len(files(place)) == 3


def test_on_a_home_users_keep_logging_in(place: Path, verify: Verify) -> None:
    box(place / "old", "joe", 5)
    home = place / "home"
    mailhost(home, "init", "--me", "mail.popbox.invalid")
    with ours(place, place / "old", "rfc1939") as one:
        code, said = run(one, place, ["joe"], "--home", str(home))
        assert code == 0, said
        assert PASSWORD not in (place / "to/accounts.toml").read_text()
        with served(home, place / "home.log") as other:
            code, report = verify(one, other, place / "a.csv")
    assert code == 0, report["output"]


def test_a_directory_of_an_import_of_files_is_not_taken(place: Path) -> None:
    (place / "to/state").mkdir(parents=True)
    (place / "to/state/target").write_text(f"{(place / 'to').resolve()}/popboxes\n")
    box(place / "old", "joe", 1)
    with ours(place, place / "old", "rfc1939") as one, pytest.raises(Exception, match="its mail came from files"):
        run(one, place, ["joe"])


@contextmanager
def served(home: Path, log: Path) -> Iterator[Address]:
    """Our server on a home."""
    program = [str(Path(sys.executable).with_name("mailhost")), "--home", str(home)]
    with child([*program, "serve", "pop3", "--listen", "127.0.0.1:0"], log):
        yield Address("127.0.0.1", int(wait_for(r"listening pop3 127\.0\.0\.1:(\d+)", log)[1]))


@pytest.mark.needs("root")
def test_a_full_disk_leaves_whole_messages_and_the_next_pass_goes_on(place: Path, verify: Verify) -> None:
    box(place / "old", "joe", 200)
    program = [str(Path(sys.executable).with_name("popbox")), "migrate", "import", "--accounts"]
    program += [str(csv(place / "a.csv", ["joe"])), "--to", str(place / "to"), "--domain", DOMAIN, "--pop3"]
    with ours(place, place / "old", "rfc1939") as one:
        limited = ["sh", "-c", 'ulimit -f 16 && exec "$@"', "sh", *program, str(one)]  # too little for the journal
        done = subprocess.run(limited, check=False, capture_output=True, text=True)
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"{place / 'to/state'}: File too large; what was placed stays, run it again" in done.stderr
        done = subprocess.run([*program, str(one)], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        with ours(place, boxes(place), "rfc1939") as other:
            code, report = verify(one, other, place / "a.csv")
    assert code == 0, report["output"]


@pytest.mark.parametrize("years", [[2019, 2016, 2090, 2017, 1969, 2018], [2090] * 6])
def test_dates_that_disagree_with_the_listing_do_not_move_a_message(
    place: Path, verify: Verify, years: list[int]
) -> None:
    home = box(place / "old", "joe")
    for number, year in enumerate(years):
        received = f"Received: from x by y; Sun, 22 Nov {year} 10:00:00 +0000\n".encode()
        put(home, f"m{9 - number}", received + text(number), number)
    with ours(place, place / "old", "rfc1939") as one:
        code, said = run(one, place, ["joe"])
        assert code == 0, said
        with ours(place, boxes(place), "qmail") as other:
            code, report = verify(one, other, place / "a.csv")
    assert code == 0, report["output"]
    seconds = [int(path.stat().st_mtime) for path in files(place).values()]
    assert seconds == sorted(set(seconds))
    assert seconds[-1] < time.time()


def test_without_its_journal_a_pass_knows_its_messages_and_keeps_those_of_others(place: Path) -> None:
    box(place / "old", "joe", 300)
    with ours(place, place / "old", "rfc1939") as one:
        assert run(one, place, ["joe"])[0] == 0
        (journal,) = (place / "to/state").rglob("joe.journal")
        journal.unlink()
        strange = list(files(place).values())[7]
        strange.write_bytes(b"another\n")
        code, said = run(one, place, ["joe"])
        assert code == 1
        assert "there from earlier passes 299" in said
        assert f"UIDL {strange.name}: not copied: the new host has another message new/{strange.name}" in said
        assert len(Journal(journal).records) == 299
    assert len(files(place)) == 300
    assert strange.read_bytes() == b"another\n"


def test_a_listing_with_a_gap_is_named_and_final_removes_nothing(place: Path) -> None:
    box(place / "old", "joe", 6)

    def change(octets: bytes) -> bytes:
        if octets.startswith(b"+OK 6 messages\r\n1 "):  # LIST and UIDL alike: no word of number 3
            lines = octets.split(b"\r\n")
            return b"\r\n".join(line for line in lines if not line.startswith(b"3 "))
        return octets

    with ours(place, place / "old", "rfc1939") as one, meddler(one, lambda _: Trouble(change=change)) as (address, _):
        assert run(one, place, ["joe"])[0] == 0
        code, said = run(address, place, ["joe"], "--final")
    assert code == 1
    assert f"not done: joe@{DOMAIN}: the old host lists 5 messages and no number 3" in said
    assert "removed 0" in said
    assert len(files(place)) == 6
