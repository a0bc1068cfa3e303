"""``popbox serve --on PROJECT`` beside a compose deployment, and faults on it, as the deployment's console sees it."""

from __future__ import annotations

import os
import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docker.stacks import Stack, names, started, until
from tests.needs import require
from tests.popbox.serve.api import TOKEN
from tests.popbox.serve.mailing import cursor_of
from tests.popbox.serve.served import ask, post, serving

from popbox.clients.pop3 import Pop3
from popbox.clients.wire import Address

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.slow, pytest.mark.timeout(600)]

WORLD = "host docker, MTA stand-in"
WRITES = {"said": "writes with the token of POPBOX_TOKEN", "POPBOX_TOKEN": TOKEN}
SERVICES = {"smtp": "standin", "pop3": "pop3"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    require("host docker")
    with names():
        yield from started("standin", COMPOSE_PROFILES="standin,console", POPBOX_CONSOLE_PORT="127.0.0.1::8025")


@pytest.fixture
def options() -> dict[str, Any]:
    return {"world": WORLD, "DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}


def on(stack: Stack, tmp_path: Path) -> tuple[str, ...]:
    """The same store for each serve of a test, so that the next goes on where one was killed."""
    return ("--on", stack.project, "--store", str(tmp_path / "journeys"))


def published(stack: Stack, service: str, inner: int) -> Address:
    host, _, port = stack.compose("port", service, str(inner)).strip().rpartition(":")
    return Address(host, int(port))


def test_it_is_served_like_any_host(stack: Stack, tmp_path: Path, options: dict[str, Any]) -> None:
    with serving(tmp_path, *on(stack, tmp_path), "--allow-writes", **WRITES, **options) as (port, _):
        since, at = cursor_of(port), published(stack, "standin", 25)
        with smtplib.SMTP(at.host, at.port, timeout=60) as application:
            application.sendmail("a@b.example", ["joe@domain.com"], "Subject: Beside\r\n\r\nhello\r\n")
        status, body, _ = ask(port, f"/v1/messages/wait?to=joe@domain.com&subject=Beside&since={since}")
        assert (status, body["host"], body["messages"][0]["text"]) == (200, "docker", "hello\n")
        with Pop3(published(stack, "pop3", 110), timeout_s=60) as session:
            session.login("testid", "testpw")
            session.retrieve(session.stat()[0])
            session.quit()

        def legs() -> Any:
            [seen] = ask(port, f"/v1/journeys?subject=Beside&since={since}")[1]["journeys"]
            return set(seen["legs"].values()) == {"done"}

        until(legs, "all four legs")
        status, space = post(port, "/v1/spaces", {}, popbox_token=TOKEN)
        assert status == 201, space
        status, sent = post(port, "/v1/messages", {"to": [f"x@{space['domain']}"]}, popbox_space=space["token"])
        assert (status, sent["accepted"]) == (200, True)
        assert ask(port, f"/v1/spaces/{space['space']}", "DELETE", popbox_token=TOKEN)[0] == 200
        assert [one["domain"] for one in ask(port, "/v1/accounts")[1]["domains"]] == ["domain.com"]


@pytest.mark.parametrize(("fault", "target"), [("partition", "smtp"), ("stop", "pop3")])
def test_a_fault_is_seen_by_the_console_and_healed_by_a_later_start(
    stack: Stack, tmp_path: Path, options: dict[str, Any], fault: str, target: str
) -> None:
    console = published(stack, "console", 8025).port
    with serving(tmp_path, *on(stack, tmp_path), "--allow-writes", **WRITES, **options) as (port, program):
        status, said = post(port, "/v1/faults", {"fault": "fill", "on": "queue"}, popbox_token=TOKEN)
        assert (status, said["evidence"]) == (409, ["this host was started without a disk of its own"])
        status, made = post(port, "/v1/faults", {"fault": fault, "on": target}, popbox_token=TOKEN)
        assert status == 201, made
        status, ready, _ = ask(console, "/readyz")
        assert (status, ready["evidence"][0].partition(":")[0]) == (503, target)
        program.send_signal(signal.SIGKILL)
        program.wait(timeout=60)
    assert ask(console, "/readyz")[0] == 503
    with serving(tmp_path, *on(stack, tmp_path), **options):
        until(lambda: ask(console, "/readyz")[0] == 200, f"the console to reach {SERVICES[target]} by its name")
    assert stack.compose("ps", "--status", "running", "--services").split() == ["console", "pop3", "standin"]
