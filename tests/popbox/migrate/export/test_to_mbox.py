"""An export to mbox: octets, order, dates, flags and UIDLs; what the format cannot hold is named."""

from __future__ import annotations

import os
import random
import shutil
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from tests.popbox.migrate.export.homes import DOMAIN, export, home_of, maildir, run
from tests.popbox.migrate.houses import NOW
from tests.popbox.migrate.oldhosts import tree_of

from popbox.migrate.export.mbox import Quoter, from_line

HEAD = b"Return-Path: <sue@sender.example>\nFrom: sue@sender.example\nSubject: x\n\n"
CARRIED = {
    "plain": b"one\n",
    "deep": b">" * 998 + b"From me\n",
    "quotes": b"From me\n>From me\n>>From me\nFrom\n From me\n>>> From me\n",
    "dated": b"\nFrom sue@sender.example Mon Sep 10 01:46:40 2001\nFrom: a@b.example\n\n\n\n",
    "returns": b"one\r\nFrom me\r\n\r\n",
    "nuls": b"a\0b\0\n\0\n",
    "returns-all": b"",
    "cut": b"x" * (256 * 1024 - len(HEAD) - 3) + b"\nFrom over the edge\n",
    "length": b"text\n\nFrom x@y.example Mon Sep 10 01:46:40 2001\nFrom: z\n\nend\n",
}
pytestmark = pytest.mark.needs("root")


def one_box(place: Path, texts: dict[str, bytes]) -> Path:
    """A home whose one user has these files, in this order."""
    home = home_of(place, ["user0"])
    box = maildir(home, "user0")
    for path in [*box.glob("new/*"), *box.glob("cur/*")]:
        path.unlink()
    for number, (name, octets) in enumerate(texts.items()):
        (box / name).write_bytes(octets)
        os.utime(box / name, (NOW + number, NOW + number))
    return home


def rows(file: Path) -> list[tuple[int, int, str, int, str, bytes]]:
    """The lines of an index."""
    found = []
    for line in file.with_name(file.name + ".index").read_text().splitlines()[1:]:
        offset, octets, digest, arrival, flags, uidl = line.split(" ")
        found.append((int(offset), int(octets), digest, int(arrival), flags, unquote_to_bytes(uidl)))
    return found


def imported(place: Path, file: Path) -> list[bytes]:
    """What an import of a system account with this mbox brings, in its order."""
    old = place / "old"
    for name in ("var/qmail/control", "etc", "home/ben"):
        (old / name).mkdir(parents=True)
    (old / "var/qmail/control/locals").write_text("users.example\n")
    (old / "var/qmail/control/me").write_text("users.example\n")
    (old / "etc/passwd").write_text("ben:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0:1000:1000::/home/ben:/bin/sh\n")
    shutil.copy(file, old / "home/ben/Mailbox")
    argv = ["import", str(old), "--to", str(place / "back"), "--dialect", "system"]
    said = run(*argv, "--mbox-quoting", "rd", "--mbox-boundaries", "blank")[1]
    assert "not done: " not in said, said
    files = [path for path in (place / "back").rglob("Maildir/*/*") if path.is_file()]
    return [path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]


def test_every_octet_comes_back_in_order(place: Path) -> None:
    texts = {f"new/{name}": HEAD + octets for name, octets in CARRIED.items()}
    texts["new/returns-all"] = HEAD.replace(b"\n", b"\r\n") + b"all\r\n"
    texts["new/length"] = HEAD.replace(b"\n\n", b"\nContent-Length: 5\n\n") + CARRIED["length"]
    home = one_box(place, texts)
    before = tree_of(home)
    code, said = export(place, "mbox")
    assert code == 0, said
    assert tree_of(home) == before
    file = place / f"out/mail/{DOMAIN}/user0.mbox"
    assert [row[2] for row in rows(file)] == [sha256(octets).hexdigest() for octets in texts.values()]
    assert [row[3] // 10**9 for row in rows(file)] == [NOW + number for number in range(len(texts))]
    assert all(file.read_bytes()[row[0] :].startswith(b"From sue@sender.example ") for row in rows(file))
    assert imported(place, file) == list(texts.values())
    inode = file.stat().st_ino
    assert export(place, "mbox")[0] == 0
    assert file.stat().st_ino == inode


def test_what_mbox_cannot_hold_is_named(place: Path) -> None:
    deep = b">" * 999 + b"From me\n"
    one_box(place, {"new/cut": HEAD + b"no end", "new/none": b"", "new/deep": HEAD + deep, "new/good": HEAD})
    code, said = export(place, "mbox")
    assert code == 1
    assert "user0@users.example: cut: has no newline at its end: one is added" in said
    assert "user0@users.example: none: has no octets" in said
    assert "user0@users.example: deep: reads back otherwise from an mbox" in said
    assert "good:" not in said
    assert rows(place / f"out/mail/{DOMAIN}/user0.mbox")[0][1] == len(HEAD) + 6


def test_what_an_import_would_leave_out_is_named(place: Path) -> None:
    notes = b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\ntext\n"
    one_box(place, {"new/first": notes, "new/second": HEAD})
    code, said = export(place, "mbox")
    assert code == 1
    assert "user0@users.example: first: looks like a mail reader's own notes, which an import leaves out" in said


def test_fields_for_servers_that_read_them(place: Path) -> None:
    odd = "cur/caf\xe9 x:2,FRST"
    one_box(place, {"new/a.1": HEAD, "cur/b.2:2,": HEAD, "cur/c.3:2,FRST": HEAD, odd: HEAD})
    code, said = export(place, "mbox", "--status-fields", "--profile", "qmail")
    file = place / f"out/mail/{DOMAIN}/user0.mbox"
    parts = file.read_bytes().split(b"From sue@sender.example ")[1:]
    assert [part.partition(b"\n")[2].partition(b"Return-Path")[0] for part in parts] == [
        b"X-UIDL: a.1\n",
        b"X-UIDL: b.2\nStatus: O\n",
        b"X-UIDL: c.3\nStatus: RO\nX-Status: AFD\n",
        b"Status: RO\nX-Status: AFD\n",
    ]
    assert [row[4] for row in rows(file)] == ["new", "cur:2,", "cur:2,FRST", "cur:2,FRST"]
    assert rows(file)[3][5] == "caf\xe9 x".encode()
    assert code == 1
    assert said.count("not done: ") == 1
    assert "its UIDL fits no X-UIDL field; the index has it" in said
    with pytest.raises(Exception, match="came from an export to mbox with Status fields so far"):
        export(place, "mbox")
    with pytest.raises(Exception, match="--status-fields: is for --to mbox"):
        run("export", "--home", str(place / "home"), "--to", "dovecot", "--out", str(place / "o"), "--status-fields")


def test_nothing_of_others_is_replaced_and_new_mail_follows(place: Path) -> None:
    home = one_box(place, {"new/a": HEAD})
    assert export(place, "mbox")[0] == 0
    file = place / f"out/mail/{DOMAIN}/user0.mbox"
    (maildir(home, "user0") / "new/b").write_bytes(HEAD)
    assert export(place, "mbox")[0] == 0
    assert len(rows(file)) == 2
    with file.open("ab") as more:
        more.write(b"From x Mon Sep 10 01:46:40 2001\n\n")
    changed = file.read_bytes()
    code, said = export(place, "mbox")
    assert (code, file.read_bytes()) == (1, changed)
    assert "user0.mbox or its index is not as an export wrote it; left as it is" in said
    file.unlink()
    file.symlink_to(place / "elsewhere")
    assert export(place, "mbox")[0] == 1
    assert not (place / "elsewhere").exists()


@pytest.mark.parametrize("call", ["rename", "replace"])
def test_a_run_that_ends_half_way_is_gone_on_with(place: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    home = one_box(place, {"new/a": HEAD})
    assert export(place, "mbox")[0] == 0
    (maildir(home, "user0") / "new/b").write_bytes(HEAD)
    whole = getattr(Path, call)

    def full(path: Path, to: Path) -> Path:
        if to.suffix in (".mbox", ".index"):
            raise OSError(28, "No space left on device")
        return whole(path, to)  # type: ignore[no-any-return]

    with monkeypatch.context() as broken:
        broken.setattr(Path, call, full)
        with pytest.raises(Exception, match="No space"):
            export(place, "mbox")
    code, said = export(place, "mbox")
    assert code == 0, said
    file = place / f"out/mail/{DOMAIN}/user0.mbox"
    assert len(rows(file)) == file.read_bytes().count(b"From sue@sender.example ") == 2
    assert sorted(path.name for path in file.parent.iterdir()) == ["user0.mbox", "user0.mbox.index"]


def test_links_and_files_that_cannot_be_read_are_named(place: Path) -> None:
    home = one_box(place, {"new/a": HEAD, "new/b": HEAD})
    (maildir(home, "user0") / "new/link").symlink_to("/etc/passwd")
    os.mkfifo(maildir(home, "user0") / "new/fifo")
    code, said = export(place, "mbox", "--profile", "qmail")
    assert code == 1
    assert "link: is a link, which is not followed" in said
    assert len(rows(place / f"out/mail/{DOMAIN}/user0.mbox")) == 2


def test_quoting_is_the_same_wherever_pieces_are_cut() -> None:
    dice = random.Random(7)
    words = [b"From ", b"F", b"ro", b"m ", b"\n", b">", b">>", b"\r\n", b"x"]
    for _ in range(3_000):
        text = b"".join(dice.choice(words) for _ in range(12))
        whole = b"\n".join(
            b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in text.split(b"\n")
        )
        quoter, out, at = Quoter(), b"", 0
        while at < len(text):
            step = dice.randint(1, 6)
            out, at = out + quoter.take(text[at : at + step]), at + step
        assert out + quoter.rest() == whole, text


@pytest.mark.parametrize(
    ("head", "sender"),
    [
        (b"Return-Path: <>\n\n", b"MAILER-DAEMON"),
        (b"Subject: x\n\nReturn-Path: <a@b>\n", b"MAILER-DAEMON"),
        (b'Return-Path: <"a b\0"@c>\n\n', b'"a-b-"@c'),
        (b"Return-Path: <" + b"a" * 900 + b">\n\n", b"MAILER-DAEMON"),
    ],
)
def test_the_sender(head: bytes, sender: bytes) -> None:
    assert from_line(head, 10**9 * 10**9) == b"From " + sender + b" Sun Sep  9 01:46:40 2001\n"
    assert from_line(head, 1 << 80).endswith(b" 9999\n")
