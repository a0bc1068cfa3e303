"""An import keeps the UIDLs of courierpop3dsizelist, of each version; what cannot be read or kept is lost and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.popbox.migrate.export.homes import run
from tests.popbox.migrate.faults import JOE
from tests.popbox.migrate.oldhosts import HOSTS, message

from popbox.migrate.oldhost.courier_sizelist import (
    MOST,
    Row,
    Sizelist,
    name_of,
    parse,
    place_of,
    render,
    row_for,
    spelled,
)
from popbox.migrate.oldhost.stores import COURIER_IDS

NAMES = ["1700000003.M1.old", "1700000001.M2.old", "1700000002.M3.old", "1700000009.M4.old"]
KEPT = {
    "no first line": ("{1}:2,S 30\n{2} 30\n{0}:2, 30\n", ["1700000001.M2.old", "1700000002.M3.old", NAMES[0]]),
    "/1": ("/1 5\n{1}:2,S 30 4\n{2} 30 2\n{0}:2, 30 0\n", ["UID4", "UID2", NAMES[0]]),
    "/2": ("/2 9 1700\n{1}:2,S 30 4:1700\n{2} 30 2:0\n{0}:2, 30 0:0\n", ["UID4-1700", "UID2", NAMES[0]]),
    "/3": ("/3 9 1700\n{1}:2,S 30 4:1700:0\n{2} 30 2:16:1\n{0}:2, 30 7:1:0\n", ["UID4-1700", "UID2-16", "UID7-1"]),
    "/3 without its newline": ("/3 9", [NAMES[1], NAMES[2], NAMES[0]]),
}


def host(place: Path, sizelist: str | bytes | None) -> Path:
    """An old host whose joe has NAMES: three in cur/, dated in another order, and a new one that courier knows not."""
    root = HOSTS["howto"](place / "host")
    box = root / JOE / "Maildir"
    for path in [*box.glob("new/*"), *box.glob("cur/*")]:
        path.unlink()
    for number, name in enumerate(NAMES[:3]):
        message(box, name, number, seen=number != 2)
    message(box, NAMES[3], 3)
    if sizelist is not None:
        text = sizelist if isinstance(sizelist, bytes) else sizelist.format(*NAMES).encode()
        (box / COURIER_IDS.decode()).write_bytes(text)
    return root


def imported(place: Path, root: Path, *more: str) -> tuple[int, str, list[str]]:
    """Exit code, output, and joe's new UIDLs in the order that POP3 shows."""
    code, said = run("import", str(root), "--to", str(place / "to"), *more)
    files = list((place / "to/popboxes/domain-com/joe/Maildir").glob("[nc]*/*"))
    files.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
    return code, said, [path.name.partition(":")[0] for path in files]


@pytest.mark.parametrize("form", KEPT)
def test_uidls_and_order_are_couriers(place: Path, form: str) -> None:
    text, uidls = KEPT[form]
    root = host(place, text)
    code, said, found = imported(place, root)
    assert (code, found) == (0, [*uidls, NAMES[3]]), said
    code, said, found = imported(place, root, "--final")
    assert (code, found) == (0, [*uidls, NAMES[3]]), said
    assert "copied 0 messages" in said
    assert "moved 0; removed 0" in said


def test_flags_come_and_contents_are_those_of_the_same_file(place: Path) -> None:
    root = host(place, KEPT["/2"][0])
    assert imported(place, root)[0] == 0
    box, old = place / "to/popboxes/domain-com/joe/Maildir", root / JOE / "Maildir"
    assert (box / "cur/UID4-1700:2,S").read_bytes() == (old / f"cur/{NAMES[1]}:2,S").read_bytes()
    (unseen,) = [path for path in old.glob("[nc]*/*") if path.name.startswith(NAMES[2])]
    assert (box / unseen.parent.name / unseen.name.replace(NAMES[2], "UID2")).read_bytes() == unseen.read_bytes()


def test_courier_numbers_them_between_two_passes(place: Path) -> None:
    root = host(place, None)
    code, said, found = imported(place, root)
    assert (code, len(found)) == (0, 4), said
    (root / JOE / "Maildir" / COURIER_IDS.decode()).write_text(KEPT["/3"][0].format(*NAMES))
    code, said, found = imported(place, root)
    assert (code, len(found)) == (0, 4), said
    code, said, found = imported(place, root, "--final")
    assert (code, sorted(found)) == (0, sorted([*KEPT["/3"][1], NAMES[3]])), said
    assert "copied 0 messages" in said
    assert "moved 3; removed 0" in said


LOST = {
    "empty": (b"", "sizelist: UIDLs: is empty: files keep their names"),
    "of another version": (b"/4 1 2\n", "sizelist: UIDLs: line 1: is of no known version"),
    "no list": (b"\0" * 50, "sizelist: UIDLs: line 1: is of no known version"),
    "cut off": (b"/3 9 1\n1700000001.M2.old:2,S 30 4:1", "sizelist:2: a UIDL: the line is cut off"),
    "a bad line": (b"/3 9 1\nwhat\n", "sizelist:2: a UIDL: the line is no line of it"),
    "a number too large": (b"/3 9 1\nx 1 99999999999999999999:1:0\n", "sizelist:2: a UIDL: the line is no line of it"),
    "two UIDLs": (
        b"/3 9 1\n1700000001.M2.old:2, 3 1:1:0\n1700000001.M2.old:2,R 3 2:1:0\n",
        "the UIDL of 1700000001.M2.old:2,S: it has more than one: UID1-1, UID2-1",
    ),
    "one UIDL twice": (
        b"/3 9 1\n1700000001.M2.old:2,S 3 1:1:0\n1700000003.M1.old:2,S 3 1:1:0\n",
        "UIDL UID1-1 of 1700000003.M1.old:2,S: another message of the box has it too",
    ),
}


@pytest.mark.parametrize("fault", LOST)
def test_what_is_torn_is_told_and_no_message_is_lost(place: Path, fault: str) -> None:
    text, told = LOST[fault]
    code, said, found = imported(place, host(place, text))
    assert (code, len(found)) == (1, 4), said
    assert told in said
    assert said.count("lost: ") == 1
    assert not {uidl for uidl in found if uidl.startswith("UID")} - {"UID1-1"}


def test_a_file_that_is_none_is_told(place: Path) -> None:
    root = host(place, None)
    os.mkfifo(root / JOE / "Maildir" / COURIER_IDS.decode())
    code, said, _ = imported(place, root)
    assert code == 1
    assert "sizelist: UIDLs: is no regular file but a other" in said


def test_dovecots_file_beside_it_is_for_the_operator_to_decide(place: Path) -> None:
    root = host(place, KEPT["/3"][0])
    (root / JOE / "Maildir/dovecot-uidlist").write_text("3 V1 N9 G" + "0" * 32 + "\n")
    code, said, found = imported(place, root)
    assert code == 1
    assert "UIDLs: dovecot-uidlist is there too: say --courier-uidl or --dovecot-uidl: files keep their names" in said
    assert sorted(found) == sorted(NAMES)
    assert imported(place, root, "--courier-uidl", "no")[::2] == (0, found)
    code, said, found = imported(place, root, "--courier-uidl", "yes", "--final")
    assert (code, sorted(found)) == (0, sorted([*KEPT["/3"][1], NAMES[3]])), said
    with pytest.raises(Exception, match="exclude each other"):
        imported(place, root, "--courier-uidl", "yes", "--dovecot-uidl", "%f")


def test_a_name_that_is_anothers_uidl_gives_way(place: Path) -> None:
    root = host(place, "/3 9 1\n{1}:2,S 30 5:1:0\n")
    message(root / JOE / "Maildir", "UID5-1", 5)
    code, said, found = imported(place, root)
    assert (code, len(set(found))) == (0, 5), said
    assert found.count("UID5-1") == 1
    box = place / "to/popboxes/domain-com/joe/Maildir"
    assert (box / "cur/UID5-1:2,S").read_bytes() == (root / JOE / f"Maildir/cur/{NAMES[1]}:2,S").read_bytes()


def test_rows_make_the_uidl_that_they_were_made_for() -> None:
    for uidl in (b"UID5-17", b"UID5", b"a.b", b"a+2Bb+20c", b"UID0", b"UID05", b"UID%d-%d" % (MOST, MOST)):
        name = (name_of(uidl) or b"1.x") + b":2,S"
        row = row_for(uidl, name, 9)
        assert row is not None
        assert row.uidl == uidl
        assert parse(render(Sizelist([row], (), 7, 8))) == Sizelist([row], [], 7, 8)
    for uidl in (
        b"a+b",
        b"a'b",
        b'a"b',
        b"+2E",
        b".a",
        b"a+2Fb",
        b"a+0Ab",
        b"a+3Ab",
        b"caf\xe9",
        b"",
        b"UID%d" % (MOST + 1),
    ):
        assert name_of(uidl) is None
    assert row_for(b"a+b", b"a+b:2,", 9) is None
    assert spelled(b"a b'\xff:2,S") == b"a+20b+27+FF"


def test_places_are_couriers() -> None:
    names = [b"-3.x", b"\xc3:2,", b"a1:2,", b"a:2,", b" 7x", b"9.b:2,", b"10.a", b"10.a:2,", b"9" * 99]
    assert sorted(set(names), key=place_of) == names
    assert place_of(b"9.b:2,S") == place_of(b"9.b:2,")
    assert Row(b"9.b:2,", 1).uidl == b"9.b"
