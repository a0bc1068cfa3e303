"""qmail-local -n against ours: which .qmail file, which instructions, which refusal."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parity.real import HOME, MAIL_USER, MARKS, fresh, own, privately

from mailhost.qmail.asuser import as_user
from mailhost.qmail.bulk.dryrun import says
from mailhost.qmail.delivery import Here
from mailhost.qmail.lookup import CDB_FILE, Assignment

pytestmark = MARKS

TREES = 250
QUERIES = 10

Answer = tuple[int, bytes, bytes]  # exit code, stdout, stderr


@dataclass(frozen=True)
class Query:
    """The arguments that qmail-lspawn would give to qmail-local."""

    home: bytes
    dash: bytes
    ext: bytes
    default: bytes


def real(queries: list[Query], work: Path) -> list[Answer]:
    """All queries through one shell, because starting programs one by one from here would take most of the time."""
    script = []
    for number, query in enumerate(queries):
        arguments = (b"popuser", query.home, b"local", query.dash, query.ext, b"d.com", b"s@x", query.default)
        words = b" ".join(b"'%s'" % word for word in arguments)
        script.append(b"bin/qmail-local -n -- %s >'%b/out%d' 2>'%b/err%d'; echo $?\n" % (
            words, bytes(work), number, bytes(work), number))  # fmt: skip
    done = subprocess.run(
        ["/bin/sh", "-s"], input=b"".join(script), capture_output=True, check=True, cwd=HOME,
        user=MAIL_USER, group=MAIL_USER, extra_groups=[],
    )  # fmt: skip
    said = [[(work / f"{name}{number}").read_bytes() for name in ("out", "err")] for number in range(len(queries))]
    return [(int(code), out, err) for code, (out, err) in zip(done.stdout.split(), said, strict=True)]


def ours(query: Query) -> Answer:
    """The same by our rules."""
    who = Assignment(b"popuser", MAIL_USER, MAIL_USER, query.home, query.dash, query.ext, CDB_FILE, b"")
    said = says(Here(), who, query.default)
    assert said is not None
    return said.code, said.out, said.err


EXTS = (
    "",
    "x",
    "a-b",
    "a-B.c",
    "a-",
    "-lists",
    "y",
    "default",
    "a-default",
    "..",
    "a/b",
    "a:b",
    "Foo--X",
    ".",
    "-",
    "é",
)
LINES = ("./Maildir/", "./Maildir", "./Mailbox", "/abs/",
         "&a@b", "a@b", "& a", "&", "# c", "", " ", "\t", "|cat", "| cat ",
         "+list", "+listx", "+", " ./Maildir/", "./Maildir/\r", "./Maildir/ \t",
         "~x", "Maildir/", "./a\0b/", "\0x", ".",
         "/", "./é/", "#", "*", "/dev/null", "./fifo", "./loop", "&a@b\0c", "joe", "&joe", "x" * 1100 + "@d.com",
         "./" + "y" * 300, "|echo \0x", "..", "\0", "#\0x", "./.mbox")  # fmt: skip
DEFAULTS = ("./Mailbox", "./Maildir/", "", "|x\n&y", "#", "./a\n./b/\n")


def plant(chance: random.Random, home: Path) -> None:
    """A box with some of the files that its addresses may use."""
    names = [".qmail", ".qmaildefault", ".qmail-default", ".qmail-x", ".qmail-a-b", ".qmail-a-default",
             ".qmail-a-b:c", ".qmaily", ".qmail-", ".qmail-lists", ".qmail-a:b", ".qmail-foo--default", ".qmail:",
             ".qmail-::"]  # fmt: skip
    for name in chance.sample(names, chance.randrange(0, 7)):
        path = home / name
        kind = chance.random()
        if kind < 0.06:
            path.mkdir()
        elif kind < 0.1:
            path.symlink_to(chance.choice((name, "nowhere", ".qmail")))
        elif kind < 0.12:
            os.mkfifo(path)
        else:
            lines = chance.choices(LINES, k=chance.choice((0, 1, 1, 2, 3, 5)))
            path.write_bytes("\n".join(lines).encode() + chance.choice((b"", b"\n", b"\n")))
            path.chmod(chance.choice((0o600, 0o600, 0o644, 0o660, 0o602, 0o700, 0o000, 0o400)))


def ask(chance: random.Random, home: Path) -> Query:
    exts = [*EXTS, "".join(chance.choices("ab-.AB", k=5)), "x" * 300]
    place = os.fsencode(home)
    if chance.random() < 0.03:
        place = chance.choice((b"relative", b"", place + b"/none", place + b"/.qmail", b"/root"))
    default = DEFAULTS[chance.choice((0, 0, 0, 0, 1, 2, 3, 4, 5))]
    return Query(place, chance.choice((b"", b"-", b"-", b"=")), chance.choice(exts).encode(), default.encode())


def compare() -> tuple[dict[int, int], list[str]]:
    """Counts of the real program's exit codes, and the differences."""
    chance = random.Random(822)
    codes: dict[int, int] = {}
    differences = []
    work = fresh("work")
    own(work)
    for _ in range(TREES):
        home = fresh("box")
        plant(chance, home)
        own(home)
        home.chmod(chance.choice((0o700, 0o700, 0o700, 0o755, 0o770, 0o500, 0o100, 0o777, 0o1700, 0o600)))
        queries = [ask(chance, home) for _ in range(QUERIES)]
        answers = as_user(MAIL_USER, MAIL_USER, lambda queries=queries: [ours(query) for query in queries])
        for query, answer, truth in zip(queries, answers, real(queries, work), strict=True):
            codes[truth[0]] = codes.get(truth[0], 0) + 1
            if truth != answer:
                listing = subprocess.run(["ls", "-laR", home], capture_output=True, check=False).stdout.decode()
                differences.append(f"{query}\n  real {truth}\n  ours {answer}\n{listing}")
        home.chmod(0o700)
        shutil.rmtree(home)
    return codes, differences


@pytest.mark.slow
def test_q_local_q_dot_q_line_qmail_local_n_says_what_our_rules_say() -> None:
    codes, differences = privately(compare)
    print(f"{TREES * QUERIES:,} deliveries compared with qmail-local -n, by exit code: {dict(sorted(codes.items()))}")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:4])
    assert set(codes) == {0, 100, 111}
