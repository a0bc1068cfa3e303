"""`--purge` while a program is at work in the box, or where something there cannot be removed."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.system.beneath import Beneath

BOX = "popboxes/domain-com/joe"


@contextmanager
def at_work(place: Path, uid: int) -> Iterator[None]:
    """A process of ``uid`` that stands in a directory and makes files there as fast as it can, as a delivery may."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.chdir(place)
        os.setgid(uid)
        os.setuid(uid)
        number = 0
        while True:
            number += 1
            try:
                os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY))
            except OSError:
                number = 0
            if number == 50:
                os.write(told, b"x")
    os.read(ready, 1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)


@pytest.mark.needs("root")
def test_a_box_in_use_is_purged_and_its_user_makes_nothing_new(howto: Host) -> None:
    howto.ok("mailbox", "add", "ann@domain.com", "--login", "ann", "--crypt", HOWTO_CRYPT)
    with at_work(howto.home / BOX / "Maildir/new", 888):
        howto.ok("mailbox", "del", "joe@domain.com", "--purge")
        howto.ok("mailbox", "disable", "ann@domain.com")
    assert [path.name for path in (howto.home / "popboxes/domain-com").iterdir()] == ["ann"]
    assert not (howto.home / "popboxes/.removed").exists()


def test_what_cannot_be_removed_is_named_and_stops_no_other_change(
    howto: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    howto.ok("mailbox", "add", "ann@domain.com", "--login", "ann", "--crypt", HOWTO_CRYPT)

    def busy(_self: Beneath, path: str) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "remove", busy)
        done = howto.run("mailbox", "del", "joe@domain.com", "--purge")
    assert done.exit_code == 111
    assert "popboxes/.removed/domain-com/joe." in done.stderr
    assert done.stderr.endswith(": not all of it could be removed: Device or resource busy\n")
    howto.ok("mailbox", "disable", "ann@domain.com")
    assert "joe@" not in howto.ok("mailbox", "list")
    assert not (howto.home / BOX).exists()
