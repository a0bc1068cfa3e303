"""Hand edits while a change is made are never lost, and what is published was on the disk before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts.change import journal
from mailhost.accounts.change.journal import HostEffects, Step
from mailhost.accounts.layout import Layout

JOURNAL = "users/.mailhost/journal"
CHANGED = "{}: it was changed by someone else in between, so the change is not made"
ADD_BOX = ["mailbox", "add", "ann@domain.com", "--login", "ann", "--crypt", HOWTO_CRYPT]
ADD_DOMAIN = ["domain", "add", "new.example"]
HAND = {"users/domains/domain.com": b"=domain-com-hand:popuser:888:888:/var/qmail/popboxes/domain-com/joe:::\n"}
TARGETS = [
    (ADD_DOMAIN, "control/rcpthosts"),
    (ADD_DOMAIN, "control/virtualdomains"),
    (ADD_BOX, "users/poppasswd"),
    (ADD_BOX, "users/domains/domain.com"),
]


def edit_by_hand(host: Host, target: str) -> bytes:
    """As an editor does: the same name, another file, a line more."""
    path = host.home / target
    text = path.read_bytes() + HAND.get(target, b"# by hand\n")
    fresh = path.with_name("edited")
    fresh.write_bytes(text)
    fresh.replace(path)
    return text


@pytest.mark.parametrize(("command", "target"), TARGETS)
def test_a_file_edited_by_hand_while_a_change_is_put_together_keeps_the_edit(
    howto: Host, monkeypatch: pytest.MonkeyPatch, command: list[str], target: str
) -> None:
    path, check, texts = howto.home / target, journal.check, list[bytes]()

    def edited_then_check(layout: Layout, steps: list[Step]) -> None:
        if not texts:
            texts.append(edit_by_hand(howto, target))
        check(layout, steps)

    monkeypatch.setattr(journal, "check", edited_then_check)
    done = howto.run(*command)
    assert done.exit_code != 0
    assert CHANGED.format(target) in done.stderr
    assert path.read_bytes() == texts[0]
    assert not (howto.home / JOURNAL).exists()
    howto.ok(*command)
    assert texts[0].splitlines()[-1] in path.read_bytes().splitlines()


@pytest.mark.parametrize(("command", "target"), TARGETS)
def test_a_file_edited_by_hand_after_the_journal_keeps_the_edit_and_holds_the_change_up(
    howto: Host, monkeypatch: pytest.MonkeyPatch, command: list[str], target: str
) -> None:
    path, replay, texts = howto.home / target, journal.replay, list[bytes]()

    def edited_then_replay(steps: list[Step], hands: HostEffects) -> list[str]:
        if not texts:
            texts.append(edit_by_hand(howto, target))
        return replay(steps, hands)

    monkeypatch.setattr(journal, "replay", edited_then_replay)
    for _ in range(2):  # the next writer finds the journal and the edit
        done = howto.run(*command)
        assert done.exit_code != 0
        assert CHANGED.format(target) in done.stderr
        assert path.read_bytes() == texts[0]
    (howto.home / JOURNAL).unlink()  # as the message says
    assert path.read_bytes() == texts[0]


@pytest.mark.parametrize("command", [ADD_DOMAIN, ADD_BOX, ["catchall", "set", "domain.com", "joe@domain.com"]])
def test_what_takes_a_files_place_was_synced_before_and_its_directory_after(
    howto: Host, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    synced: dict[int, int] = {}  # inode -> octets at its last sync
    published: list[str] = []
    unsynced: set[str] = set()  # directories with a new name
    fsync, replace = os.fsync, os.replace

    def note_sync(fd: int) -> None:
        fsync(fd)
        status = os.fstat(fd)
        synced[status.st_ino] = status.st_size
        unsynced.discard(str(Path(f"/proc/self/fd/{fd}").readlink()))

    def note_replace(source: str | Path, target: str | Path) -> None:
        status = Path(source).stat()
        assert synced.get(status.st_ino) == status.st_size, f"{target} is not on the disk"
        published.append(str(Path(target).relative_to(howto.home)))
        replace(source, target)
        unsynced.add(str(Path(target).parent))

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    howto.ok(*command)
    assert JOURNAL in published
    assert len(published) > 1
    assert unsynced == set()
