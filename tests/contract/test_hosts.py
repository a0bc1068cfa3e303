"""The contract of every host: a scenario finds the same wherever it runs, and every fault can be undone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from tests.needs import lacks, require

from popbox.clients.pop3 import Pop3
from popbox.errors import HostError
from popbox.hosts.base import Ability, Host, closing
from popbox.hosts.choose import Choice, choose, start
from popbox.hosts.readiness import greets
from popbox.scenario.names import Service
from popbox.settings import Settings, find_assets

MAILDIR = "popboxes/domain-com/joe/Maildir"
WORLDS = ["local/standin", pytest.param("docker/standin", marks=pytest.mark.docker)]
WORLDS += [pytest.param("docker/qmail", marks=[pytest.mark.docker, pytest.mark.realqmail])]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=WORLDS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with small disks and joe@domain.com."""
    name, _, mta = request.param.partition("/")
    settings = Settings(find_assets(), tmp_path_factory.mktemp("state"), None)
    if name == "docker":
        require("qmail image" if mta == "qmail" else "host docker")
    choice: Choice = choose(name, mta, settings)
    with closing(start(choice, settings, own_disk=True)) as up:
        assert up.run("domain", "add", "domain.com").code == 0
        assert up.run("mailbox", "add", "joe@domain.com", "--login", "joe", "--crypt", "DmIMm9e5Hc8ic").code == 0
        yield up


def test_files(host: Host) -> None:
    path = f"{MAILDIR}/new/1.2.mx"
    host.write(path, b"Subject: x\n\nneedle\n")
    host.chmod(path, 0o600)
    [found] = host.find(MAILDIR, "needle")
    assert (found.octets, found.entry.path) == (host.read(path), "new/1.2.mx")
    assert (found.entry.mode, found.entry.uid, host.mode(path)) == (0o600, host.uid, 0o600)
    assert [one.entry.path for one in host.search(("needle",))] == [path]
    assert host.find(MAILDIR, "nonesuch") == []
    host.remove(path)
    for refused in (host.read, host.remove, host.mode, lambda gone: host.chmod(gone, 0o600)):
        with pytest.raises(HostError, match="No such file"):
            refused(path)
    with pytest.raises(HostError, match=r"No such file|nonexistent"):
        host.write("popboxes/nonesuch/x", b"")


def test_programs(host: Host) -> None:
    ran = host.run("mkpasswd", "--password-stdin", stdin=b"a longer secret\n")
    assert (ran.code, ran.stdout[:1], ran.stderr) == (0, "$", "")
    assert host.run("mailbox", "show", "nobody@domain.com").code != 0


def test_the_log_of_pop3_names_what_was_fetched_and_removed(host: Host) -> None:
    host.write(f"{MAILDIR}/new/2.3.mx", b"Subject: x\n\nfetched\n")
    with Pop3(host.address("pop3")) as session:
        session.login("joe", "testpw")
        session.retrieve(1)
        session.command("DELE 1")
        session.quit()
    deadline = time.monotonic() + 30
    while (log := host.log("pop3")).count('"2.3.mx", "octets"') < 2:
        assert time.monotonic() < deadline, log
    assert re.findall(r'"event": "(\w+)".* "uidl": "2.3.mx"', log) == ["retrieved", "removed"]


@pytest.mark.parametrize("service", ["smtp", "pop3"])
def test_services(host: Host, service: Service) -> None:
    assert (greets(host, service), host.alive(service), host.ailments()) == ("", "", [])
    for end in (host.stop, host.kill):
        end(service)
        assert host.alive(service)
        assert greets(host, service)
        assert [one for one in host.ailments() if one.startswith(f"{service}: ")]
        host.restart(service, time.monotonic() + 30)
        assert (greets(host, service), host.ailments()) == ("", [])
    host.restart(service, time.monotonic() + 30)  # one that runs, too
    assert (greets(host, service), host.ailments()) == ("", [])


@pytest.mark.parametrize("service", ["smtp", "pop3"])
def test_a_service_that_hangs(host: Host, service: Service) -> None:
    host.pause(service, True)
    try:
        assert host.alive(service) == ""
        assert greets(host, service)
        assert [one for one in host.ailments() if "does not answer" in one]
    finally:
        host.pause(service, False)
    assert (greets(host, service), host.ailments()) == ("", [])


@pytest.mark.parametrize("service", ["smtp", "pop3"])
def test_a_cable(host: Host, service: Service) -> None:
    if why := host.cannot(Ability.PARTITION):
        with pytest.raises(HostError, match=why[:20]):
            host.cut(service, True)
        return
    host.cut(service, True)
    assert greets(host, service)
    assert host.ailments() == [f"{service}: its container is cut off from its network"]
    host.cut(service, False)
    assert (greets(host, service), host.ailments()) == ("", [])


def test_disks(host: Host) -> None:
    if why := host.cannot(Ability.OWN_DISK):
        lacks("own disks", why)
    for disk in ("queue", "popboxes"):
        host.fill(disk, True)
        assert [one for one in host.ailments() if one.startswith(f"{disk}: the disk is full")]
        host.fill(disk, False)
    path = f"{MAILDIR}/new/9.9.mx"
    host.read_only("popboxes", True)
    assert host.ailments() == ["popboxes: the disk is read-only"]
    with pytest.raises(HostError, match="Read-only file system"):
        host.write(path, b"x")
    host.read_only("popboxes", False)
    host.write(path, b"x")
    assert (host.read(path), host.ailments()) == (b"x", [])
