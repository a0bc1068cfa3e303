"""Every kind of damage is found and named, in whatever message it is; a clean box gives no alarm."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest
from tests.popbox.conformance.servers import HASH
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.damage import DAMAGES
from tests.popbox.migrate.houses import ON_DISK, box, csv, logins, moved, ours, snapshot

from popbox.migrate.pop3.host import Host

EACH = 20
CLEAN = 1000


def damaged(name: str, number: int) -> str:
    return f"{name.replace(' ', '-')}{number:03}"


@pytest.mark.parametrize(("profiles", "clean"), [(("qmail", "rfc1939"), CLEAN), (("rfc1939", "qmail"), 10)])
def test_all_damage_and_no_false_alarm(place: Path, verify: Verify, profiles: tuple[str, str], clean: int) -> None:
    for name in [damaged(name, number) for name in DAMAGES for number in range(EACH)]:
        box(place / "old", name, 5)
    for number in range(clean):
        box(place / "old", f"clean{number:04}", 2 + number % 3)
    new = moved(place / "old", place / "new")
    random = Random(profiles[0])
    due = {
        damaged(name, number): (DAMAGES[name][0](new / damaged(name, number), random), *DAMAGES[name][1:])
        for name in DAMAGES
        for number in range(EACH)
    }
    before = snapshot(place / "old"), snapshot(new)
    names = logins(place / "old")
    with ours(place, place / "old", profiles[0]) as old, ours(place, new, profiles[1]) as there:
        code, report = verify(old, there, csv(place / "a.csv", names))
    assert code == 1
    assert (snapshot(place / "old"), snapshot(new)) == before
    assert [found["login"] for found in report["boxes"]] == names
    for found in report["boxes"]:
        different = {aspect for aspect, verdict in found["verdicts"].items() if verdict == "different"}
        if found["login"] not in due:
            assert not found["findings"], found
            assert set(found["verdicts"].values()) == {"equal"}
            continue
        uidl, kind, wrong = due[found["login"]]
        assert different - {"sizes"} == wrong - {"sizes"}, found  # one octet may be a newline
        named = {(f["kind"], (f["old"] or f["new"])["uidl"]) for f in found["findings"]}
        assert named == {(kind, uidl)}, found
        assert (
            all((f["old"] or f["new"])["subject"].startswith("message ") for f in found["findings"])
            or kind == "changed"
        )
    assert report["totals"]["equal"] == clean
    assert report["totals"]["different"] == len(due)


@pytest.mark.parametrize("content", [True, False])
def test_swapped_boxes_and_a_message_in_the_wrong_one(place: Path, verify: Verify, content: bool) -> None:
    for name in ("ann", "bob", "cid", "dan", "eve"):
        box(place / "old", name, 4)
        for path in [*(place / "old" / name).glob("Maildir/*/*")]:
            path.rename(path.with_name(path.name.replace("old.example", f"{name}.example")))
    new = moved(place / "old", place / "new")
    shutil.move(new / "ann" / "Maildir", new / "kept")
    shutil.move(new / "bob" / "Maildir", new / "ann" / "Maildir")
    shutil.move(new / "kept", new / "bob" / "Maildir")
    astray = next((new / "cid" / "Maildir" / "new").iterdir())
    shutil.move(astray, new / "dan" / "Maildir" / "new" / astray.name)
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        code, report = verify(
            old, there, csv(place / "a.csv", logins(place / "old")), *([] if content else ["--no-content"])
        )
    said = {
        found["login"]: [f["said"] for f in found["findings"] if f["kind"] == "elsewhere"] for found in report["boxes"]
    }
    assert code == 1
    assert said == {
        "ann": ["4 of 4 missing messages are in the box of bob on the new host"],
        "bob": ["4 of 4 missing messages are in the box of ann on the new host"],
        "cid": ["1 of 1 missing messages are in the box of dan on the new host"],
        "dan": [],
        "eve": [],
    }
    strays = [f for found in report["boxes"] if found["login"] == "cid" for f in found["findings"] if f["old"]]
    assert [f["old"]["uidl"] for f in strays] == [astray.name]
    assert "in the box of dan there" in strays[0]["said"]
    assert strays[0]["old"]["subject"].startswith("message ")


def test_a_wrong_password_is_named_by_its_side(place: Path, verify: Verify) -> None:
    for name in ("ann", "bob"):
        box(place / "old", name, 2)
    new = moved(place / "old", place / "new")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        row = place / "new.qmail" / "users" / "poppasswd"
        row.write_text(row.read_text().replace(f"bob:{HASH}", "bob:DmIMm9e5Hc8iX"))
        code, report = verify(old, there, csv(place / "a.csv", ["ann", "bob"]))
    bob = report["boxes"][1]
    assert code == 1
    assert report["boxes"][0]["verdicts"]["content"] == "equal"
    assert bob["verdicts"] == {"login": "different"} | dict.fromkeys(
        ("uidl", "order", "sizes", "content"), "not judged"
    )
    assert bob["findings"][0]["said"].startswith("the new host refused the login: -ERR")


@pytest.mark.realqmail
@pytest.mark.needs(*ON_DISK["qmail"][1])
def test_damage_on_the_way_from_real_qmail(place: Path, verify: Verify) -> None:
    for name in ("clean", *DAMAGES):
        box(place / "old", damaged(name, 0), 5 if name in DAMAGES else 150)
    new = moved(place / "old", place / "new")
    due = {
        damaged(name, 0): (DAMAGES[name][0](new / damaged(name, 0), Random(1)), DAMAGES[name][1]) for name in DAMAGES
    }
    with ON_DISK["qmail"][0](place, place / "old") as old, ours(place, new, "rfc1939") as there:
        _, report = verify(old, there, csv(place / "a.csv", logins(place / "old")))
        asked = Host("old", old)
        asked.probe()
    assert asked.ahead > 1  # it answers commands that were sent ahead, though it announces nothing
    for found in report["boxes"]:
        assert not found["retries"]
        named = {((f["old"] or f["new"])["uidl"], f["kind"]) for f in found["findings"]}
        assert named == ({due[found["login"]]} if found["login"] in due else set()), found
