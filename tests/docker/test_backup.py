"""popbox backup of a running host, and popbox restore on an empty one: the same files, UIDLs and queue."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from tests.docker.conftest import Snapshot

from popbox.errors import HostError
from popbox.hosts.base import closing
from popbox.hosts.docker import DockerHost
from popbox.hosts.readiness import wait_until
from popbox.hosts.state import Registry
from popbox.operate.backup import ArchiveError, backup, restore
from popbox.settings import Settings
from popbox.testing import MailHost

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.timeout(300)]

# The queue's names are numbers that change; the lock is taken by every command.
LEFT_OUT = ("queue/", "users/.mailhost/lock", "popbox.json", "popbox.end")


def members(path: Path) -> dict[str, tuple[Any, ...]]:
    """Each file: mode, owner, whole seconds of its time, octets."""
    found = {}
    with tarfile.open(path) as archive:
        for one in archive:
            if one.isreg() and not one.name.startswith(LEFT_OUT):
                file = archive.extractfile(one)
                assert file
                found[one.name] = (one.mode, one.uid, one.gid, int(one.mtime), file.read())
    return found


def queued(path: Path) -> list[bytes]:
    """Octets of every message in the queue, in either MTA's form."""
    with tarfile.open(path) as archive:
        names = [one for one in archive if one.isreg() and {"mess", "msg"} & set(one.name.split("/"))]
        files = [archive.extractfile(one) for one in names]
        return sorted(file.read() for file in files if file)


def uidl(mail: MailHost, login: str, password: str) -> dict[int, str]:
    from popbox.clients.pop3 import Pop3

    with Pop3(mail.pop3) as session:
        session.login(login, password)
        return session.listing("UIDL")


def flush(host: DockerHost) -> None:
    """ALRM: try deferred messages now."""
    if host.mta == "qmail":
        host._container("smtp").exec_run(["s6-svc", "-a", "/run/service/qmail-send"])
    else:
        assert host.run("queue", "flush").code == 0


def test_a_restored_host_is_the_host_that_was_saved(
    mta: str, settings: Settings, tmp_path: Path, lying_around: Snapshot
) -> None:
    registry = Registry(settings.state)
    with closing(DockerHost.start(registry, settings, mta)) as old:
        mail = MailHost(old, "backup", tmp_path)
        joe, ann = mail.mailbox("joe"), mail.mailbox("ann")
        joe.expect(mail.send(joe, "Subject: one\n\n1\n"))
        with mail.session(joe) as session:
            session.quit()  # it moves to cur/
        joe.expect(mail.send(joe, "Subject: two\n\n2\n"))
        stuck = f"popboxes/{ann.domain.replace('.', '-')}/ann/Maildir"
        mail.step("break", {"chmod": {stuck: "0000"}})
        waiting = mail.send(ann, "Subject: still in the queue\n\n3\n")
        mail.step("expect-deferred", {"message": waiting.id, "says": "."})

        saved = backup(old, tmp_path / "mail.tar.gz")
        assert saved.messages == 3
        assert (tmp_path / "mail.tar.gz").stat().st_mode & 0o777 == 0o600
        before = uidl(mail, joe.login, joe.password)
        assert len(before) == 2
        with pytest.raises(HostError, match="is not empty, nothing was restored; it has popboxes/t"):
            restore(old, tmp_path / "mail.tar.gz")
        joe.expect(mail.send(joe, "Subject: the host goes on\n\n4\n"))

    with closing(DockerHost.start(registry, settings, mta)) as new:
        restore(new, tmp_path / "mail.tar.gz")
        mail = MailHost(new, "restore", tmp_path)
        assert uidl(mail, joe.login, joe.password) == before
        backup(new, tmp_path / "again.tar")
        assert members(tmp_path / "again.tar") == members(tmp_path / "mail.tar.gz")
        assert len(members(tmp_path / "again.tar")) > 10
        assert len(queued(tmp_path / "again.tar")) == len(queued(tmp_path / "mail.tar.gz")) == 1
        assert waiting.octets in queued(tmp_path / "again.tar")[0]

        new.chmod(stuck, 0o700)
        flush(new)
        assert wait_until(lambda: len(new.find(stuck, waiting.token)) == 1, time.monotonic() + 60), new.log("smtp")
        assert new.run("lint").code == 0, new.run("lint").stdout
    assert not lying_around({record.place for record in registry.all()})


@pytest.mark.parametrize("damage", ["cut short", "not ours", "another home"])
def test_an_archive_that_cannot_be_used_changes_nothing(damage: str, settings: Settings, tmp_path: Path) -> None:
    with closing(DockerHost.start(Registry(settings.state), settings, "stand-in")) as host:
        archive = tmp_path / "mail.tar.gz"
        MailHost(host, "backup", tmp_path).domain("domain.com")
        backup(host, archive)
        host.run("domain", "del", "domain.com", "--purge")
        rules = {"cut short": "not a whole tar archive", "not ours": "no archive of popbox backup"}
        if damage == "cut short":
            archive.write_bytes(archive.read_bytes()[:-200])
        elif damage == "not ours":
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(__file__, "control/me")
        else:
            whole = archive.read_bytes()
            archive.write_bytes(_with_home(whole, tmp_path))
        with pytest.raises(ArchiveError, match=rules.get(damage, "this host's home is")):
            restore(host, archive)
        assert host.alive("smtp") == ""
        assert host.run("domain", "list", "--json").stdout.strip() == "[]"


def _with_home(archive: bytes, tmp_path: Path) -> bytes:
    """The same archive, marked as made on another host."""
    import gzip

    return gzip.compress(gzip.decompress(archive).replace(b'"home": "/var/qmail"', b'"home": "/srv/qmail"'))
