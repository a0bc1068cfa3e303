"""A Maildir that courier's POP3 and IMAP servers have used: what comes over, what does not, and that it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.faults import JOE
from tests.popbox.migrate.houses import ON_DISK, box, csv, moved, ours
from tests.popbox.migrate.oldhosts import HOSTS, message

from popbox.cli.migrate import migrate
from popbox.migrate.oldhost.stores import COURIER_IDS

MESSAGES = 6
pytestmark = [pytest.mark.realqmail, pytest.mark.needs(*ON_DISK["courier"][1])]


def by_imap(maildir: Path) -> None:
    """What courier-imap leaves: its ids, keywords, subscriptions, a folder."""
    (maildir / "courierimapuiddb").write_text("1 1700000000 7\n")
    (maildir / "courierimapsubscribed").write_text("INBOX.Sent\n")
    (maildir / "courierimapkeywords").mkdir()
    (maildir / "courierimapkeywords/:list").write_text("$label1\n")
    for part in ("tmp", "new", "cur", "courierimapkeywords"):
        (maildir / ".Sent" / part).mkdir(parents=True)
    (maildir / ".Sent/maildirfolder").touch()
    for number in (1, 2):
        message(maildir / ".Sent", f"{number}.sent.old.example", number, seen=True)


def test_messages_come_with_their_uidls_and_folders_are_told(place: Path, verify: Verify) -> None:
    box(place / "old", "ann", MESSAGES)
    with ON_DISK["courier"][0](place, place / "old") as one:
        verify(one, one, csv(place / "a.csv", ["ann"]))  # a session: courier names the messages
    used = place / "old/ann/Maildir"
    assert (used / COURIER_IDS.decode()).exists(), "courier keeps its ids elsewhere now"
    by_imap(used)
    root = HOSTS["howto"](place / "host")
    shutil.rmtree(root / JOE / "Maildir")
    shutil.copytree(used, root / JOE / "Maildir")
    argv = ["import", str(root), "--to", str(place / "to")]
    result = CliRunner().invoke(migrate, argv, standalone_mode=False, catch_exceptions=False)
    assert result.return_value == 0, result.output

    told = (place / "to/not-carried.txt").read_text()
    assert f"/{JOE}/Maildir/.Sent: a folder of 2 messages: POP3 has no folders" in told
    there = place / "to/popboxes/domain-com/joe/Maildir"
    assert sum(path.is_file() for path in there.rglob("*")) == MESSAGES

    new = moved(place / "old", place / "new")
    shutil.rmtree(new / "ann/Maildir")
    shutil.copytree(there, new / "ann/Maildir")
    for path in [new / "ann/Maildir", *(new / "ann/Maildir").rglob("*")]:
        shutil.chown(path, 888, 888)
    for profile in ("rfc1939", "qmail"):
        with ON_DISK["courier"][0](place, place / "old") as one, ours(place, new, profile) as other:
            code, report = verify(one, other, csv(place / "a.csv", ["ann"]))
        assert code == 0, report["output"]
        assert report["totals"]["messages_old"] == MESSAGES
        shutil.rmtree(place / "new.qmail")
        (place / "new.log").unlink()
