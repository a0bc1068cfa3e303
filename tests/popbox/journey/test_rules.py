"""What the mail host's own rules say of an address, read from ``mailhost explain --json``; its logins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.errors import HostError
from popbox.hosts.base import Ran
from popbox.journey.join.rules import Login, ask, logins
from popbox.journey.model import Foretold

HOME = "/var/qmail/popboxes/c/joe"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("popbox.journey.join.rules.time.time", lambda: 5.0)


def delivery(kind: str, argument: str = "", onward: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": kind, "argument": argument, "onward": onward}


def way(outcome: str = "delivered", *deliveries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "address": "x@y", "outcome": outcome, "assignment": {"home": HOME}, "deliveries": list(deliveries),
        "steps": [], "failure": None, "hints": [], **more,
    }  # fmt: skip


def asked(said: object, code: int = 0) -> Foretold:
    return ask(FakeHost(ran=Ran((), code, json.dumps(said), "")), "joe@c")


def test_places_are_below_the_home_and_in_the_order_of_the_instructions() -> None:
    onward = way("delivered", delivery("maildir", "./Maildir/"), assignment={"home": "/var/qmail/popboxes/c/eve"})
    route = asked(
        way(
            "delivered",
            delivery("mbox", "./Mailbox"),
            delivery("program", "|true"),
            delivery("forward", "eve@c", onward),
            delivery("maildir", "./Maildir/"),
        )
    )
    boxes = ("popboxes/c/eve/Maildir", "popboxes/c/joe/Maildir")
    assert route == Foretold("joe@c", "delivered", "", boxes, ("popboxes/c/joe/Mailbox",), ("program |true",), 5.0, "")
    assert route.places == (*boxes, "popboxes/c/joe/Mailbox")


@pytest.mark.parametrize("outcome", ["bounced", "deferred", "remote", "discarded"])
def test_what_is_not_delivered_has_no_places(outcome: str) -> None:
    route = asked(way(outcome, delivery("maildir", "./Maildir/")), code=1)
    assert (route.outcome, route.places, route.elsewhere) == (outcome, (), ())


def test_copies_that_are_kept_nowhere_here_are_told_through_forwards() -> None:
    away = way("remote", address="x@elsewhere")
    onward = way("delivered", delivery("maildir", "./Maildir/"), delivery("forward", "x@elsewhere", away))
    route = asked(way("delivered", delivery("forward", "eve@c", onward), delivery("forward", "y@z", None)))
    assert route.elsewhere == ("remote: x@elsewhere",)
    assert route.places == ("popboxes/c/joe/Maildir",)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"steps": [{"file": "a", "line": 1, "result": ""}, {"file": "b", "line": 2, "result": ""}]}, "b:2"),
        ({"steps": [{"file": "b", "line": None, "result": ""}]}, "b"),
        ({"failure": {"text": "no mailbox here"}}, "no mailbox here"),
        ({"hints": [{"text": "one"}, {"text": "two"}]}, "one"),
        (
            {
                "steps": [{"file": "b", "line": 2, "result": ""}],
                "failure": {"text": "no"},
                "hints": [{"text": "one"}],
            },
            "b:2; no; one",
        ),
        ({}, ""),
    ],
)
def test_the_reason_is_the_step_that_decided_its_words_and_the_first_hint(said: dict[str, Any], why: str) -> None:
    assert asked(way("bounced", **said), code=1).why == why


@pytest.mark.parametrize(
    ("ran", "why"),
    [
        (Ran((), 2, "out", "no such host\n"), "no such host"),
        (Ran((), 3, " out\n", ""), "out"),
        (Ran((), 0, "{", ""), "Expecting property name"),
        (Ran((), 1, "", ""), "Expecting value"),
    ],
)
def test_a_host_that_cannot_say_makes_the_route_unknown(ran: Ran, why: str) -> None:
    route = ask(FakeHost(ran=ran), "joe@c")
    assert (route.address, route.outcome, route.places, route.at) == ("joe@c", "unknown", (), 5.0)
    assert route.why.startswith(why)


def test_of_a_host_that_does_not_answer_the_first_line_is_the_reason() -> None:
    class Gone(FakeHost):
        def run(self, *argv: str, stdin: bytes = b"") -> Ran:
            assert argv == ("explain", "--json", "--", "-joe@c")  # an address may begin as an option does
            raise HostError("the container has ended", "its log")

    assert ask(Gone(), "-joe@c") == Foretold("-joe@c", "unknown", "the container has ended", at=5.0)


def test_logins_are_the_lines_with_four_fields() -> None:
    lines = b"joe:$1$x:popuser:/var/qmail/popboxes/c/joe \nbad:line\n\nd:h:u:/srv/d/:gecos\n\xff:h:u:popboxes/e\n"
    assert logins(FakeHost(files={"users/poppasswd": lines})) == [
        Login("joe", "$1$x", "popboxes/c/joe"),
        Login("d", "h", "srv/d/:gecos"),
        Login("\ufffd", "h", "popboxes/e"),
    ]
    with pytest.raises(HostError):
        logins(FakeHost())
