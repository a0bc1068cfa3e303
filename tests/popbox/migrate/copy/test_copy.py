"""Copying: names, dates and order stay; two passes; what a kill leaves; what goes wrong is told and never half done."""

from __future__ import annotations

import io
import os
import re
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.popbox.migrate.oldhosts import HOSTS, LONG_AGO, maildir, message, tree_of

from popbox.cli.migrate import migrate
from popbox.errors import PopboxError
from popbox.migrate.copy import batch as copy_batch
from popbox.migrate.copy import maildir as copy_target
from popbox.migrate.copy.journal import Journal, Record
from popbox.migrate.copy.limits import Limit, octets
from popbox.migrate.copy.maildir import Staged, Target
from popbox.migrate.copy.progress import Meter
from popbox.migrate.oldhost.stores import Contents, contents

OLD_JOE = "var/qmail/popboxes/domain-com/joe/Maildir"
NEW_JOE = "popboxes/domain-com/joe/Maildir"


def run(old: Path, new: Path, *options: str) -> Result:
    """One pass."""
    return CliRunner().invoke(migrate, ["import", str(old), "--to", str(new), *options], standalone_mode=False)


def passed(old: Path, new: Path, *options: str) -> str:
    """One pass in which everything went well; returns what it said."""
    result = run(old, new, *options)
    assert result.return_value == 0, (result.output, result.exception)
    return result.output


def same_mail(old: Path, new: Path) -> bool:
    """Two Maildirs with the same names in new and cur, the same octets, the same dates to the nanosecond."""
    return {k: v[:2] for k, v in tree_of(old).items()} == {k: v[:2] for k, v in tree_of(new).items()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The HOWTO's host with 12 messages in each of two boxes."""
    return HOSTS["howto"](tmp_path / "old", 12)


def test_a_pass_copies_everything_and_a_second_one_nothing(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert "copied 24 messages" in passed(old, new)
    assert same_mail(old / OLD_JOE, new / NEW_JOE)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (new / NEW_JOE).glob("*/*"))
    before = tree_of(new / "popboxes")
    said = passed(old, new)
    assert "copied 0 messages" in said
    assert "there from earlier passes 24" in said
    assert tree_of(new / "popboxes") == before


def test_mail_that_comes_between_the_passes(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    passed(old, new)
    box, here = old / OLD_JOE, new / NEW_JOE
    seen = box / f"new/{LONG_AGO - 2}.2.old.example.net"
    seen.rename(box / f"cur/{seen.name}:2,S")
    (box / f"new/{LONG_AGO - 4}.4.old.example.net").unlink()
    message(box, f"{LONG_AGO}.99.old.example.net", 99)
    arrived = message(here, "1700000000.1.new.example.net", 500)
    (here / f"cur/{LONG_AGO - 1}.1.old.example.net:2,S").unlink()  # fetched and deleted on the new host
    assert "copied 1 message" in passed(old, new)
    assert (here / f"new/{LONG_AGO - 2}.2.old.example.net").exists(), "only the final pass moves"
    assert (here / f"new/{LONG_AGO - 4}.4.old.example.net").exists(), "only the final pass removes"
    said = passed(old, new, "--final")
    assert "moved 1; removed 1" in said
    assert "1 were fetched and deleted on the new host" in said
    assert arrived.exists()
    (box / f"cur/{LONG_AGO - 1}.1.old.example.net:2,S").unlink()
    arrived.unlink()
    assert same_mail(box, here)
    assert "moved 0; removed 0" in passed(old, new, "--final")


def test_the_final_pass_takes_nothing_for_deleted_that_it_could_not_list(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    passed(old, new)
    (old / OLD_JOE / "cur").rename(old / OLD_JOE / "curious")
    assert "removed 0" in passed(old, new, "--final")
    (old / OLD_JOE).rename(old / "gone")
    assert "removed 0" in passed(old, new, "--final")
    assert len(list((new / NEW_JOE).glob("*/*"))) == 12


def test_a_message_that_the_new_host_has_under_that_name_is_kept(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    stranger = maildir(new / NEW_JOE, 0) / f"new/{LONG_AGO}.0.old.example.net"
    stranger.write_bytes(b"another\n")
    twin = maildir(new / NEW_JOE, 0) / f"cur/{LONG_AGO - 2}.2.old.example.net:2,"
    twin.write_bytes((old / OLD_JOE / f"new/{LONG_AGO - 2}.2.old.example.net").read_bytes())
    result = run(old, new)
    assert result.return_value == 1
    assert f"the new host has another message of that name: new/{stranger.name}; not copied" in result.output
    assert stranger.read_bytes() == b"another\n"
    assert [path.name for path in (new / NEW_JOE).glob(f"*/{LONG_AGO - 2}.*")] == [twin.name], "it is there: not twice"


def test_a_client_of_the_new_host_that_moved_a_message_keeps_it_moved(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    passed(old, new)
    name = f"{LONG_AGO}.0.old.example.net"
    (new / NEW_JOE / f"new/{name}").rename(new / NEW_JOE / f"cur/{name}:2,")
    (old / OLD_JOE / f"new/{name}").rename(old / OLD_JOE / f"cur/{name}:2,S")
    assert "copied 0 messages" in passed(old, new, "--final")
    assert (new / NEW_JOE / f"cur/{name}:2,").exists()
    (old / OLD_JOE / f"cur/{name}:2,S").unlink()
    assert "removed 1" in passed(old, new, "--final")
    assert not (new / NEW_JOE / f"cur/{name}:2,").exists()


def test_two_messages_of_one_name_both_come(old: Path, tmp_path: Path) -> None:
    twin = message(old / OLD_JOE, f"{LONG_AGO}.0.old.example.net", 77, seen=True)
    passed(old, tmp_path / "new")
    assert same_mail(old / OLD_JOE, tmp_path / "new" / NEW_JOE)
    twin.unlink()
    assert "removed 1" in passed(old, tmp_path / "new", "--final")
    assert same_mail(old / OLD_JOE, tmp_path / "new" / NEW_JOE)


@pytest.mark.slow
@pytest.mark.parametrize("boxes", ["howto", "system"])
def test_killed_at_any_moment_and_run_again_it_gives_the_same_tree(boxes: str, tmp_path: Path) -> None:
    """Each run is killed a little later than the one before, until one comes to its end."""
    old = HOSTS[boxes](tmp_path / "old", 40)
    whole, new = tmp_path / "whole", tmp_path / "new"
    began = time.monotonic()
    assert os.waitpid(forked(old, whole), 0)[1] == 0
    step_s = (time.monotonic() - began) / 20
    kills, wait_s = 0, 0.0
    for _ in range(200):
        child = forked(old, new)
        began = time.monotonic()
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and not (new / "popboxes").exists():
            assert time.monotonic() < began + 60
            time.sleep(0.005)
        if not ended[0]:
            time.sleep(wait_s)
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
        if ended[1] == 0:
            break  # it came to its end before
        assert ended[1] == signal.SIGKILL
        kills, wait_s = kills + 1, wait_s + step_s
        for part in ("new", "cur"):
            for path in (new / "popboxes").rglob(f"{part}/*"):
                assert path.read_bytes() == (whole / path.relative_to(new)).read_bytes(), "half a message"
    assert kills >= 3
    assert tree_of(new / "popboxes") == tree_of(whole / "popboxes")
    assert "copied 0" in passed(old, new, "--final")
    assert tree_of(new / "popboxes") == tree_of(whole / "popboxes")


def forked(old: Path, new: Path) -> int:
    """The pid of a child that makes one pass and takes a millisecond more for each change of the disk."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        copy_batch.MOST_MESSAGES = 7
        for name in ("link", "unlink", "fsync", "utime"):
            setattr(copy_target.os, name, slowed(getattr(copy_target.os, name)))
        done = run(old, new)
        if done.exception is None:
            code = done.return_value
        else:
            traceback.print_exception(done.exception)
    finally:
        os._exit(code)


def slowed(plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        time.sleep(0.001)
        return plain(*args, **named)

    return call


def test_octets_that_read_back_differently_stop_the_import(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.pread
    monkeypatch.setattr(
        copy_target.os, "pread", lambda file, n, at: plain(file, n, at).replace(b"message 3", b"message 4")
    )
    with pytest.raises(PopboxError, match=r"octets read back are not the \d+ written"):
        raise run(old, tmp_path / "new").exception or AssertionError("nothing was noticed")
    monkeypatch.undo()
    assert [path for path in (tmp_path / "new/popboxes").rglob("*/*") if path.is_file()] == []
    assert "copied 24" in passed(old, tmp_path / "new")


def test_a_message_that_changes_while_it_is_read_waits_for_the_next_pass(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Staged.write
    monkeypatch.setattr(
        Staged, "write", lambda self, text: plain(self, text.replace(b"message 3\n", b"message 3 and\n"))
    )
    assert "1 were moved, fetched or written to during the pass: the next pass copies them" in passed(
        old, tmp_path / "new"
    )
    final = run(old, tmp_path / "new", "--final")
    assert final.return_value == 1
    assert re.search(r"not done: joe@domain.com: /\S+: \d+ octets came, \d+ were announced", final.output)
    monkeypatch.undo()
    assert "copied 1 message" in passed(old, tmp_path / "new")
    assert same_mail(old / OLD_JOE, tmp_path / "new" / NEW_JOE)


def test_a_message_that_is_fetched_before_it_is_read(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(*what: Any) -> Contents:
        there = contents(*what)
        for one in there.messages[:1]:
            (old / os.fsdecode(one.path).lstrip("/")).unlink(missing_ok=True)
        return there

    monkeypatch.setattr("popbox.migrate.copy.run.contents", listed)
    assert "2 were moved, fetched or written to during the pass" in passed(old, tmp_path / "new")
    final = run(old, tmp_path / "another", "--final")
    assert final.return_value == 1
    assert final.output.count("has vanished") == 2


def test_a_full_disk_is_noticed_before_anything_is_copied(old: Path, tmp_path: Path) -> None:
    with (old / OLD_JOE / "new/1.large").open("wb") as file:
        file.truncate(1 << 42)
    result = run(old, tmp_path / "new")
    assert "are needed for 25 messages" in str(result.exception)
    assert list((tmp_path / "new").rglob("cur/*")) == []


def test_two_imports_into_one_place_and_a_place_that_changes(old: Path, tmp_path: Path) -> None:
    from popbox.migrate.copy.destination import Place

    lock = Place(tmp_path / "new").open()
    assert "another import is at work there" in str(run(old, tmp_path / "new").exception)
    os.close(lock)
    (tmp_path / "home").mkdir()
    moved = run(old, tmp_path / "new", "--home", str(tmp_path / "home"))
    assert f"its mail went to {tmp_path}/new/popboxes so far" in str(moved.exception)


def test_the_journal_comes_back_and_a_torn_line_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "state/journal"
    journal = Journal(path)
    names = [b"1.plain", b"2.with space\n\xff%", b"3.moved", b"4.removed"]
    journal.write_taken([Record(name, 5, "aa", 7, b"new/" + name) for name in names])
    assert len(Journal(path).unsettled()) == 4
    journal.write_placed()
    journal.write_moved(b"3.moved", b"cur/3.moved:2,S")
    journal.write_removed(b"4.removed")
    whole = path.read_bytes()
    for cut in range(1, 30):
        path.write_bytes(whole + b"T 5.torn 5 aa 7 new/5.torn\n"[: min(cut, 26)])
        again = Journal(path)
        assert again.records == journal.records
        assert path.read_bytes() == whole
    path.write_bytes(whole + b"X nonsense\n")
    with pytest.raises(PopboxError, match=r"journal:8: no line of a journal \(a newer popbox may have written it\)"):
        Journal(path)


def test_placing_never_overwrites(tmp_path: Path) -> None:
    target = Target(tmp_path / "Maildir", tmp_path / "journal", None)
    with copy_batch.Batch() as batch:
        staged = batch.stage(target)
        staged.write(b"ours\n")
        (tmp_path / "Maildir/new/1.x").write_bytes(b"delivered in between\n")
        batch.add(staged, Record(b"1.x", 5, staged.sha256, 7, b"new/1.x"))
    assert [record.key for _, record in batch.conflicts] == [b"1.x"]
    assert (tmp_path / "Maildir/new/1.x").read_bytes() == b"delivered in between\n"
    assert os.listdir(tmp_path / "Maildir/tmp") == []


def test_what_gets_a_place_was_synced_read_back_and_noted_before(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the calls to the kernel: batches overlap, and no message may get ahead of its own sync."""
    done: list[tuple[str, int]] = []
    plain_fsync, plain_pread, plain_link = os.fsync, os.pread, os.link

    def fsync(file: int) -> None:
        plain_fsync(file)
        done.append(("sync", os.fstat(file).st_ino))

    def pread(file: int, octets: int, at: int) -> bytes:
        done.append(("read", os.fstat(file).st_ino))
        return plain_pread(file, octets, at)

    def link(name: bytes, new: bytes, **named: Any) -> None:
        done.append(("link", os.stat(name, dir_fd=named["src_dir_fd"]).st_ino))
        plain_link(name, new, **named)

    monkeypatch.setattr(copy_batch, "MOST_MESSAGES", 5)
    for name, call in (("fsync", fsync), ("pread", pread), ("link", link)):
        monkeypatch.setattr(os, name, call)
    passed(old, tmp_path / "new")
    monkeypatch.undo()
    boxes = {path.parent: path for path in (tmp_path / "new/popboxes").rglob("new")}
    assert len(boxes) == 2
    for maildir_, new in boxes.items():
        journal = tmp_path / "new/state/domain-com" / f"{maildir_.parent.name}.journal"
        for path in [*new.iterdir(), *(maildir_ / "cur").iterdir()]:
            linked = done.index(("link", path.stat().st_ino))
            before, after = done[:linked], done[linked:]
            assert before.index(("sync", path.stat().st_ino)) < before.index(("read", path.stat().st_ino))
            for above in (maildir_, maildir_.parent, journal, journal.parent):
                assert ("sync", above.stat().st_ino) in before, above
            assert ("sync", path.parent.stat().st_ino) in after


def test_limits_hold_the_average(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    limit = Limit(1_000, lambda: now[0], sleep)
    for _ in range(50):
        limit.take(100)
    assert 4.8 <= slept[0] <= 5.0, "5,000 units at 1,000 a second"
    now[0] += 60
    limit.take(1_000)
    assert slept[0] <= 6.0, "an idle minute is no credit beyond a tenth of a second"
    assert slept[0] >= 5.6
    assert [octets(text) for text in ("500", "500K", "1.5M", "2g")] == [500, 512_000, 1_572_864, 2 << 30]
    for text in ("", "0", "fast", "-1", "5T"):
        with pytest.raises(ValueError, match="is not a rate"):
            octets(text)


def test_a_limited_import_takes_its_time(old: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    passed(old, tmp_path / "new", "--max-files", "20")
    assert time.monotonic() - began > 1.0, "24 messages at 20 a second"


def test_progress_says_rate_and_time_left() -> None:
    now, out = [0.0], io.StringIO()
    with Meter(100, 100_000, out, lambda: now[0]) as meter:
        meter.known_already(20, 20_000)
        for _ in range(40):
            now[0] += 0.25
            meter.done(1_000)
    assert out.getvalue() == (
        "40 of 100 messages, 40%, 4 messages/s, 3.9 KiB/s, 0:15 left\n"
        "60 of 100 messages, 60%, 4 messages/s, 3.9 KiB/s, 0:10 left\n"
    )
