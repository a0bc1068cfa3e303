"""What a change ends with where the system refuses one of its steps, and that the next one finishes it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.mailhost.cli.support import Host

from mailhost.accounts.change import hup, journal
from mailhost.accounts.errors import BusyError, HostError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import layout


def hands(home: Path, error: Exception) -> journal.HostEffects:
    def newu(_home: Path) -> None:
        raise error

    return journal.HostEffects(layout(home), newu, lambda made: None, lambda text: None)


def test_whatever_newu_ends_with_is_said_and_our_own_errors_keep_their_code(host: Host) -> None:
    with pytest.raises(HostError, match=r"users/cdb could not be made, the old one still counts: no such line"):
        journal.newu(hands(host.home, ValueError("no such line")))
    with pytest.raises(BusyError, match="not now"):
        journal.newu(hands(host.home, BusyError("not now")))
    with pytest.raises(BusyError, match=r"the old one still counts: .*No space left on device"):
        journal.newu(hands(host.home, OSError(errno.ENOSPC, "No space left on device")))


def test_a_sender_that_may_not_be_signalled_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_home: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(hup, "hup", refused)
    done = host.run("domain", "add", "d.example")
    assert (done.exit_code, "may not be signalled by this user: send it HUP" in done.stderr) == (1, True)


def test_a_text_that_cannot_be_published_is_published_by_the_next_change(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = durable.publish

    def refused(staged: Path, path: Path) -> None:
        if path.name == "virtualdomains":
            raise OSError(errno.EROFS, "Read-only file system")
        publish(staged, path)

    with monkeypatch.context() as patched:
        patched.setattr(durable, "publish", refused)
        done = host.run("domain", "add", "d.example")
        assert (done.exit_code, done.stderr) == (
            111,
            "mailhost: control/virtualdomains: cannot be written: Read-only file system\n",
        )
    host.ok("domain", "add", "e.example")
    assert host.text("control/virtualdomains").splitlines() == ["d.example:d-example", "e.example:e-example"]
    assert host.ok("lint") == "nothing wrong\n"
