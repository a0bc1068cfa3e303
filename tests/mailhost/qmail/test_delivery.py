"""The failures of a delivery, without delivering: Q-MDIR-4, Q-MBOX-1, Q-LSP-11; and reading as another user."""

from __future__ import annotations

import errno
import os

import pytest
from tests.mailhost.qmail.support import GID, UID, Home

from mailhost.qmail.asuser import as_user
from mailhost.qmail.delivery import BAD_MAILDIR, NO_MAILDIR, Inspection, inspect
from mailhost.qmail.dotqmail import NO_MAILBOX, Kind
from mailhost.qmail.failure import Failure, error_text, is_temporary
from mailhost.qmail.lookup import Assignment

as_root = pytest.mark.needs("root")  # who can become another user


def owner(home: bytes, dash: bytes = b"", ext: bytes = b"") -> Assignment:
    return Assignment(b"popuser", UID, GID, home, dash, ext, "users/cdb", b"joe")


def look(host: Home, dot_qmail: str | None, maildir: bool = False, ext: bytes = b"", dash: bytes = b"") -> Inspection:
    box = host.box("joe", dot_qmail, maildir)
    return inspect(owner(os.fsencode(box), dash, ext))


def test_a_maildir_delivery(host: Home) -> None:
    result = look(host, "./Maildir/\n", maildir=True)
    assert result.failure is None
    assert [(line.kind, line.argument) for line in result.instructions] == [(Kind.MAILDIR, b"./Maildir/")]


def test_h_34_q_mdir_4_a_missing_maildir_defers(host: Home) -> None:
    assert look(host, "./Maildir/\n").failure == NO_MAILDIR


@pytest.mark.parametrize(("part", "failure"), [("tmp", BAD_MAILDIR), ("new", BAD_MAILDIR), ("cur", None)])
def test_q_mdir_4_tmp_and_new_are_needed_and_cur_is_not(host: Home, part: str, failure: Failure | None) -> None:
    box = host.box("joe", "./Maildir/\n", maildir=True)
    (box / "Maildir" / part).rmdir()
    assert inspect(owner(os.fsencode(box))).failure == failure


def test_e_46_q_line_5_a_maildir_without_its_slash_defers(host: Home) -> None:
    result = look(host, "./Maildir\n", maildir=True)
    assert result.failure == Failure(permanent=False, text="Unable to open ./Maildir: is a directory. (#4.2.1)")


@pytest.mark.parametrize(
    ("line", "reason"),
    [("./Mailbox", None), ("./none/Mailbox", "file does not exist"), ("/dev/null/x", "not a directory")],
)
def test_q_mbox_1_an_mbox_is_made_where_it_can_be(host: Home, line: str, reason: str | None) -> None:
    failure = look(host, f"{line}\n").failure
    text = f"Unable to open {line}: {reason}. (#4.2.1)"
    assert failure == (None if reason is None else Failure(permanent=False, text=text))
    assert not (host.path / "box/joe/Mailbox").exists()


def test_e_59_what_cannot_be_synced_defers(host: Home) -> None:
    text = "Unable to write /dev/null: invalid argument. (#4.3.0)"
    assert look(host, "/dev/null\n").failure == Failure(permanent=False, text=text)
    fifo = host.path / "box/fifo"
    os.mkfifo(fifo)
    Home.own(fifo)
    waits = Failure(permanent=False, text=f"Unable to open {fifo}: device not configured. (#4.2.1)")
    assert look(host, f"{fifo}\n").failure == waits
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    read = Failure(permanent=False, text=f"Unable to write {fifo}: invalid argument. (#4.3.0)")
    assert look(host, f"{fifo}\n").failure == read
    os.close(reader)


@as_root
def test_files_are_tried_as_the_user_of_the_entry(host: Home) -> None:
    box = host.box("joe", "./Maildir/\n./Mailbox\n", maildir=True)
    os.chown(box, 0, 0)
    box.chmod(0o755)
    os.chown(box / "Maildir/new", 0, 0)
    result = inspect(owner(os.fsencode(box)))
    denied = Failure(permanent=False, text="Unable to open ./Mailbox: access denied. (#4.2.1)")
    assert [line.failure for line in result.instructions] == [BAD_MAILDIR, denied]
    (box / "Maildir").chmod(0)
    assert inspect(owner(os.fsencode(box))).failure == NO_MAILDIR


@as_root
def test_h_15_a_home_of_root_that_nobody_may_enter(host: Home) -> None:
    box = host.box("joe", "./Maildir/\n", maildir=True)
    os.chown(box, 0, 0)
    text = f"Unable to switch to {box}: access denied. (#4.3.0)"
    assert inspect(owner(os.fsencode(box))).failure == Failure(permanent=False, text=text)


def test_no_file_of_that_name(host: Home) -> None:
    assert look(host, "./Maildir/\n", dash=b"-", ext=b"x") == Inspection(NO_MAILBOX)


def test_a_failing_line_hides_what_follows_it_and_keeps_what_precedes(host: Home) -> None:
    result = look(host, "&a@b\n+list\n|true\n&c@d\n")
    assert [line.kind for line in result.instructions] == [Kind.FORWARD, Kind.PROGRAM]
    assert result.failure is not None


@as_root
def test_as_user_sees_one_group_and_hands_exceptions_back() -> None:
    assert as_user(888, 889, lambda: (os.getuid(), os.getgid(), os.getgroups())) == (888, 889, [889])
    with pytest.raises(PermissionError):
        as_user(888, 888, lambda: os.listdir("/root"))
    with pytest.raises(OSError, match="could not become uid"):
        as_user((1 << 32) - 1, 0, lambda: None)
    assert os.getuid() == 0


def test_names_of_errors() -> None:
    assert error_text(None) == "unknown error"
    assert error_text(2) == "file does not exist"
    assert is_temporary(28)
    assert not is_temporary(2)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ELOOP, "symbolic link loop"), (errno.EINVAL, "invalid argument"), (errno.ENXIO, "device not configured"),
        (errno.EDQUOT, "disk quota exceeded"), (errno.EFBIG, "file too big"), (errno.ESTALE, "stale NFS file handle"),
        (errno.EBADE, "unknown error"),
    ],
)  # fmt: skip
def test_q_err_1_qmails_own_words(number: int, words: str) -> None:
    assert error_text(number) == words
