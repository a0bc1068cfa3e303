"""``verify --files`` of Maildirs that courierpop3d has served: its UIDLs, order and sizes, by courierpop3dsizelist."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.popbox.migrate.copy.test_courier_uidls import NAMES, host
from tests.popbox.migrate.damage import lost
from tests.popbox.migrate.faults import JOE
from tests.popbox.migrate.verify.test_files import JOE as NEW
from tests.popbox.migrate.verify.test_files import Files, by_login, files, imported

from popbox.migrate.oldhost.stores import COURIER_IDS

__all__ = ["files"]
FORMS = {
    "no first line": "{1} {s1}\n{2} {s2}\n{0} {s0}\n",
    "/1": "/1 5\n{1} {s1} 4\n{2} {s2} 2\n{0} {s0} 0\n",
    "/2": "/2 9 1700\n{1} {s1} 4:1700\n{2} {s2} 2:0\n{0} {s0} 0:0\n",
    "/3": "/3 9 1700\n{1} {s1} 4:1700:0\n{2} {s2} 2:16:1\n{0} {s0} 7:1:0\n",
}


def served(place: Path, form: str, change: Callable[[Path], object] = lambda _: None) -> Path:
    """An old host whose joe courier has served: CR LF on disk, no newline at the end, and one that is not numbered."""
    root = host(place, None)
    box = root / JOE / "Maildir"
    found = {path.name.partition(":")[0]: path for path in box.glob("[nc]*/*")}
    for name, octets in ((NAMES[0], b"Subject: a\r\n\r\nbody\r\n"), (NAMES[1], b"Subject: b\n\nno end")):
        stat = found[name].stat()
        found[name].write_bytes(octets)
        os.utime(found[name], ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    change(box)
    names = [next(path.name for path in box.glob("[nc]*/*") if path.name.startswith(name)) for name in NAMES[:3]]
    text = {name: (box / "cur" / name if (box / "cur" / name).exists() else box / "new" / name) for name in names}
    sizes = {f"s{n}": len(octets := text[name].read_bytes()) + octets.count(b"\n") for n, name in enumerate(names)}
    flagged = [name if ":" in name else f"{name}:2," for name in names]
    (box / COURIER_IDS.decode()).write_text(FORMS[form].format(*flagged, **sizes))
    return root


@pytest.mark.parametrize("form", FORMS)
def test_an_import_is_equal_and_named_as_couriers(place: Path, files: Files, form: str) -> None:
    old = served(place, form)
    home = imported(old, place)
    for profile in ("auto", "courier"):
        code, report = files(old, home, "--old-profile", profile, "--only", "aa0001")
        assert code == 0, report["output"]
        joe = by_login(report)["aa0001"]
        assert joe["verdicts"] == {"login": "not judged"} | dict.fromkeys(
            ("uidl", "order", "sizes", "content"), "equal"
        )
        assert [f["kind"] for f in joe["findings"]] == ["reply"], "one message that courier has not numbered"
    assert (report["old"]["profile"], joe["old"]["profile"]) == ("courier", "courier")
    code, report = files(old, home)
    assert report["old"]["profiles_seen"] == {"courier": 1, "qmail": 1}
    assert files(old, home, "--no-content")[0] == 0


def test_a_copy_by_hand_has_other_uidls_and_another_order(place: Path, files: Files) -> None:
    """`cp -a` from courier: that is what its clients would download again."""
    old = served(place, "/3")
    home = imported(old, place)
    for part in ("new", "cur"):
        for path in (home / NEW / part).iterdir():
            path.unlink()
        for path in (old / JOE / "Maildir" / part).iterdir():
            stat = path.stat()
            target = home / NEW / part / path.name
            target.write_bytes(path.read_bytes())
            os.utime(target, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
            os.chown(target, (home / NEW).stat().st_uid, (home / NEW).stat().st_gid)
    code, report = files(old, home)
    joe = by_login(report)["aa0001"]
    assert code == 1
    assert (joe["verdicts"]["uidl"], joe["verdicts"]["order"], joe["verdicts"]["content"]) == (
        "different", "different", "equal"
    )  # fmt: skip
    assert {f["old"]["uidl"] for f in joe["findings"] if f["kind"] == "uidl"} == {"UID4-1700", "UID2-16", "UID7-1"}


def test_a_loss_is_named_by_couriers_uidl(place: Path, files: Files) -> None:
    old = served(place, "/2")
    home = imported(old, place)
    gone = lost((home / NEW).parent, Random(3))
    code, report = files(old, home)
    assert code == 1
    missing = [f for f in by_login(report)["aa0001"]["findings"] if f["kind"] == "missing"]
    assert [f["old"]["uidl"] for f in missing] == [gone]


LISTS = {
    "a broken line": ("/3 9 1\nwhat\n", "different", "line 2 is no line of it"),
    "another version": ("/9 9 1\n", "not judged", "line 1: is of no known version"),
    "two UIDLs": ("/3 9 1\n{0}:2, 3 1:1:0\n{0}:2,R 3 2:1:0\n", "different", "it has more than one: UID1-1, UID2-1"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_sizelist_that_cannot_be_right_is_named(place: Path, files: Files, case: str) -> None:
    text, verdict, said = LISTS[case]
    old = served(place, "/3")
    home = imported(old, place)
    (old / JOE / "Maildir" / COURIER_IDS.decode()).write_text(text.format(*NAMES))
    code, report = files(old, home)
    joe = by_login(report)["aa0001"]
    assert (code, joe["verdicts"]["uidl"]) == (1, verdict), report["output"]
    assert said in report["output"]


def test_a_box_that_courier_never_showed_is_not_judged_by_uidl(place: Path, files: Files) -> None:
    old = served(place, "/3")
    home = imported(old, place)
    (old / JOE / "Maildir" / COURIER_IDS.decode()).unlink()
    code, report = files(old, home, "--old-profile", "courier", "--only", "aa0001")
    joe = by_login(report)["aa0001"]
    assert joe["verdicts"]["uidl"] == "not judged"
    assert (code, joe["verdicts"]["content"]) == (0, "equal"), report["output"]
