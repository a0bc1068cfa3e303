"""Local deliveries, called directly: Maildir, mbox, programs, forwards, checks. Reports by fact id."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
import threading
from pathlib import Path

import pytest
from tests.mailhost.standin.support import Home

from mailhost.qmail.assign import Assignment
from mailhost.qmail.failure import Failure
from mailhost.standin.delivery import local, maildir, mbox
from mailhost.standin.delivery.environment import Variables, environment
from mailhost.standin.delivery.report import Outcome, Report
from mailhost.standin.queue.message_reader import Stored

ME = os.geteuid(), os.getegid()


class AssignmentCache:
    """Every local part is assigned to one box."""

    def __init__(self, box: Path, dash: bytes = b"", ext: bytes = b"", uid: int = ME[0]) -> None:
        self.owner = Assignment(b"popuser", uid, ME[1], bytes(box), dash, ext, "users/cdb", b"k")

    def find(self, _local: bytes) -> Assignment | Failure:
        return self.owner


class Bench:
    """A box and what was forwarded out of it."""

    def __init__(self, box: Path) -> None:
        self.box = box
        self.forwarded: list[tuple[bytes, tuple[bytes, ...], bytes]] = []

    def forward(self, sender: bytes, recipients: tuple[bytes, ...], head: bytes, message: Stored) -> int:
        self.forwarded.append((sender, recipients, head + b"".join(message.pieces())))
        return 42

    def deliver(
        self, text: bytes = b"Subject: x\n\nhi\n", *, sender: bytes = b"s@x", dash: bytes = b"", ext: bytes = b"",
        programs: bool = True, uid: int = ME[0],
    ) -> Report:  # fmt: skip
        with tempfile.TemporaryFile() as file:
            file.write(b"head" + text)
            file.flush()
            assignments = AssignmentCache(self.box, dash, ext, uid)
            place = local.Place(self.forward, assignments, programs)  # type: ignore[arg-type]
            return local.deliver(place, sender, b"p-Joe@D.com", Stored(file.fileno(), 4))

    def qmail(self, text: str, name: str = ".qmail", mode: int = 0o644) -> None:
        (self.box / name).write_text(text)
        (self.box / name).chmod(mode)

    def new(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.box / "Maildir/new").iterdir())]


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home.box("joe"))


def test_q_hdr_4_5_q_mdir_1_5_q_local_8_e_58_the_file_in_new(bench: Bench) -> None:
    assert bench.deliver(b"From me\nno end") == Report(Outcome.SUCCESS, b"did 1+0+0\n")
    assert bench.new() == [b"Return-Path: <s@x>\nDelivered-To: p-Joe@D.com\nFrom me\nno end"]
    (path,) = (bench.box / "Maildir/new").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"\d+\.\d+_\d+\..+", path.name)
    assert not list((bench.box / "Maildir/tmp").iterdir())


def test_q_mdir_3_names_are_unique_under_concurrency() -> None:
    names: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: names.extend(maildir.unique_name() for _ in range(2000))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 16_000


def test_q_mdir_2_a_taken_name_is_not_overwritten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter([b"taken", b"taken", b"free"])
    monkeypatch.setattr(maildir, "unique_name", lambda: next(names))
    (bench.box / "Maildir/tmp/taken").write_bytes(b"other")
    assert bench.deliver().outcome is Outcome.SUCCESS
    assert (bench.box / "Maildir/tmp/taken").read_bytes() == b"other"
    assert (bench.box / "Maildir/new/free").exists()


def test_q_mdir_4_errors(bench: Bench) -> None:
    bench.qmail("./Missing/\n")
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Unable to chdir to maildir. (#4.2.1)\n")
    bench.qmail("./Maildir/\n")
    (bench.box / "Maildir/new").rmdir()
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Temporary error on maildir delivery. (#4.3.0)\n")
    assert not list((bench.box / "Maildir/tmp").iterdir())


@pytest.mark.parametrize("line", ["./Maildir/\n", "./Mailbox\n"])
def test_a_directory_that_may_be_written_and_not_read_takes_mail(
    line: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode 0300, as qmail-local opens no directory; root may read all of them, so the open is refused here."""
    opened = os.open

    def unreadable(path: bytes, flags: int, *more: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, "no", path)
        return opened(path, flags, *more)

    bench.qmail(line)
    monkeypatch.setattr(os, "open", unreadable)
    assert bench.deliver() == Report(Outcome.SUCCESS, b"did 1+0+0\n")


def test_q_mbox_2_quoting_and_e_56_57(bench: Bench) -> None:
    bench.qmail("./Mailbox\n")
    for text in (b"From a\n>From b\n> From c\nFrom\nlast", b"x\n"):
        assert bench.deliver(text, sender=b"a b@x").outcome is Outcome.SUCCESS
    content = (bench.box / "Mailbox").read_bytes()
    lines = content.splitlines()
    assert re.fullmatch(rb"From a-b@x \w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}", lines[0])
    assert lines[1:3] == [b'Return-Path: <"a b"@x>', b"Delivered-To: p-Joe@D.com"]
    assert lines[3:9] == [b">From a", b">>From b", b"> From c", b"From", b"last", b""]
    assert content.endswith(b"x\n\n")
    bench.deliver(sender=b"")
    assert b"\nFrom MAILER-DAEMON " in (bench.box / "Mailbox").read_bytes()


def test_q_mbox_3_no_look_at_how_the_mailbox_ends(bench: Bench) -> None:
    bench.qmail("./Mailbox\n")
    (bench.box / "Mailbox").write_bytes(b"no end")
    assert bench.deliver().outcome is Outcome.SUCCESS
    assert (bench.box / "Mailbox").read_bytes().startswith(b"no endFrom s@x ")


def test_q_local_6_the_home_is_judged_before_the_loop_and_that_before_the_file(bench: Bench) -> None:
    looping = b"Delivered-To: p-Joe@D.com\n\n"
    assert b"looping" in bench.deliver(looping, dash=b"-", ext=b"gone").text
    bench.box.chmod(0o777)
    assert b"home directory is writable" in bench.deliver(looping).text


def test_q_lsp_10_the_default_delivery_is_an_mbox(bench: Bench) -> None:
    (bench.box / ".qmail").unlink()
    assert bench.deliver().outcome is Outcome.SUCCESS
    assert (bench.box / "Mailbox").exists()


def test_q_mbox_1_a_locked_file_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    with (tmp_path / "m").open("w") as held, tempfile.TemporaryFile() as file:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Exception, match="30 seconds"):
            mbox.deliver(bytes(tmp_path / "m"), b"m", b"", Stored(file.fileno(), 0), lock_s=0.2)


def test_q_mbox_4_and_e_59_dev_null_defers(bench: Bench) -> None:
    bench.qmail("/dev/null\n")
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Unable to write /dev/null: invalid argument. (#4.3.0)\n")
    (bench.box / "loop").symlink_to("loop")
    bench.qmail("./loop\n")
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Unable to open ./loop: symbolic link loop. (#4.2.1)\n")
    bench.qmail("./Mailbox/x\n")
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Unable to open ./Mailbox/x: file does not exist. (#4.2.1)\n")


def test_q_mbox_4_a_write_error_cuts_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.qmail("./Mailbox\n")
    (bench.box / "Mailbox").write_bytes(b"before\n")

    def fail(_fd: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "fsync", fail)
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Unable to write ./Mailbox: out of disk space. (#4.3.0)\n")
    assert (bench.box / "Mailbox").read_bytes() == b"before\n"


PROGRAMS = {
    0: Outcome.SUCCESS, 99: Outcome.SUCCESS, 1: Outcome.DEFERRAL, 111: Outcome.DEFERRAL, 100: Outcome.FAILURE,
    64: Outcome.FAILURE, 65: Outcome.FAILURE, 70: Outcome.FAILURE, 76: Outcome.FAILURE, 77: Outcome.FAILURE,
    78: Outcome.FAILURE, 112: Outcome.FAILURE,
}  # fmt: skip


@pytest.mark.parametrize("code", PROGRAMS)
def test_q_prog_2_and_e_49_exit_codes(bench: Bench, code: int) -> None:
    bench.qmail(f"|echo hi; exit {code}\n./Maildir/\n")
    report = bench.deliver()
    assert report.outcome is PROGRAMS[code]
    assert report.text.startswith(b"hi\n")
    assert len(bench.new()) == (1 if code == 0 else 0)


@pytest.mark.parametrize("printed", ["x", "x\\n", "x\\n\\n", "\\n\\nx", ""])
def test_q_log_9_a_failed_programs_output_is_its_report_as_it_is(bench: Bench, printed: str) -> None:
    bench.qmail(f"|printf '{printed}'; exit 100\n")
    assert bench.deliver() == Report(Outcome.FAILURE, printed.replace("\\n", "\n").encode())


def test_a_nul_ends_what_a_line_names(bench: Bench) -> None:
    bench.qmail("./Maildir\0x/\n./mbox\0y\n|echo hi >out\0z\n&a@b\0Tc@d\n")
    assert bench.deliver().text == b"did 2+1+1\nqp 42\n"
    assert len(bench.new()) == 1
    assert (bench.box / "mbox").exists()
    assert (bench.box / "out").read_bytes() == b"hi\n"
    assert bench.forwarded[0][1] == (b"a@b",)


def test_q_prog_1_the_message_alone_and_a_killed_program(bench: Bench) -> None:
    bench.qmail("|cat > out\n")
    assert bench.deliver(b"text\n") == Report(Outcome.SUCCESS, b"did 0+0+1\n")
    assert (bench.box / "out").read_bytes() == b"text\n"
    bench.qmail("|kill -9 $$\n")
    assert bench.deliver() == Report(Outcome.DEFERRAL, b"Aack, child crashed. (#4.3.0)\n")


def test_q_prog_3_and_q_dot_10_the_environment(bench: Bench) -> None:
    bench.qmail("|env > out\n", ".qmail-a-default")
    assert bench.deliver(dash=b"-", ext=b"a-B.c-d-e").outcome is Outcome.SUCCESS
    found = dict(line.split("=", 1) for line in (bench.box / "out").read_text().splitlines() if "=" in line)
    wanted = {
        "LOCAL": "p-Joe", "HOST": "D.com", "HOST2": "D", "HOST3": "D", "EXT": "a-B.c-d-e", "EXT2": "B.c-d-e",
        "EXT3": "d-e",
        "EXT4": "e", "DEFAULT": "B.c-d-e", "RECIPIENT": "p-Joe@D.com", "SENDER": "s@x", "NEWSENDER": "s@x",
        "USER": "popuser",
        "HOME": str(bench.box), "DTLINE": "Delivered-To: p-Joe@D.com", "RPLINE": "Return-Path: <s@x>",
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    assert "MAILHOST_HOME" not in found


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (b"a.b.c", [b"a.b", b"a", b"a"]), (b".test", [b""] * 3), (b".a.b", [b".a", b"", b""]), (b"d", [b"d"] * 3),
        (b"d.", [b"d"] * 3), (b"a..b", [b"a.", b"a", b"a"]), (b"", [b""] * 3),
    ],
)  # fmt: skip
def test_q_prog_3_the_labels_of_the_host(host: bytes, wanted: list[bytes]) -> None:
    of = Variables(b"u", b"/h", b"l", host, b"e", None, b"s", b"n", b"d", b"r", b"f")
    found = environment(of)
    assert [found[name] for name in (b"HOST2", b"HOST3", b"HOST4")] == wanted


def test_programs_are_off_unless_allowed(bench: Bench) -> None:
    bench.qmail("|touch ran\n")
    report = bench.deliver(programs=False)
    assert report.outcome is Outcome.DEFERRAL
    assert b"switched off" in report.text
    assert not (bench.box / "ran").exists()


def test_q_fwd_1_2_and_e_52_53_forwards_are_one_message(bench: Bench) -> None:
    bench.qmail("&a@b\n|exit 99\n&not@reached\n")
    assert bench.deliver(b"text") == Report(Outcome.SUCCESS, b"did 0+1+1\nqp 42\n")
    bench.qmail("&a@b\nc@d\n./Maildir/\n")
    bench.deliver(b"text")
    assert bench.forwarded == [
        (b"s@x", (b"a@b",), b"Delivered-To: p-Joe@D.com\ntext"),
        (b"s@x", (b"a@b", b"c@d"), b"Delivered-To: p-Joe@D.com\ntext"),
    ]
    bench.qmail("&a@b\n|exit 1\n")
    bench.deliver()
    assert len(bench.forwarded) == 2


def test_q_fwd_3_the_owner_of_a_list(bench: Bench) -> None:
    bench.qmail("&a@b\n", ".qmail-list")
    bench.qmail("", ".qmail-list-owner", 0)
    bench.deliver(dash=b"-", ext=b"list")
    (bench.box / ".qmail-list-owner-default").mkdir()
    bench.deliver(dash=b"-", ext=b"list")
    bench.deliver(dash=b"-", ext=b"list", sender=b"")
    bench.deliver(dash=b"-", ext=b"list", sender=b"#@[]")
    assert [one[0] for one in bench.forwarded] == [b"p-Joe-owner@D.com", b"p-Joe-owner-@D.com-@[]", b"", b"#@[]"]


def test_q_fwd_5_a_queue_that_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_all: object) -> int:
        raise OSError(28, "full")

    monkeypatch.setattr(bench, "forward", full)
    bench.qmail("&a@b\n")
    report = bench.deliver()
    assert report.outcome is Outcome.DEFERRAL
    assert report.text.startswith(b"Unable to forward message: qq write error or disk full (#4.3.0).")


def test_q_fwd_9_an_address_that_is_too_long_fails_for_good(bench: Bench) -> None:
    bench.qmail("&" + "a" * 999 + "@d.c\n")
    assert bench.deliver().text.startswith(b"Unable to forward message: envelope address too long for qq (#5.1.3).\n")
    assert bench.deliver().outcome is Outcome.FAILURE
    assert bench.forwarded == []
    bench.qmail("&" + "a" * 998 + "@d.c\n")
    bench.deliver()
    assert len(bench.forwarded[0][1][0]) == 1002


def test_q_local_7_e_54_e_55_loops(bench: Bench) -> None:
    looping = b"This message is looping: it already has my Delivered-To line. (#5.4.6)\n"
    mine = b"Delivered-To: p-Joe@D.com\n"
    assert bench.deliver(b"A: b\n" + mine + b"\nx") == Report(Outcome.FAILURE, looping)
    assert bench.deliver(b"A: " + b"x" * 300_000 + b"\n" + mine + b"\n").outcome is Outcome.FAILURE
    for text in (b"\n" + mine, b"A: b\n\n" + mine, mine.lower() + b"\n", b"delivered-to: p-Joe@D.com\n", mine[:-1]):
        assert bench.deliver(text).outcome is Outcome.SUCCESS, text


def test_q_local_2_3_4_and_h_15_the_home(bench: Bench) -> None:
    for mode, text in (
        (0o777, b"Uh-oh: home directory is writable. (#4.7.0)\n"),
        (0o1700, b"Home directory is sticky"),
    ):
        bench.box.chmod(mode)
        report = bench.deliver()
        assert report.outcome is Outcome.DEFERRAL
        assert report.text.startswith(text)
    bench.box.chmod(0o770)
    assert bench.deliver().outcome is Outcome.SUCCESS
    bench.box.rename(bench.box.with_name("gone"))
    assert bench.deliver().text.startswith(b"Unable to switch to ")


def test_q_local_9_and_e_51_the_first_failure_stops(bench: Bench) -> None:
    bench.qmail("./Maildir/\n|exit 1\n./Other/\n")
    assert bench.deliver().outcome is Outcome.DEFERRAL
    assert bench.deliver().outcome is Outcome.DEFERRAL
    assert len(bench.new()) == 2


def test_q_line_1_and_e_42_comments_only_is_a_delivery_to_nowhere(bench: Bench) -> None:
    bench.qmail("# a comment\n")
    assert bench.deliver() == Report(Outcome.SUCCESS, b"did 0+0+0\n")
    bench.qmail("")
    assert bench.deliver() == Report(Outcome.SUCCESS, b"did 1+0+0\n")
    assert (bench.box / "Mailbox").exists()


def test_q_line_2_q_dot_8_9_refusals(bench: Bench) -> None:
    for text, mode, wanted in (
        ("\n./Maildir/\n", 0o644, b"Uh-oh: first line of .qmail file is blank. (#4.2.1)\n"),
        ("./Maildir/\n", 0o646, b"Uh-oh: .qmail file is writable. (#4.7.0)\n"),
        ("./Maildir/\n", 0o744, b"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n"),
    ):
        bench.qmail(text, mode=mode)
        assert bench.deliver() == Report(Outcome.DEFERRAL, wanted)


def test_q_dot_6_nothing_found(bench: Bench) -> None:
    report = bench.deliver(dash=b"-", ext=b"gone")
    assert report == Report(Outcome.FAILURE, b"Sorry, no mailbox here by that name. (#5.1.1)\n")


def test_another_uid_is_not_played(bench: Bench) -> None:
    report = bench.deliver(uid=4242)
    assert report.outcome is Outcome.DEFERRAL
    assert b"not as 4242" in report.text


def test_q_lsp_13_reports_are_bounded() -> None:
    report = Report.of(Outcome.FAILURE, b"a\0b")
    assert report.text == b"a"
    long = Report.of(Outcome.FAILURE, b"x" * 5000).text
    assert len(long) == 2997
    assert long.endswith(b"\nError report too long, sorry.\n")
