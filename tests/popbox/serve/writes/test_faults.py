"""Faults through the API, on host local: what breaks, who may, and that each is healed, also after a kill -9."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

from popbox.errors import HostError, NotPossibleError
from popbox.hosts.base import SERVICES, Host
from popbox.hosts.breaking import harm, mend
from popbox.hosts.readiness import greets
from popbox.serve.writes import broken


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def host(state: Path) -> Iterator[Host]:
    with standin(state / "popbox") as up:
        up.keep()
        yield up


@pytest.fixture
def api(host: Host, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        yield api
    assert [greets(host, service) for service in SERVICES] == ["", ""], "the end heals"


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def begun(api: Api, fault: str, on: str, headers: dict[str, str] | None = None, **more: str) -> Any:
    status, made = api.post("/v1/faults", {"fault": fault, "on": on, **more}, **(headers or {}))
    assert status == 201, made
    return made


def listed(api: Api, **headers: str) -> list[str]:
    return [one["id"] for one in api.get("/v1/faults", **headers)[1]["faults"]]


def told(api: Api) -> list[tuple[Any, ...]]:
    return [(one.fields["what"], one.fields["who"], one.fields["outcome"]) for one in api.notes()]


@pytest.mark.parametrize(("fault", "on"), [("stop", "smtp"), ("kill", "pop3"), ("pause", "pop3"), ("pause", "smtp")])
def test_a_service_is_broken_and_delete_heals_it(api: Api, fault: str, on: str) -> None:
    made = begun(api, fault, on)
    assert (made["host"], made["by"], made["heals_at"], made["why"]) == ("local", "token", None, "")
    status, ready = api.get("/readyz")
    assert (status, [line.partition(":")[0] for line in ready["evidence"]]) == (503, [on, on]), ready
    [shown] = api.get("/v1/faults")[1]["faults"]
    assert shown == {key: value for key, value in made.items() if key not in ("host", "mta")}
    status, healed = api.delete(f"/v1/faults/{made['id']}")
    assert (status, healed["id"], healed["answers"], healed["evidence"]) == (200, made["id"], True, [])
    assert (api.get("/readyz")[0], listed(api)) == (200, [])
    assert api.delete(f"/v1/faults/{made['id']}")[0] == 404
    assert told(api) == [("break", "token", "begun"), ("break", "token", "done"), ("heal", "token", "done")]


def test_one_fault_a_target_and_only_of_what_works(api: Api) -> None:
    first = begun(api, "pause", "smtp", **{"for": "60m"})
    status, said = api.post("/v1/faults", {"fault": "kill", "on": "smtp"})
    assert (status, said["error"]) == (409, f"smtp is broken already, by {first['id']}")
    assert said["evidence"] == ["pause smtp by token"]
    api.delete(f"/v1/faults/{first['id']}")
    harm(api.host, "pause", "smtp")  # by someone else
    status, said = api.post("/v1/faults", {"fault": "stop", "on": "smtp"})
    assert (status, said["error"]) == (409, "smtp does not work as it is")
    assert (listed(api), bool(greets(api.host, "smtp"))) == ([], True)
    mend(api.host, "pause", "smtp", time.monotonic() + 60)


@pytest.mark.parametrize(
    ("fault", "on", "why"),
    [
        ("partition", "smtp", "host local cannot be cut off: its services are on this machine's loopback interface"),
        ("fill", "queue", "this host was started without a disk of its own"),
        ("read-only", "popboxes", "this host was started without a disk of its own"),
    ],
)
def test_what_the_host_cannot_do_is_told(api: Api, fault: str, on: str, why: str) -> None:
    status, said = api.post("/v1/faults", {"fault": fault, "on": on})
    assert (status, said["error"], said["evidence"]) == (409, "this host cannot do that", [why])
    assert told(api) == [("break", "token", "this host cannot do that")]


def test_a_fault_heals_by_itself(api: Api) -> None:
    before = time.time()
    made = [begun(api, fault, on, **{"for": "1s"}) for fault, on in (("pause", "smtp"), ("kill", "pop3"))]
    assert before < made[0]["heals_at"] - 1 <= time.time()
    assert until(lambda: not listed(api))
    assert time.time() >= max(one["heals_at"] for one in made)
    assert api.get("/readyz")[0] == 200
    assert told(api)[-1] == ("heal", "for", "done")


def test_a_wait_that_is_over_names_what_is_broken(api: Api) -> None:
    one, other = api.space(), api.space()

    def reason(**headers: str) -> str:
        status, body = api.get("/v1/messages/wait?subject=x&within=0s", **headers)
        assert (status, body["error"]) == (408, "waited 0s for a message with the subject 'x'")
        return str(body["reason"])

    nothing = "the host has taken no such message since cursor 0"
    assert reason() == nothing
    ours = begun(api, "pause", "smtp", {"popbox_token": TOKEN, "popbox_space": one["token"]}, **{"for": "60m"})
    since, until = (datetime.fromtimestamp(ours[key], UTC).isoformat(timespec="seconds") for key in ("at", "heals_at"))
    said = f"the host is broken on purpose: pause smtp by {{}}, since {since}, until {until}; {nothing}"
    for headers, who in (
        ({}, f"space {one['space']}"),
        ({"popbox_space": one["token"]}, f"space {one['space']}"),
        ({"popbox_space": other["token"]}, "another space"),
    ):
        assert reason(**headers) == said.format(who)
    api.delete(f"/v1/faults/{ours['id']}")
    whole = begun(api, "stop", "pop3")
    assert "stop pop3 by token, since" in reason(popbox_space=other["token"])
    assert ", until it is healed; " in reason()
    api.delete(f"/v1/faults/{whole['id']}")
    harm(api.host, "stop", "smtp")  # by someone else
    assert reason().startswith("the host is ill: smtp: its process ")
    mend(api.host, "stop", "smtp", time.monotonic() + 60)
    for space in (one, other):
        api.delete(f"/v1/spaces/{space['space']}")


def test_the_end_of_a_space_heals_its_faults_alone(api: Api) -> None:
    one, other = api.space(), api.space()
    mine = {"popbox_space": one["token"]}
    assert api.post("/v1/faults", {"fault": "pause", "on": "smtp"}, **mine)[0] == 403, "the host is everyone's"
    ours = begun(api, "pause", "smtp", {"popbox_token": TOKEN, **mine})
    whole = begun(api, "pause", "pop3")
    assert (ours["by"], whole["by"]) == (f"space {one['space']}", "token")
    assert (listed(api), listed(api, **mine)) == ([ours["id"], whole["id"]], [ours["id"]])
    assert listed(api, popbox_space=other["token"]) == []
    for headers in (mine, {"popbox_token": TOKEN, **mine}):
        assert api.delete(f"/v1/faults/{whole['id']}", **headers)[0] == 404
    assert api.delete(f"/v1/faults/{ours['id']}", popbox_space=other["token"])[0] == 404
    assert api.delete(f"/v1/spaces/{other['space']}")[0] == 200
    assert listed(api) == [ours["id"], whole["id"]]
    assert api.delete(f"/v1/spaces/{one['space']}", **mine)[0] == 200
    assert (listed(api), greets(api.host, "smtp")) == ([whole["id"]], "")
    again = api.space()
    ours = begun(api, "pause", "smtp", {"popbox_token": TOKEN, "popbox_space": again["token"]})
    assert api.delete(f"/v1/faults/{ours['id']}", popbox_space=again["token"])[0] == 200
    assert api.delete(f"/v1/spaces/{again['space']}")[0] == 200


UNUSABLE: list[Any] = [
    {}, {"fault": "stop"}, {"on": "smtp"}, {"fault": "burn", "on": "smtp"}, {"fault": "stop", "on": "queue"},
    {"fault": "fill", "on": "smtp"}, {"fault": "read-only", "on": "queue"}, {"fault": "stop", "on": "smtp\n"},
    {"fault": "stop", "on": "smtp", "for": 5}, {"fault": "stop", "on": "smtp", "for": "0s"},
    {"fault": "stop", "on": "smtp", "for": "61m"}, {"fault": "stop", "on": "smtp", "for": "soon"},
    {"fault": "stop", "on": "smtp", "for": "-1s"}, {"fault": "stop", "on": "smtp", "lasts": "1s"},
    {"fault": "stop", "on": "smtp", "space": "x"}, {"fault": ["stop"], "on": "smtp"}, [], None, "stop",
]  # fmt: skip


def test_what_is_no_fault_is_refused(api: Api) -> None:
    for body in UNUSABLE:
        status, said = api.post("/v1/faults", body)
        assert (status, set(said)) == (422, {"error", "hint", "evidence", "host", "mta"}), (body, said)
    assert (listed(api), told(api)) == ([], [])


@pytest.mark.parametrize(("error", "code"), [(NotPossibleError("no freezer"), 409), (HostError("no engine"), 503)])
def test_what_fails_half_way_is_undone(api: Api, monkeypatch: pytest.MonkeyPatch, error: HostError, code: int) -> None:
    def half(host: Host, kind: str, target: str) -> None:
        harm(host, kind, target)
        raise error

    monkeypatch.setattr(broken, "harm", half)
    status, said = api.post("/v1/faults", {"fault": "pause", "on": "smtp"})
    assert (status, said["evidence"]) == (code, [error.what])
    assert (listed(api), greets(api.host, "smtp")) == ([], "")


def test_what_cannot_be_healed_stays_listed_and_is_tried_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = begun(api, "pause", "smtp")
    tries: list[str] = []

    def fails(_host: Host, _kind: str, target: str, _deadline: float) -> str:
        tries.append(target)
        raise HostError("no engine")

    with monkeypatch.context() as patched:
        patched.setattr(broken, "AGAIN_S", 0.05)
        patched.setattr(broken, "mend", fails)
        status, said = api.delete(f"/v1/faults/{made['id']}")
        assert (status, said["evidence"]) == (503, ["pause smtp by token", "no engine"])
        assert until(lambda: len(tries) > 2)
        [shown] = api.get("/v1/faults")[1]["faults"]
        assert (shown["id"], shown["why"]) == (made["id"], "no engine")
    assert until(lambda: not listed(api))
    assert [one for one in told(api) if one[0] == "heal"] == [("heal", "token", "no engine"), ("heal", "token", "done")]


def test_what_was_on_another_host_is_left(host: Host, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with Api(host, tmp_path / "store") as api:
        kept = {"id": "f0000000001", "kind": "stop", "target": "smtp", "where": "mailhost --home /another"}
        with api.store.batch() as batch:
            batch.keep_position("faults", "", json.dumps([{**kept, "who": "token", "space": "", "at": 1.0}]))
    host.stop("smtp")
    try:
        with Api(host, tmp_path / "store") as api:
            assert until(lambda: not listed(api))
            assert greets(host, "smtp")
            assert told(api) == [("heal", "start of serve", "it was on another host")]
    finally:
        host.restart("smtp", time.monotonic() + 60)


def over_http(port: int, fault: str, on: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"popbox-token": TOKEN, "content-type": "application/json"}
    connection.request("POST", "/v1/faults", json.dumps({"fault": fault, "on": on}), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_serve_heals_or_its_next_start(state: Path, host: Host, tmp_path: Path, number: int) -> None:
    store = str(tmp_path / "journeys")
    said = {"said": "writes with the token of POPBOX_TOKEN", "POPBOX_TOKEN": TOKEN}
    with serving(state, "--store", store, "--allow-writes", **said) as (port, program):
        assert (over_http(port, "pause", "pop3"), over_http(port, "kill", "smtp")) == (201, 201)
        program.send_signal(number)
        program.wait(timeout=60)
    if number == signal.SIGKILL:
        assert all(greets(host, service) for service in SERVICES)
        with serving(state, "--store", store):  # read-only: it heals as well
            assert until(lambda: not any(greets(host, service) for service in SERVICES))
    assert [greets(host, service) for service in SERVICES] == ["", ""]
