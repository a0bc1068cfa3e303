"""Who gets a local part: the real qmail-lspawn, qmail-getpw and users/cdb compared with our lookups."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from tests.parity import lspawn
from tests.parity.real import HOME, MARKS, fresh, mount, privately

from mailhost.qmail.assign import locate, split
from mailhost.qmail.cdb.writer import build
from mailhost.qmail.failure import Failure

pytestmark = MARKS

TREES = 40
ADDRESSES = 60
DAMAGED = 60
HOST = b"any.example"

# name, uid, the home's owner (None: no such home); the names meet the generated local parts.
ACCOUNTS = (
    ("a", 5001, 5001), ("a-b", 5002, 5002), ("ab", 0, 0), ("b", 5003, None), ("b-a", 5004, 1),
    ("n" * 31, 5005, 5005), ("m" * 32, 5006, 5006), ("alias", 7790, 7790),
)  # fmt: skip


def accounts() -> None:
    """Our own /etc/passwd, only in this namespace."""
    lines = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("alias:")]
    homes = fresh("homes")
    for name, uid, owner in ACCOUNTS:
        home = HOME / "alias" if name == "alias" else homes / name
        if owner is not None and name != "alias":
            home.mkdir()
            os.chown(home, owner, owner)
        lines.append(f"{name}:x:{uid}:{uid}::{home}:/bin/false")
    private = homes / "passwd"
    private.write_text("\n".join(lines) + "\n")
    mount("--bind", str(private), "/etc/passwd")


def part(chance: random.Random) -> str:
    return "".join(chance.choices("abAB-.é", weights=(4, 3, 2, 1, 4, 1, 1), k=chance.randrange(0, 7)))


def entry(chance: random.Random) -> str:
    uid = chance.choice(("888", "888", "888", "5000", "888x", "0", "x", " 5", "-1", "4294968184", "4294967295"))
    gid = chance.choice(("888", "888", "0", "", "12"))
    kind, dash, ext = chance.choice("==++j"), chance.choice(("", "-", "=")), chance.choice(("", "x-", "X"))
    return f"{kind}{part(chance)}:user {part(chance)}:{uid}:{gid}:/h/{part(chance)}:{dash}:{ext}:\n"


def expected(address: bytes, default: bytes) -> bytes:
    """By our rules: what the printer in place of qmail-local would print, and how qmail-lspawn reports it."""
    parts = split(address)
    if isinstance(parts, Failure):
        return report(parts)
    local, host = parts
    if not local:
        return b"K"
    who = locate(HOME, local)
    if isinstance(who, Failure) or who.failure is not None:
        return report(who if isinstance(who, Failure) else who.failure)
    ids = [b"%d" % number for number in (who.uid, who.gid, who.gid)]
    words = [b"--", who.user, who.home, local, who.dash, who.ext, host, b"s@x.org", default, *ids]
    return b"K" + b"".join(word + b"\x1f" for word in words)


def report(failure: Failure | None) -> bytes:
    assert failure is not None
    return (b"D" if failure.permanent else b"Z") + os.fsencode(failure.text) + b"\n"


def addresses(chance: random.Random, count: int) -> list[bytes]:
    special = [b"noat", b"", b"@" + HOST, b"a@b@" + HOST, b"n" * 31 + b"-x@h", b"m" * 32 + b"@h", b"-@h", b"root@h"]
    made = [f"{part(chance)}{chance.choice(('', '-', '-'))}{part(chance)}".encode() + b"@" + HOST for _ in range(count)]
    return chance.sample(special, 4) + made


def compare(chance: random.Random, damaged: bool) -> tuple[dict[str, int], list[str]]:
    """Counts of the real program's reports by kind, and the differences."""
    kinds: dict[str, int] = {}
    differences = []
    accounts()
    lspawn.put_message()
    lspawn.print_instead_of_delivering()
    for _ in range(DAMAGED if damaged else TREES):
        text = "".join(entry(chance) for _ in range(chance.choice((0, 3, 20, 60)))) + ".\n"
        (HOME / "users/assign").write_text(text)
        if (HOME / "users/cdb").is_dir():
            (HOME / "users/cdb").rmdir()
        subprocess.run([HOME / "bin/qmail-newu"], check=True)
        if damaged:
            spoil(chance, HOME / "users/cdb")
        asked = addresses(chance, 10 if damaged else ADDRESSES)
        for address, truth in zip(asked, lspawn.deliver(asked, b"./Def"), strict=True):
            answer = expected(address, b"./Def")
            kind = truth[:1].decode() if truth[:3] != b"K--" else f"K {truth.split(bytes((31,)))[1][:5].decode()}"
            kinds[kind] = kinds.get(kind, 0) + 1
            if truth != answer:
                differences.append(f"{address!r}\n  real {truth!r}\n  ours {answer!r}\n{text}")
    return kinds, differences


def spoil(chance: random.Random, cdb: Path) -> None:
    """Truncate the file, change some octets of its tables, or remove it."""
    content = bytearray(cdb.read_bytes())
    cdb.unlink()
    way = chance.random()
    if way < 0.1:
        return
    if way < 0.15:
        cdb.mkdir()
        return
    if way < 0.6:
        content = content[: chance.randrange(len(content))]
    else:
        for _ in range(200):
            content[chance.randrange(len(content))] = chance.choice((0, 1, 255, chance.randrange(256)))
    cdb.write_bytes(content)


def test_q_lsp_q_getpw_every_look_up_is_qmail_lspawns() -> None:
    kinds, differences = privately(lambda: compare(random.Random(103), damaged=False))
    print(f"{sum(kinds.values()):,} look-ups compared with qmail-lspawn: {dict(sorted(kinds.items()))}")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:3])
    assert set(kinds) >= {"D", "Z", "K", "K alias", "K a", "K a-b", "K user "}


def test_e_32_q_lsp_8_damaged_cdbs_are_met_alike() -> None:
    kinds, differences = privately(lambda: compare(random.Random(105), damaged=True))
    print(f"{sum(kinds.values()):,} look-ups in damaged users/cdb compared with qmail-lspawn")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:3])
    assert kinds["Z"] > 100


def test_q_lsp_12_records_with_too_few_fields() -> None:
    whole = b"u\x001\x002\0/h\0-\0ext\0more"

    def both() -> list[tuple[bytes, bytes]]:
        lspawn.put_message()
        lspawn.print_instead_of_delivering()
        pairs = []
        for length in range(len(whole) + 1):
            records = [(b"!joe\0", whole[:length]), (b"!w-", whole[:length]), (b"", b"-")]
            (HOME / "users/cdb").write_bytes(build(records))
            asked = [b"joe@x", b"w-Y@x"]
            pairs += zip(lspawn.deliver(asked), (expected(address, b"./Mailbox") for address in asked), strict=True)
        return pairs

    pairs = privately(both)
    assert [real for real, _ in pairs] == [ours for _, ours in pairs]
    assert b"ZInternal qmail-lspawn bug.\n" in dict(pairs)
