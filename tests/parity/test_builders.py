"""qmail-newu and qmail-newmrh against ours: the same bytes, the same words, the same exit code."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.parity.real import HOME, MARKS, fresh, privately

from mailhost.qmail.assign import NewuError, newmrh, newu

pytestmark = MARKS

ASSIGNS = 2000
LISTS = 400
OLD = b"the cdb of yesterday"


def outcome(home: Path, program: str, files: tuple[str, ...]) -> tuple[int, bytes, list[bytes | None]]:
    """Exit code, stderr and files after the real program (for the real home) or ours."""
    code, said = 0, b""
    if home == HOME:
        done = subprocess.run([HOME / "bin" / program], capture_output=True, check=False)
        code, said = done.returncode, done.stderr
    else:
        try:
            {"qmail-newu": newu, "qmail-newmrh": newmrh}[program](home)
        except NewuError as error:
            code, said = error.exit_code, error.text.encode() + b"\n"
    return code, said, [(home / file).read_bytes() if (home / file).exists() else None for file in files]


def compare(program: str, source: str, cdb: str, temporary: str, texts: list[bytes | None]) -> tuple[int, list[str]]:
    """Feed every text to both; returns how many both refused, and the differences."""
    ours = fresh("ours")
    refused, differences = 0, []
    for home in (HOME, ours):
        (home / source).parent.mkdir(exist_ok=True)
    for text in texts:
        results = []
        for home in (HOME, ours):
            (home / source).unlink(missing_ok=True)
            (home / temporary).unlink(missing_ok=True)
            (home / cdb).write_bytes(OLD)
            if text is not None:
                (home / source).write_bytes(text)
            code, said, (built, left) = outcome(home, program, (cdb, temporary))
            mode = (home / cdb).stat().st_mode
            results.append((code, said, built, left is not None, oct(mode)))
        refused += results[0][0] != 0
        if results[0] != results[1]:
            differences.append(f"{text!r}\n  real {results[0]!r}\n  ours {results[1]!r}")
    return refused, differences


FIELDS = (b"", b"u", b"popuser", b"888", b"-5", b"/var/qmail/x", b"a b", b"\xff\xc3", b"-", b"UP.per", b"=x", b"+y")
ADDRESSES = (b"", b"joe", b"JOE", b"d-com-joe", b"d-com-", b"D-com-Joe-", b"\xc3\xa9", b"a.b", b"x" * 300, b"+", b"=")


def address(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return chance.choice(ADDRESSES)
    return bytes(chance.choices(b"abcAB-.\xe9", k=chance.randrange(1, 8)))


def entry(chance: random.Random) -> bytes:
    kind = chance.choice((b"=", b"=", b"+", b"+", b"#", b" ", b"j"))
    rest = chance.choice((b"", b"", b"", b"\r", b"=joe:u:1:2:/h:::", b":"))
    return b":".join((kind + address(chance), *chance.choices(FIELDS, k=6), rest))


def assign_text(chance: random.Random) -> bytes:
    """Mostly valid files; sometimes with a bad line of each kind."""
    bad = (b"", b":x:1:2:/h:::", b"=a:b:c", b"=n\0l:u:1:2:/h:::", b"joe", b".early:u:1:2:/h:::", b"# note", b"\r")
    lines = [entry(chance) for _ in range(chance.choice((0, 1, 2, 5, 20, 20, 60)))]
    if chance.random() < 0.25:
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(bad))
    end = chance.choice((b".", b".\n", b".\n", b".\n", b".\r\n", b".x\nmore\n", b"", b"=last:u:1:2:/h:::"))
    return b"".join(line + b"\n" for line in lines) + end


def list_text(chance: random.Random) -> bytes:
    words = (
        b"Example.COM",
        b".wild.org",
        b"# c",
        b"",
        b" lead",
        b"trail \t",
        b"cr\r",
        b"#",
        b"\xe9.org",
        b"a\0b",
        b"\0",
    )
    lines = chance.choices(words, k=chance.randrange(0, 30))
    return b"\n".join(lines) + chance.choice((b"", b"\n"))


def test_q_assign_q_ucdb_q_cdb_newu_is_qmail_newu() -> None:
    chance = random.Random(1998)
    large = b"".join(entry(chance) + b"\n" for _ in range(3000)) + b".\n"
    texts = [assign_text(chance) for _ in range(ASSIGNS - 2)] + [None, large]
    files = ("users/assign", "users/cdb", "users/cdb.tmp")
    refused, differences = privately(lambda: compare("qmail-newu", *files, texts))
    print(f"{len(texts):,} users/assign compared with qmail-newu, {refused:,} of them refused by both")
    assert not differences, "\n".join(differences[:5])
    assert 200 < refused < len(texts) - 200


def test_q_mrh_newmrh_is_qmail_newmrh() -> None:
    chance = random.Random(1997)
    texts = [list_text(chance) for _ in range(LISTS - 1)] + [None]
    files = ("control/morercpthosts", "control/morercpthosts.cdb", "control/morercpthosts.tmp")
    refused, differences = privately(lambda: compare("qmail-newmrh", *files, texts))
    print(f"{len(texts):,} morercpthosts compared with qmail-newmrh, {refused:,} of them refused by both")
    assert not differences, "\n".join(differences[:5])


@pytest.mark.parametrize(
    ("program", "spoiled"),
    [
        ("qmail-newu", "users/assign"),
        ("qmail-newu", "users/cdb.tmp"),
        ("qmail-newu", "users/cdb"),
        ("qmail-newu", "users"),
        ("qmail-newmrh", "control/morercpthosts"),
        ("qmail-newmrh", "control/morercpthosts.tmp"),
        ("qmail-newmrh", "control/morercpthosts.cdb"),
        ("qmail-newmrh", "control"),
    ],
)
def test_q_assign_5_the_same_words_when_a_file_is_a_directory_or_away(program: str, spoiled: str) -> None:
    def both() -> list[tuple[int, bytes]]:
        said = []
        for home in (HOME, fresh("ours")):
            for name in ("users", "control"):
                (home / name).mkdir(exist_ok=True)
            (home / "users/assign").write_bytes(b"=joe:u:1:2:/h:::\n.\n")
            (home / "control/morercpthosts").write_bytes(b"a.b\n")
            if (home / spoiled).is_dir():
                shutil.rmtree(home / spoiled)
            else:
                (home / spoiled).unlink(missing_ok=True)
                (home / spoiled).mkdir()
            said.append(outcome(home, program, ())[:2])
        return said

    real, ours = privately(both)
    # qmail-newmrh forgets the colon before the reason of a failed rename; ours does not.
    assert ours == (real[0], real[1].replace(b".cdbis", b".cdb: is"))


def test_e_36_a_stale_cdb_tmp_of_another_mode_keeps_it_with_qmail_newu_and_not_with_ours() -> None:
    """The only difference, and intended: a world-readable cdb is what qmail-lspawn and the tools expect."""

    def modes() -> list[int]:
        found = []
        for home in (HOME, fresh("ours")):
            (home / "users").mkdir(exist_ok=True)
            (home / "users/assign").write_bytes(b".\n")
            (home / "users/cdb.tmp").write_bytes(b"")
            (home / "users/cdb.tmp").chmod(0o600)
            outcome(home, "qmail-newu", ())
            found.append((home / "users/cdb").stat().st_mode & 0o777)
        return found

    assert privately(modes) == [0o600, 0o644]
