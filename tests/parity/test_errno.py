"""qmail's names of errno, and which are temporary: from qmail-local itself, for every number."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.needs import program
from tests.parity.real import HOME, MAIL_USER, MARKS, fresh, own, privately

from mailhost.qmail.failure import error_text, is_temporary

pytestmark = [*MARKS, pytest.mark.needs("strace", "setpriv")]

NUMBERS = range(1, 134)
EACCES, EPERM = 13, 1  # taken for temporary where .qmail is opened, and there only (Q-DOT-7)
# strace stays root: it could not look into a program that others may only execute.
COMMAND = f"""for n in $2; do
  "$1" -qq -o /dev/null -e trace=openat -e "inject=openat:error=$n" -P "$3" \\
    setpriv --reuid {MAIL_USER} --regid {MAIL_USER} --clear-groups \\
    bin/qmail-local $4 -- popuser "$5" x '' '' d.com s@x ./Mailbox <"$5/message" 2>&1
  echo "=$?"
done"""


def qmail_local(strace: str, path: str, *options: str) -> list[tuple[int, str]]:
    """(exit code, report) of a delivery in which opening ``path`` fails, for each errno."""
    box = fresh("box")
    (box / ".qmail").write_text("./mbox\n")
    (box / "message").write_text("Subject: x\n\nbody\n")
    own(box)
    done = subprocess.run(
        ["/bin/sh", "-c", COMMAND, "sh", strace, " ".join(map(str, NUMBERS)), path, " ".join(options), str(box)],
        capture_output=True, check=True, text=True, cwd=HOME,
    )  # fmt: skip
    return [(int(code), said) for said, code in re.findall(r"((?s:.*?))=(\d+)\n", done.stdout)]


def ours(number: int) -> tuple[int, str]:
    return 111, f"Unable to open ./mbox: {error_text(number)}. (#4.2.1)\n"


def test_q_err_1_the_words_are_qmails() -> None:
    strace = program("strace")
    found = privately(lambda: qmail_local(strace, "./mbox"))
    assert found == [ours(number) for number in NUMBERS]
    assert sum("unknown error" not in said for _, said in found) == 86


def test_q_err_2_q_dot_7_what_is_temporary_is_what_qmail_waits_for() -> None:
    strace = program("strace")
    found = privately(lambda: qmail_local(strace, ".qmail", "-n"))
    waits = {number for number, (code, _) in zip(NUMBERS, found, strict=True) if code == 111}
    assert waits == {number for number in NUMBERS if is_temporary(number)} | {EACCES, EPERM}
