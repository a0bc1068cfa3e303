"""An import reads the index of an export to mbox: octets, UIDLs, flags and dates come back, or it is told."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.export.homes import DOMAIN, export, home_of, maildir, run, served
from tests.popbox.migrate.export.test_to_mbox import CARRIED, HEAD, one_box
from tests.popbox.migrate.houses import NOW, csv, moved, own

from popbox.migrate.export.mbox import Writer
from popbox.migrate.oldhost.mboxes.index import INDEX_HEAD, fit, message, parse

NOTES = b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\ntext\n"
ODD = {  # what an mbox without its index does not hold
    "new/1.notes": NOTES,
    "new/2.cut": HEAD + b"no end",
    "cur/3.none:2,S": b"",
    "cur/4.deep:2,FRST": HEAD + b">" * 999 + b"From me\n",
    "cur/5.no-flags": HEAD + b"\n\n\n",
}
pytestmark = pytest.mark.needs("root")


def exported(place: Path, *more: str) -> Path:
    """The mbox of one user, whose messages are all odd ones; and an old host whose ben has it, with its index."""
    texts = {f"new/{name}.{number}": HEAD + text for number, (name, text) in enumerate(CARRIED.items())} | ODD
    one_box(place, texts)
    export(place, "mbox", *more)
    return exported_to(place) / "home/ben/Mailbox"


def imported(place: Path, *more: str) -> tuple[int, str]:
    return run("import", str(place / "old"), "--to", str(place / "to"), "--dialect", "system", *more)


def shape(box: Path) -> dict[str, tuple[bytes, int]]:
    """The messages of a Maildir: place -> octets and date."""
    files = (path for part in ("new", "cur") for path in (box / part).iterdir())
    return {f"{path.parent.name}/{path.name}": (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def new_box(place: Path) -> Path:
    (found,) = (place / "to/popboxes").glob("*/ben/Maildir")
    return found


@pytest.mark.parametrize("more", [(), ("--status-fields",)])
def test_everything_comes_back_as_it_was(place: Path, more: tuple[str, ...]) -> None:
    exported(place, *more)
    code, said = imported(place)
    assert code == 0, said
    assert "mboxrd by its index" in said
    assert shape(new_box(place)) == shape(maildir(place / "home", "user0"))
    for _ in range(2):
        code, said = imported(place, "--final")
        assert code == 0, said
        assert "copied 0 messages" in said
        assert "moved 0; removed 0" in said
    shutil.rmtree(place / "to/state")  # a lost journal: what is there is known again by name and octets
    code, said = imported(place)
    assert code == 0, said
    assert "copied 0 messages" in said


def _pair() -> tuple[bytes, list[bytes]]:
    """An mbox of four messages, and the lines of its index."""
    file, lines = io.BytesIO(), [INDEX_HEAD]
    writer = Writer(file, fields=False)
    for number in range(4):
        body = HEAD + b"%d\n" % number
        lines.append(writer.add(iter([body]), NOW * 10**9, b"new", b"%d.old" % number)[0].line())
    return file.getvalue(), lines


def _word(lines: list[bytes], number: int, word: bytes, line: int = 2) -> list[bytes]:
    words = lines[line].removesuffix(b"\n").split(b" ")
    words[number] = word
    return [*lines[:line], b" ".join(words) + b"\n", *lines[line + 1 :]]


MORE = b"From x@y.example Mon Sep 10 01:46:40 2001\nSubject: more\n\nmore\n\n"
UNFIT: dict[str, tuple[Callable[[bytes, list[bytes]], tuple[bytes, list[bytes]]], str]] = {
    "cut mbox": (lambda mbox, lines: (mbox[:-30], lines), "line 5: what lies at octet"),
    "cut by a newline": (lambda mbox, lines: (mbox[:-1], lines), "line 5: what lies at octet"),
    "empty mbox": (lambda _, lines: (b"", lines), "line 2: the file has 0 octets"),
    "an octet": (lambda mbox, lines: (mbox.replace(b"\n2\n", b"\n7\n"), lines), "line 4: what lies at octet"),
    "more mail": (lambda mbox, lines: (mbox + MORE, lines), "line 5: what lies at octet"),
    "mail before": (lambda mbox, lines: (MORE + mbox, lines), "line 2: what lies at octet"),
    "a line less": (lambda mbox, lines: (mbox, [*lines[:2], *lines[3:]]), "line 2: what lies at octet"),
    "no lines": (lambda mbox, lines: (mbox, lines[:1]), "no message begins at its first one"),
    "cut index": (lambda mbox, lines: (mbox, [*lines[:-1], lines[-1][:-5]]), "line 5: is cut off"),
    "empty": (lambda mbox, _: (mbox, []), "line 1: is not that of an index"),
    "newer": (lambda mbox, lines: (mbox, [lines[0].replace(b"1:", b"2:"), *lines[1:]]), "line 1: is not"),
    "changed about": (lambda mbox, lines: (mbox, [lines[0], *lines[:0:-1]]), "line 2: the file has"),
    "offset": (lambda mbox, lines: (mbox, _word(lines, 0, b"9" * 18)), "line 2: the file has"),
    "offset within": (lambda mbox, lines: (mbox, _word(lines, 0, b"9")), "line 2: no From_ line|line 2: what lies"),
    "octets": (lambda mbox, lines: (mbox, _word(lines, 1, b"9" * 18)), "line 3: what lies at octet"),
    "too long": (lambda mbox, lines: (mbox, _word(lines, 1, b"9" * 5_000)), "line 3: is no line of an index"),
    "date": (lambda mbox, lines: (mbox, _word(lines, 3, b"9" * 19)), "line 3: is no line of an index"),
    "sha256": (lambda mbox, lines: (mbox, _word(lines, 2, b"0" * 64)), "line 3: what lies at octet"),
    "flags that climb": (lambda mbox, lines: (mbox, _word(lines, 4, b"cur:..%2F..%2Fx")), "line 3: no file name holds"),
    "flags of nothing": (lambda mbox, lines: (mbox, _word(lines, 4, b"tmp")), "line 3: is no line of an index"),
    "NUL": (lambda mbox, lines: (mbox, _word(lines, 5, b"a%00b")), "line 3: no file name holds"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_what_does_not_fit_is_no_index_of_it(fault: str) -> None:
    mbox, lines = _pair()
    assert len(fit(io.BytesIO(mbox), len(mbox), parse(b"".join(lines)))) == 4
    break_it, told = UNFIT[fault]
    mbox, lines = break_it(mbox, lines)
    with pytest.raises(ValueError, match=told):
        fit(io.BytesIO(mbox), len(mbox), parse(b"".join(lines)))


def test_what_does_not_fit_is_told_and_nothing_of_it_is_taken(place: Path) -> None:
    mbox = exported(place)
    with mbox.open("ab") as file:
        file.write(MORE)
    for more in ((), ("--final",)):
        code, said = imported(place, *more)
        assert code == 1
        assert "not done: ben@users.example: /home/ben/Mailbox.index: line 15: what lies at octet" in said
        assert "its UIDLs and flags are not taken" in said
    names = shape(new_box(place))
    assert len(names) >= 14, "the mail comes by what the file itself says"
    assert not set(names) & set(shape(maildir(place / "home", "user0")))


def test_a_uidl_that_no_name_has_is_told(place: Path) -> None:
    index = exported(place).with_name("Mailbox.index")
    lines = index.read_bytes().splitlines(keepends=True)
    odd = {
        b"..%2F..%2Fx": "no file name holds a /",
        b".hidden": "names that begin with a dot",
        b"a:b": "up to its first :",
    }
    odd |= {b"": "UIDL : it is not 1 to 70 octets", b"two%0Alines": "two\\x0alines: it is not 1 to 70 octets"}
    odd |= {lines[-1].split(b" ")[5].strip(): "another message of the box has it too"}
    for number, uidl in enumerate(odd, start=1):
        lines = _word(lines, 5, uidl, number)
    index.write_bytes(b"".join(_word(lines, 4, b"cur:2," + b"S" * 250, 8)))
    code, said = imported(place)
    assert code == 1
    assert [why for why in (*odd.values(), "no file name is that long") if why not in said] == []
    assert said.count("/home/ben/Mailbox.index:") == len(odd) + 1
    there, before = shape(new_box(place)), shape(maildir(place / "home", "user0"))
    assert (len(there), len(set(there) - set(before))) == (len(before), len(odd) + 2)
    assert sorted(there.values()) == sorted(before.values())


@pytest.mark.parametrize("what", ["fifo", "directory", "foreign"])
def test_what_is_no_index(place: Path, what: str) -> None:
    index = exported(place).with_name("Mailbox.index")
    index.unlink()
    make = {"fifo": lambda: os.mkfifo(index), "directory": index.mkdir, "foreign": lambda: index.write_text("From x\n")}
    make[what]()
    code, said = imported(place)
    assert ("Mailbox.index: is no regular file" in said) == (what != "foreign")
    assert code == 1 or what == "foreign"
    assert len(shape(new_box(place))) >= 10


def test_an_index_that_comes_later_gives_the_names(place: Path) -> None:
    mbox = exported(place)
    index = mbox.with_name("Mailbox.index")
    index.rename(place / "later")
    assert "by its index" not in imported(place)[1]
    (place / "later").rename(index)
    code, said = imported(place, "--final")
    assert code == 0, said
    assert set(shape(new_box(place))) == set(shape(maildir(place / "home", "user0")))


def test_there_and_back_verify_says_equal(place: Path, verify: Verify) -> None:
    home = home_of(place, ["user0"])
    path = maildir(home, "user0") / "new/1.no-end"
    path.write_bytes(HEAD + b"no end")
    os.utime(path, (NOW - 1, NOW - 1))
    own(path)
    assert export(place, "mbox")[0] == 1  # the file alone does not hold it, the index does
    old, new = exported_to(place), place / "new"
    argv = ["import", str(old), "--to", str(place / "to"), "--dialect", "system"]
    code, said = run(*argv)
    assert code == 0, said
    moved(home, new)
    shutil.rmtree(maildir(new, "user0"))
    shutil.copytree(new_box(place), maildir(new, "user0"))
    for one in [maildir(new, "user0"), *maildir(new, "user0").rglob("*")]:
        own(one)
    (new / "users/poppasswd").write_text((home / "users/poppasswd").read_text().replace(str(home), str(new)))
    with served(home) as first, served(new) as second:
        code, report = verify(first, second, csv(place / "a.csv", ["user0"]))
    assert (code, report["totals"]["messages_old"]) == (0, 20), report["output"]


def exported_to(place: Path) -> Path:
    """An old host whose ben has what was exported of user0."""
    old, file = place / "old", place / f"out/mail/{DOMAIN}/user0.mbox"
    for name in ("var/qmail/control", "etc", "home/ben"):
        (old / name).mkdir(parents=True)
    for name in ("locals", "me", "rcpthosts"):
        (old / "var/qmail/control" / name).write_text("users.example\n")
    (old / "etc/passwd").write_text("ben:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0:1000:1000::/home/ben:/bin/sh\n")
    shutil.copy(file, old / "home/ben/Mailbox")
    shutil.copy(f"{file}.index", old / "home/ben/Mailbox.index")
    return old


def test_quoting_is_undone_wherever_pieces_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(11)
    words = [b"From ", b"F", b"ro", b"m ", b"\n", b">", b">>", b"\r\n", b"x"]
    for _ in range(1_000):
        texts = [b"".join(dice.choice(words) for _ in range(dice.randint(0, 12))) for _ in range(3)]
        file, lines = io.BytesIO(), INDEX_HEAD
        writer = Writer(file, fields=False)
        for number, text in enumerate(texts):
            lines += writer.add(iter([text]), 0, b"new", b"%d" % number)[0].line()
        monkeypatch.setattr("popbox.migrate.oldhost.mboxes.index.CHUNK_OCTETS", dice.randint(1, 9))
        fitted = fit(file, len(file.getvalue()), parse(lines))
        assert [b"".join(message(file, one)) for one in fitted] == texts
        assert [one.entry.sha256 for one in fitted] == [hashlib.sha256(text).hexdigest() for text in texts]
