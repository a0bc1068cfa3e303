"""`popbox migrate routes`: what it reads, what it says, how it ends."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.popbox.migrate.routes.hosts import ELSEWHERE, HASH, UID, Making, box, imported, own, put, routes

from popbox.migrate.routes.compare import Answer, End, judge, same
from popbox.migrate.routes.logs import recipients


def small(root: Path) -> Path:
    """joe@domain.com, and a forward."""
    host = Making(root)
    host.rcpthosts.append("domain.com")
    host.virtual.append("domain.com:domain-com")
    boxes = "/var/qmail/popboxes/domain-com"
    box(root / boxes[1:] / "joe")
    box(root / boxes[1:] / "fwd", f"&x@{ELSEWHERE}\n", maildir=False)
    host.assign += [f"=domain-com-{name}:popuser:{UID}:{UID}:{boxes}/{name}:::" for name in ("joe", "fwd")]
    host.logins.append(f"aa1:{HASH}:popuser:{boxes}/joe")
    return host.done()


def vpop(root: Path) -> Path:
    """joe with a box, ann who only forwards, an alias; unknown addresses are refused."""
    host, top = Making(root), "/home/vpopmail/domains/v.example"
    host.rcpthosts.append("v.example")
    host.virtual.append("v.example:v.example")
    host.assign.append(f"+v.example-:v.example:{UID}:{UID}:{top}:-::")
    rows = "".join(f"{user}:{HASH}:1:0:{user}:{top}/{user}:NOQUOTA\n" for user in ("joe", "ann"))
    put(root / top[1:] / "vpasswd", rows, 0o600)
    box(root / top[1:] / "joe", None)
    box(root / top[1:] / "ann", f"&a@{ELSEWHERE}\n")
    put(root / top[1:] / ".qmail-default", "| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox\n")
    put(root / top[1:] / ".qmail-info", "&joe@v.example\n")
    own(root / top[1:], UID)
    return host.done()


@pytest.fixture
def moved(place: Path) -> tuple[Path, Path]:
    """A small host and its new home."""
    old = small(place / "old")
    return old, imported(old, place)


def test_a_clean_move_has_no_differences(moved: tuple[Path, Path]) -> None:
    code, report, text = routes(*moved)
    assert code == 0, text
    assert (report["changed"], report["not_judged"]) == (0, 0)
    assert report["kinds"]["assign"] == 2
    assert report["old"]["owners_count"] is (os.getuid() == 0)


def test_a_difference_names_files_and_lines_of_both_sides(moved: tuple[Path, Path]) -> None:
    old, new = moved
    (new / "popboxes/domain-com/fwd/.qmail").write_text(f"# moved\n&y@{ELSEWHERE}\n")
    code, report, text = routes(old, new)
    assert code == 1
    found = {one["address"]: one for one in report["differences"] if one["what"] == "changed"}
    assert list(found) == ["fwd@domain.com"]
    assert found["fwd@domain.com"]["old"]["where"][-1] == "/var/qmail/popboxes/domain-com/fwd/.qmail:1"
    assert found["fwd@domain.com"]["new"]["where"][-1] == f"{new}/popboxes/domain-com/fwd/.qmail:2"
    assert f"  old  remote x@{ELSEWHERE}\n" in text
    assert f"  new  remote y@{ELSEWHERE}\n" in text


def test_vpopmails_boxes_and_forwards_are_what_vdelivermail_makes_of_them(place: Path) -> None:
    old = vpop(place / "old")
    new = imported(old, place)
    code, report, text = routes(old, new)
    assert code == 0, text
    assert report["kinds"]["reader"] >= 3
    (joe,) = (new / "popboxes").glob("*/joe")
    (joe / ".qmail").write_text("&joe@far.example\n")
    code, report, _ = routes(old, new)
    changed = {one["address"] for one in report["differences"] if one["what"] == "changed"}
    assert (code, changed) == (1, {"joe@v.example", "info@v.example"})


def test_addresses_of_a_list_and_of_logs_are_asked_too(moved: tuple[Path, Path], place: Path) -> None:
    old, new = moved
    with (old / "var/qmail/control/virtualdomains").open("a") as file:
        file.write(".sub.example:domain-com\n")
    with (old / "var/qmail/control/rcpthosts").open("a") as file:
        file.write(".sub.example\n")
    listed, log = place / "list", place / "current.gz"
    listed.write_text("joe@a.sub.example\r\n\n")
    log.write_bytes(
        gzip.compress(
            b"@400000005f starting delivery 7: msg 12 to local domain-com-JOE@b.sub.example\n"
            b"Nov 1 qmail: 1.5 starting delivery 8: msg 12 to remote far@new.example\n"
            b"status: local 1/10 remote 0/20\n"
        )
    )
    with (new / "control/locals").open("a") as file:
        file.write("new.example\n")  # mail for it does not leave the new host any more
    code, report, text = routes(old, new, "--addresses", str(listed), "--log", str(log))
    found = {one["address"]: one["kind"] for one in report["differences"] if one["what"] == "changed"}
    assert code == 1, text
    assert {
        "joe@a.sub.example": "given",
        "JOE@b.sub.example": "log",
        "far@new.example": "relayed",
    }.items() <= found.items()


def test_a_copy_of_the_home_alone_needs_passwd(moved: tuple[Path, Path]) -> None:
    old, new = moved
    code, report, text = routes(old / "var/qmail", new)
    assert (code, report["not_judged"] > 0) == (1, True), text
    assert "note: old: which accounts it has is not known: --old-passwd FILE names its /etc/passwd\n" in text
    assert "--new-passwd" not in text
    code, _, text = routes(old / "var/qmail", new, "--old-passwd", str(old / "etc/passwd"))
    assert code == 0, text


@pytest.mark.parametrize("spoil", ["virtualdomains", "none"])
def test_what_cannot_be_used_ends_with_2_and_names_the_file(moved: tuple[Path, Path], place: Path, spoil: str) -> None:
    old, new = moved
    if spoil == "none":
        new = place
    else:
        (new / "control" / spoil).unlink()
        (new / "control" / spoil).mkdir()
    argv = [sys.executable, "-P", "-m", "popbox", "migrate", "routes", "--old", str(old), "--new", str(new)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2, done
    assert ("control/virtualdomains" if spoil != "none" else str(place)) in done.stderr


@pytest.mark.parametrize("odd", ["fifo", "link", "huge"])
def test_a_hostile_old_host_is_read_without_harm(moved: tuple[Path, Path], place: Path, odd: str) -> None:
    old, new = moved
    dot = old / "var/qmail/popboxes/domain-com/fwd/.qmail"
    dot.unlink()
    if odd == "fifo":
        os.mkfifo(dot)
        os.mkfifo(old / "var/qmail/alias/.qmail-\x1b[2J")
    elif odd == "link":
        (place / "secret").write_text("hunter2@far.example\n")
        dot.symlink_to(place / "secret")
    else:
        dot.touch()
        os.truncate(dot, 1 << 36)
    code, _, text = routes(old, new)
    assert code == 1
    assert "hunter2" not in text
    assert "\x1b" not in text


BOX = Answer(True, (End("maildir", "/old"),))


def test_pure_comparison() -> None:
    def box_of(old: str, new: str) -> bool:
        return (old, new) == ("/old", "/new")

    new = Answer(True, (End("maildir", "/new"),))
    far, gone = Answer(True, (End("remote", "x@Far.Example"),)), Answer(True, (End("bounced", "no (#5.1.1)"),))
    assert same(BOX, new, box_of)
    assert not same(BOX, BOX, box_of)
    assert not same(BOX, Answer(True, new.ends * 2), box_of)
    assert not same(BOX, new._replace(accepted=False), box_of)
    assert same(BOX, new._replace(accepted=False), box_of, relayed=True)
    assert same(far, Answer(True, (End("remote", "x@far.example"),)), box_of)
    assert not same(far, Answer(True, (End("remote", "X@far.example"),)), box_of)
    assert same(gone, Answer(True, (End("bounced", "other words (#5.1.1)"),)), box_of)
    assert same(gone, far._replace(accepted=False), box_of)
    assert not same(gone, Answer(True, (End("deferred", "no (#4.3.0)"),)), box_of)
    added = judge(b"a@b", "new", gone, new, box_of)
    assert added is not None
    assert added.what == "added"
    relay = judge(b"a@b", "new", gone, far, box_of)
    assert relay is not None
    assert relay.what == "changed"
    unknown = judge(b"a@b", "assign", Answer(True, (End("not judged", "why"),)), new, box_of)
    assert unknown is not None
    assert unknown.what == "not judged"


def test_logs_give_back_what_the_sender_wrote() -> None:
    lines = [
        b"starting delivery 1: msg 5 to local d-com-joe@d.com",
        b"starting delivery 2: msg 5 to local sub-a-b@x.sub.org",
        b"starting delivery 3: msg 5 to local ann@here.net",
        b"starting delivery 4: msg 5 to remote far@a.b",
        b"delivery 4: success: did_1+0+0/",
    ]
    assert list(recipients(lines, {b"d.com": b"d-com", b".sub.org": b"sub"})) == [
        ("log", b"joe@d.com"),
        ("log", b"a-b@x.sub.org"),
        ("log", b"ann@here.net"),
        ("relayed", b"far@a.b"),
    ]
