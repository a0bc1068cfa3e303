"""popbox/box: one container with the stand-in MTA, POP3 and the HTTP API, as a CI starts it."""

from __future__ import annotations

import smtplib
import urllib.request
from collections.abc import Iterator

import pytest
from tests.docker.boxes import TOKEN, Box, box, docker, image
from tests.docker.stacks import until
from tests.needs import require

from popbox.clients.pop3 import Pop3
from popbox.clients.wire import Address

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def up() -> Iterator[Box]:
    require("host docker")
    with box("--env", f"POPBOX_TOKEN={TOKEN}", "--env", "POPBOX_PASSWORD=sesame", "--env", "POPBOX_NAMES=mx") as one:
        yield one


def test_any_address_takes_mail_and_pop3_hands_it_out(up: Box) -> None:
    with smtplib.SMTP("127.0.0.1", up.port(25), timeout=60) as application:
        application.sendmail("a@b.example", ["whoever@popbox.test"], "Subject: hello\n\nHi.\n")
    until(lambda: b"Subject: hello" in first(up), "the message")
    until(lambda: "smtp | " in up.logs(), "the log of the MTA on standard output")
    assert "sesame" not in up.logs() + docker("exec", up.name, "cat", "/proc/1/cmdline")


def first(up: Box) -> bytes:
    with Pop3(Address("127.0.0.1", up.port(110)), timeout_s=60) as session:
        session.login("anyone", "sesame")
        return session.retrieve(1) if session.stat()[0] else b""


def test_it_says_that_it_is_a_stand_in(up: Box) -> None:
    assert "host local, MTA stand-in (not qmail)" in up.logs().splitlines()[0]
    status, body = up.ask("/readyz")
    assert (status, body["mta"], body["smtp"], body["pop3"]) == (200, "stand-in", "127.0.0.1:25", "127.0.0.1:110")
    assert "stand-in" in docker("inspect", "--format", "{{json .Config.Labels}}", image()).lower()


def test_a_browser_gets_pages(up: Box) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.port(8025)}/", timeout=60) as answer:
        page = answer.read().decode()
    assert "<h1>Journeys</h1>" in page
    assert "it is not qmail" in page


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("box:8025", 200), ("popbox__box", 200), ("mx:8025", 200),
        ("rebound.example", 421), ("box.rebound.example:8025", 421), ("mail:8025", 421),
    ],
)  # fmt: skip
def test_addresses_and_known_names_are_served_and_no_others(up: Box, host: str, status: int) -> None:
    assert up.ask("/v1/accounts", Host=host)[0] == status


def test_it_runs_without_any_privilege(up: Box) -> None:
    said = docker("exec", up.name, "sh", "-c", "cat /proc/[0-9]*/status | grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)'")
    kinds = {tuple(line.split()) for line in said.splitlines()}
    none = "0" * 16
    assert kinds == {("Uid:", *["888"] * 4), ("CapEff:", none), ("CapBnd:", none), ("NoNewPrivs:", "1")}
    assert docker("exec", up.name, "cat", "/proc/1/comm") == "tini"
    writable = "for d in / /etc /opt /usr /tmp /var /run; do (: >$d/probe) 2>/dev/null && echo $d; done; true"
    assert docker("exec", up.name, "sh", "-c", writable) == ""


def test_health_is_what_the_protocols_say(up: Box) -> None:
    until(lambda: up.state(".State.Health.Status") == "healthy", "healthy")
    up.signal("pop3", "STOP")
    try:
        status, body = up.ask("/readyz")
        assert (status, body["evidence"][0][:6]) == (503, "pop3: ")
        assert "503" in docker("exec", up.name, "healthy-box", check=False)
    finally:
        up.signal("pop3", "CONT")
    until(up.ready, "ready again")


def test_it_stops_in_order_and_begins_empty(up: Box) -> None:
    docker("stop", "--time", "30", up.name)
    assert up.state(".State.ExitCode") == "0"
    docker("start", up.name)
    until(up.ready, "ready")
    assert first(up) == b""
    docker("kill", up.name)
    docker("start", up.name)
    until(up.ready, "ready after a kill")
    assert docker("exec", up.name, "sh", "-c", "ls -d /var/lib/popbox/popbox-* | wc -l") == "1"


@pytest.mark.parametrize("service", ["standin", "pop3"])
def test_it_ends_when_a_program_does(service: str) -> None:
    with box() as one:
        token = docker("exec", one.name, "cat", "/var/lib/popbox/token")
        assert len(token) > 30
        assert token not in one.logs()
        one.signal(service, "KILL")
        until(lambda: one.state(".State.Running") == "false", "the end of the container")
        assert one.state(".State.ExitCode") == "1"
        assert "the container ends" in one.logs()


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("POPBOX_TOKEN=short", "POPBOX_TOKEN: a token is 16 to 200"),
        ("POPBOX_NAMES=box,a:80", "POPBOX_NAMES: 'a:80' is no name"),
        ("POPBOX_DOMAIN=--help", "POPBOX_DOMAIN, POPBOX_PASSWORD: "),
        ("POPBOX_DOMAIN=no domain", "POPBOX_DOMAIN, POPBOX_PASSWORD: "),
    ],
)
def test_what_cannot_be_used_ends_it_and_is_named(variable: str, said: str) -> None:
    done = docker("run", "--rm", "--env", variable, image(), check=False)
    assert said in done
    assert "Traceback" not in done


def test_another_uid_needs_a_volume_of_its_own() -> None:
    refused = docker("run", "--rm", "--user", "1000:1000", image(), check=False)
    said = "box: /var/lib/popbox: uid 1000 cannot write there; uid 888 can, or give it a volume of its own"
    assert refused == said
    with box("--user", "1000:1000", "--tmpfs", "/var/lib/popbox:uid=1000,mode=0700") as one:
        with smtplib.SMTP("127.0.0.1", one.port(25), timeout=60) as application:
            application.sendmail("a@b.example", ["whoever@popbox.test"], "Subject: mine\n\nHi.\n")
        found = one.ask("/v1/messages/wait?to=whoever@popbox.test&subject=mine")
        assert (found[0], docker("exec", one.name, "id", "-u")) == (200, "1000")
