"""The compose profile ``console``: the way of every message beside a deployment, over volumes that it only reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docker.stacks import Stack, names, started, until
from tests.needs import require
from tests.popbox.serve.served import ask, octets

from popbox.clients.pop3 import Pop3
from popbox.clients.wire import Address
from popbox.pytest_notes import note_exercised

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=["standin", pytest.param("qmail", marks=pytest.mark.realqmail)])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    if request.param == "qmail":
        require("qmail image")
    profiles = {"COMPOSE_PROFILES": f"{request.param},console", "POPBOX_CONSOLE_PORT": "127.0.0.1::8025"}
    with names():
        yield from started(request.param, **profiles)


@pytest.fixture(autouse=True)
def exercised(request: pytest.FixtureRequest, stack: Stack) -> None:
    note_exercised(request.node, f"host docker, MTA {'qmail' if stack.mta == 'qmail' else 'stand-in'}")


def port(stack: Stack) -> int:
    return int(stack.compose("port", "console", "8025").rpartition(":")[2])


def asked(stack: Stack, path: str) -> Any:
    """What the API answers."""
    status, answer, _ = ask(port(stack), path)
    assert status == 200, answer
    return answer


def ready(stack: Stack) -> Any:
    """What /readyz says once it is ready."""
    status, answer, _ = ask(port(stack), "/readyz")
    return answer if status == 200 else None


def journey(stack: Stack, subject: str) -> Any:
    return next(iter(asked(stack, f"/v1/journeys?subject={subject}")["journeys"]), None)


def test_all_four_legs_are_seen(stack: Stack) -> None:
    stack.send(b"Seen-in-the-console")
    found = asked(stack, "/v1/messages/wait?to=joe@domain.com&subject=Seen-in-the-console")
    assert found["messages"][0]["text"] == "hello\n"
    at = stack.compose("port", "pop3", "110").strip().rpartition(":")
    with Pop3(Address(at[0], int(at[2])), timeout_s=60) as session:
        session.login("testid", "testpw")
        session.retrieve(session.stat()[0])
        session.quit()

    def fetched() -> Any:
        seen = journey(stack, "Seen-in-the-console")
        return seen if seen["legs"]["POP3"] == "done" else None

    seen = until(fetched, "the line of POP3")
    assert (set(seen["legs"].values()), seen["end"], seen["alarms"]) == ({"done"}, "delivered exactly once", 0)
    mta = "qmail" if stack.mta == "qmail" else "stand-in"
    assert (found["host"], found["mta"]) == ("mounted", mta)
    assert until(lambda: ready(stack), "the names of both services")["smtp"] == f"{stack.mta}:25"


def test_mail_that_does_not_arrive_is_shown_with_the_reason(stack: Stack) -> None:
    stack.send(b"Nowhere", "nobody@domain.com")

    def bounced() -> Any:
        found = asked(stack, "/v1/journeys?to=nobody@domain.com")["journeys"]
        return found if found and found[0]["end"] == "bounced" else None

    [seen] = until(bounced, "the end of the message")
    assert "no mailbox here by that name" in seen["why"]


def test_every_page_answers_and_what_is_not_seen_says_why(stack: Stack) -> None:
    for path in ("/", "/accounts", "/queue", "/explain?address=joe@domain.com", "/file?path=users/assign"):
        status, body, _ = octets(port(stack), path)
        assert (status, b"<h1>" in body) == (200, True), path
    assert b"lint is for the mail host itself" in octets(port(stack), "/accounts")[1]
    assert asked(stack, "/v1/explain?address=joe@domain.com")["explained"]["outcome"] == "delivered"
    assert [one["login"] for one in asked(stack, "/v1/accounts")["mailboxes"]] == ["testid", "slowid"]


def test_it_may_read_and_nothing_else(stack: Stack) -> None:
    said = stack.sh("console", "cat /proc/[0-9]*/status | grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)'")
    none = "0" * 16
    kinds = {tuple(line.split()) for line in said.splitlines()}
    assert kinds == {("Uid:", *["888"] * 4), ("CapEff:", none), ("CapBnd:", none), ("NoNewPrivs:", "1")}
    places = "/ /etc /opt /usr /run $(find /var/qmail /var/log/popbox -type d 2>/dev/null)"
    writable = f"for d in {places}; do (: >$d/probe) 2>/dev/null && echo $d; done; true"
    assert stack.sh("console", writable) == ""
    assert stack.sh("console", "ls /var/run/docker.sock /run/docker.sock 2>/dev/null", check=False) == ""
    host = stack.state("console")["HostConfig"]
    assert (host["ReadonlyRootfs"], host["Privileged"], host["CapAdd"]) == (True, False, None)


def test_a_killed_console_goes_on_where_it_was(stack: Stack) -> None:
    before = [one["id"] for one in asked(stack, "/v1/journeys")["journeys"]]
    stack.compose("kill", "console")
    stack.send(b"While-it-was-down")
    stack.compose("up", "--detach", "--wait")
    until(lambda: journey(stack, "While-it-was-down"), "the message that came while it was down")
    after = [one["id"] for one in asked(stack, "/v1/journeys")["journeys"]]
    assert after[1:] == before


def test_popbox_knows_of_it(stack: Stack, tmp_path: Path) -> None:
    def popbox(*argv: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        argv = (sys.executable, "-m", "popbox", *argv)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=environ)

    until(lambda: ready(stack), "the console to reach both services")
    shown = [one for one in json.loads(popbox("status", "--json").stdout) if one["name"] == stack.project]
    assert [(one["http"], one["wrong"]) for one in shown] == [(f"http://127.0.0.1:{port(stack)}", {})]
    refused = popbox("down", stack.project)
    assert refused.returncode == 3
    assert f"`docker compose -p {stack.project} down`" in refused.stderr
