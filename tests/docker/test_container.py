"""MailHostContainer: the mail host as one object, without the pytest plugin."""

from __future__ import annotations

import pytest
from tests.docker.conftest import Snapshot

import docker
from popbox.container import MailHostContainer
from popbox.errors import HostError

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.timeout(300)]


def test_a_container_takes_mail_hands_it_out_and_leaves_nothing(
    mta: str, engine: docker.DockerClient, lying_around: Snapshot
) -> None:
    with MailHostContainer("qmail" if mta == "qmail" else "standin") as host:
        assert host.mta == mta
        smtp, pop3 = host.mail.smtp, host.mail.pop3
        assert (host.get_exposed_port(25), host.get_exposed_port(110)) == (smtp.port, pop3.port)
        assert host.get_container_host_ip() == smtp.host
        project = engine.containers.list(filters={"publish": f"{smtp.port}"})[0].labels["com.docker.compose.project"]
        assert lying_around({project})

        joe = host.mail.mailbox("joe")
        sent = host.mail.send(joe, "Subject: hello\n\nIt works.\n")
        joe.expect(sent)
        with host.mail.session(joe) as session:
            assert session.retrieve(1).endswith(sent.octets)
        host.mail.step("log", {"service": "smtp", "says": f"to local {joe.domain.replace('.', '-')}-joe@{joe.domain}"})
        assert host.get_logs()["smtp"]
        assert joe.address in host.exec("mailbox", "list").stdout
    with pytest.raises(HostError, match="not started"):
        host.get_exposed_port(25)
    assert not lying_around({project})


def test_only_published_ports_are_told() -> None:
    with pytest.raises(ValueError, match="port 143 is not published; there are 25, 110"):
        MailHostContainer().get_exposed_port(143)


def test_a_wish_that_cannot_be_met_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(HostError, match="host docker is not available"):
        MailHostContainer().start()
