"""A program line that refuses cancels forwards, one that ends with 99 the lines below it: `routes` reads them so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.migrate.routes.hosts import ELSEWHERE, HASH, UID, Making, box, imported, in_forks, routes

X = f"&x@{ELSEWHERE}\n"
SAME = {
    "gone": f"{X}|bouncesaying 'has left us'\n",
    "first": f"|exit 100\n{X}",
    "alone": "|bouncesaying no\n",
    "filed": "|bouncesaying no\n./Mailbox\n",
    "ends": f"./Maildir/\n|exit 99\n{X}",
    "led": "&gone@domain.com\n",
    "both": f"&gone@domain.com\n{X}",
}
CHANGED = {
    "sent": f"|forward y@{ELSEWHERE}\n|exit 100\n",  # y gets it, and the sender has it back: no more on the new host
    "kept": f"./Maildir/\n|exit 100\n{X}",
    "empty": f"|exit 99\n{X}",  # taken and thrown away
    "odd": f"{X}|/bin/odd\n",
    "held": f"|exit 111\n{X}",  # the sender hears nothing for days; on the new host it is forwarded
    "later": f"./Maildir/\n|/bin/false\n{X}",
}
WITH_BOX = ("joe", "ends", "kept", "later")
BOXES = "/var/qmail/popboxes/domain-com"


@pytest.fixture
def hosts(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    in_forks(monkeypatch)
    host = Making(place / "old")
    host.rcpthosts.append("domain.com")
    host.virtual.append("domain.com:domain-com")
    for name, text in {"joe": "./Maildir/\n", **SAME, **CHANGED}.items():
        box(host.root / BOXES[1:] / name, text, maildir=name in WITH_BOX)
        host.assign.append(f"=domain-com-{name}:popuser:{UID}:{UID}:{BOXES}/{name}:::")
        if name in WITH_BOX:
            host.logins.append(f"l{name}:{HASH}:popuser:{BOXES}/{name}")
    old = host.done()
    return old, imported(old, place)


def test_what_does_the_same_is_no_difference(hosts: tuple[Path, Path]) -> None:
    code, report, text = routes(*hosts, "--all")
    changed = {one["address"].partition("@")[0] for one in report["differences"] if one["what"] == "changed"}
    assert (code, changed) == (1, {*CHANGED}), text


def test_a_forward_that_is_sent_after_all_is_a_difference(hosts: tuple[Path, Path]) -> None:
    """On the new host the same line without the program, and the forward below the one that ended."""
    old, new = hosts
    (new / "popboxes/domain-com/ends/.qmail").write_text(f"./Maildir/\n{X}")
    assign = (new / "users/assign").read_text().splitlines()
    line = next(one for one in assign if one.startswith("=domain-com-ends:"))
    box(new / "popboxes/domain-com/gone", X, maildir=False)
    gone = line.replace("domain-com-ends", "domain-com-gone").replace("/ends:", "/gone:")
    (new / "users/assign").write_text("\n".join([gone, *assign]) + "\n")
    (new / "users/cdb").unlink()
    from mailhost.qmail.assign import newu

    newu(new)
    _, report, text = routes(old, new, "--all")
    changed = {one["address"].partition("@")[0] for one in report["differences"] if one["what"] == "changed"}
    assert {"ends", "gone", "led", "both"} <= changed, text


def test_mail_that_waits_is_not_mail_that_is_refused(hosts: tuple[Path, Path]) -> None:
    """Q-PROG-2: by 111 it waits on both hosts, by 100 the sender has it back."""
    old, new = hosts
    for name, text in {"held": f"|exit 111\n{X}", "later": f"./Maildir/\n|exit 100\n{X}"}.items():
        (new / f"popboxes/domain-com/{name}/.qmail").write_text(text)
    _, report, text = routes(old, new, "--all")
    changed = {one["address"].partition("@")[0]: one for one in report["differences"] if one["what"] == "changed"}
    assert "held" not in changed, text
    ends = [[end["kind"] for end in changed["later"][side]["ends"]] for side in ("old", "new")]
    assert ends == [["maildir", "deferred"], ["maildir", "bounced"]]
