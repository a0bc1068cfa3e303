"""Scenarios over HTTP, on host local: results, refusals, what others notice of a run, and what is left of one."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from tests.popbox import ROOT
from tests.popbox.serve.api import RULES, TOKEN, Api, ask
from tests.popbox.serve.mailing import until
from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

from popbox.errors import HostError
from popbox.hosts.base import Host, Ran
from popbox.result import Result
from popbox.scenario.steps import STEP_VERBS
from popbox.serve.app import application
from popbox.serve.live import Pace
from popbox.serve.writes.scenario import leftovers, runs

DECLARED = """
title = "a message arrives"
[accounts.domains."own.example".mailboxes.joe]
login = "ownjoe"
crypt = "DmIMm9e5Hc8ic"
"""
SENT = """
[[step]]
send = { from = "a@x.example", to = ["joe@own.example"], id = "m" }
"""
ARRIVED = """
[[step]]
within-s = 60
expect-delivered = { message = "m", mailbox = "joe@own.example" }
[[step]]
within-s = 60
expect-retrieved = { message = "m", login = "ownjoe", password = "testpw" }
"""
# A pattern that takes longer than anyone waits: its groups try each of 2 to the 30th ways.
ENDLESS = """
[[step]]
within-s = 600
declare = { argv = ["explain", "%s!@own.example"], says = "(a+)+$" }
""" % ("a" * 40)  # fmt: skip
THERE = "there.example"
KNOWN = f"known here: name, within-s, {', '.join(STEP_VERBS)}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        assert up.run("domain", "add", THERE).code == 0
        yield up


@pytest.fixture
def api(host: Host, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        api.app = application(api.live, RULES, ROOT / "scenarios")
        yield api
    assert domains(host) == [THERE], "nothing of a run is left"


def domains(host: Host) -> list[str]:
    return [one["domain"] for one in json.loads(host.run("domain", "list", "--json").stdout)]


def scenario(api: Api, toml: str) -> tuple[int, Any]:
    """Status and body at the end of a run, or of what was refused."""
    return at_its_end(api, *api.post("/v1/scenarios", {"toml": toml}))


def at_its_end(api: Api, status: int, body: Any) -> tuple[int, Any]:
    """A run that takes longer than one answer may is asked for again."""
    while status == 202:
        status, body = api.get(body["again"])
    return status, body


def begun(api: Api, toml: str) -> tuple[int, Any]:
    """What is answered once a run goes on."""
    return api.post("/v1/scenarios?within=0s", {"toml": toml})


def test_a_scenario_passes_and_is_told_in_events_and_journeys(api: Api) -> None:
    status, body = scenario(api, DECLARED + SENT + ARRIVED)
    assert (status, body["pending"], body["left"]) == (200, False, []), body
    result = Result.model_validate(body["result"])
    assert (result.verdict.value, [one.verb for one in result.steps]) == (
        "passed",
        ["declare", "send", "expect-delivered", "expect-retrieved"],
    )
    assert [one.ended.value for one in result.messages] == ["delivered exactly once"]
    said = [(one.fields["what"], one.fields["outcome"]) for one in api.notes()]
    steps = [("scenario step", "passed")] * 4
    assert said == [("run scenario", "begun"), *steps, ("scenario ended", "passed")]
    assert {one.fields["id"] for one in api.notes()} == {body["id"]}
    api.live.kick()
    [journey] = until(lambda: api.get("/v1/journeys?to=joe@own.example")[1]["journeys"])
    assert journey["sender"] == "a@x.example"
    assert domains(api.host) == [THERE]
    assert not [one for one in api.host.search(("X-Popbox-Token",)) if "own-example" in one.entry.path]
    assert api.get(f"/v1/scenarios/{body['id']}") == (200, body)
    assert [one["id"] for one in api.get("/v1/scenarios")[1]["ended"]] == [body["id"]]


def test_its_mail_is_seen_before_it_goes(api: Api) -> None:
    """A recorder that rests, as one that is slow, found the box gone: the journey ended unseen."""
    api.live._pace = Pace(idle_s=600.0, watched_s=600.0)
    began = time.time()
    api.live.kick()
    until(lambda: (api.live.state.whole_since or 0.0) > began)
    status, body = scenario(api, (DECLARED + SENT + ARRIVED).replace("own.example", "seen.example"))
    assert (status, body["result"]["verdict"]) == (200, "passed"), body
    [journey] = api.get("/v1/journeys?to=joe@seen.example")[1]["journeys"]
    assert journey["end"] == "delivered exactly once"


def test_a_password_that_it_says_opens_the_box_and_is_told_nowhere(api: Api) -> None:
    status, body = scenario(api, DECLARED.replace('crypt = "DmIMm9e5Hc8ic"', 'password = "a secret"') + SENT)
    assert (status, body["result"]["verdict"]) == (200, "passed"), body
    [message] = body["result"]["messages"]
    assert message["ended"] == "delivered exactly once", message
    told = json.dumps([body, api.get("/v1/scenarios")[1], [one.fields for one in api.notes()]])
    assert "a secret" not in told
    assert "$6$" not in told


def test_a_failure_is_a_result_and_no_hash_is_told(api: Api) -> None:
    crypt = "$6$saltsalt$" + "a" * 86
    add = '[[step]]\ndeclare = { argv = ["mailbox", "add", "eve@own.example", "--login", "owneve", "--crypt", "%s"] }\n'
    made = '[[step]]\ndeclare = { argv = ["mkpasswd", "--scheme", "des", "--password-stdin"], stdin = "a secret" }\n'
    theirs = f'[[step]]\ndeclare = {{ argv = ["domain", "del", "--purge", "{THERE}"] }}\n'
    status, body = scenario(api, DECLARED + add % crypt + made + theirs)
    assert (status, body["result"]["verdict"]) == (200, "failed")
    assert body["result"]["reason"].startswith(f"step 3 (declare): {THERE} was there before")
    told = json.dumps([body, api.get("/v1/scenarios")[1], [one.fields for one in api.notes()]])
    assert "saltsalt" not in told
    [printed] = [one["seen"]["evidence"]["printed"] for one in body["result"]["steps"] if one["number"] == 2]
    assert printed == "********"


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (DECLARED + SENT + "[[step]]\nsned = 1", f"line 10: step 2.sned: unknown key; did you mean 'send'? {KNOWN}"),
        ("x = " + "[" * 100_000, "it is nested too deeply"),
        (DECLARED + SENT.replace('id = "m"', 'mail = "/etc/passwd"'), None),
    ],
)
def test_what_cannot_be_run_is_refused_by_place_and_rule(api: Api, toml: str, line: str | None) -> None:
    status, body = scenario(api, toml)
    assert status == 422, body
    assert line in (None, *body["evidence"]), body
    assert "root:" not in json.dumps(body)
    assert api.get("/v1/scenarios")[1]["running"] is None


def test_what_takes_too_long_to_read_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "START_S", 0.0)
    status, body = scenario(api, DECLARED + SENT)
    assert (status, body["error"]) == (422, "the scenario could not be read")
    assert body["evidence"] == ["it took longer than the 0 s that it may"]
    assert [one.fields["outcome"] for one in api.notes()] == ["refused"]


def test_what_is_no_request(api: Api) -> None:
    for body in ({}, {"toml": "x", "shipped": "y"}, {"toml": "x" * 262_145}, {"toml": "\ud800"}, {"toml": 1}):
        assert api.post("/v1/scenarios", body)[0] == 422
    assert api.post("/v1/scenarios", {"shipped": "../../etc/passwd"})[0] == 404
    assert api.post("/v1/scenarios?within=2h", {"toml": "x"})[0] == 422
    token = api.space()["token"]
    assert ask(api.app, "POST", "/v1/scenarios", {"toml": "x"})[0] == 401
    assert api.post("/v1/scenarios", {"toml": "x"}, popbox_space=token)[0] == 403
    assert api.post("/v1/scenarios", {"toml": "x"}, popbox_space=token, popbox_token=TOKEN)[0] == 403
    assert api.get("/v1/scenarios", popbox_space=token)[0] == 403
    assert api.get("/v1/scenarios/c0123456789")[0] == 404
    assert api.delete(f"/v1/spaces/{token.partition('.')[0]}")[0] == 200


def test_those_that_come_with_popbox(api: Api) -> None:
    listed = {one["name"]: one["not_here"] for one in api.get("/v1/scenarios")[1]["shipped"]}
    assert listed["howto-telnet"] == ""
    assert listed["mta-killed"].startswith("needs.own-host: this host is served to others")
    assert listed["howto-h22-chain"].startswith("needs.chain: ")
    assert listed["howto-h04-recipientmap"].startswith("step ")
    status, body = at_its_end(api, *api.post("/v1/scenarios", {"shipped": "howto-telnet"}))
    assert (status, body["result"]["verdict"]) == (200, "passed"), body
    status, body = api.post("/v1/scenarios", {"shipped": "mta-killed"})
    assert (status, body["result"]["verdict"]) == (200, "skipped")
    assert body["result"]["reason"].startswith("needs.own-host: this host is served to others")


def test_one_at_a_time_and_nothing_waits_for_it(api: Api) -> None:
    status, going = begun(api, DECLARED + ENDLESS)
    assert (status, going["pending"], going["by"]) == (202, True, "token")
    until(lambda: "says (a+)+$" in api.get(f"/v1/scenarios/{going['id']}?within=0s")[1]["awaits"])
    status, other = scenario(api, DECLARED + SENT)
    assert (status, other["error"]) == (409, "a scenario runs already")
    assert other["evidence"][0].startswith("a message arrives, by token, since 20")
    assert api.get("/readyz")[0] == 200, "while it computes"
    status, space = api.post("/v1/spaces")
    assert status == 201
    assert api.delete(f"/v1/spaces/{space['space']}")[0] == 200, "and other writes go on"
    _, body = at_its_end(api, *api.delete(f"/v1/scenarios/{going['id']}"))
    assert (body["result"]["verdict"], body["result"]["reason"]) == ("failed", "cut off: stopped by token")
    assert [one["name"] for one in body["result"]["steps"]] == ["declare the accounts"]
    assert scenario(api, DECLARED + SENT + ARRIVED)[1]["result"]["verdict"] == "passed", "the next one runs"


def test_whoever_has_the_result_finds_its_event_and_can_begin_the_next(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, asked = api.live.store.append, list[Future[tuple[int, Any]]]()

    def slowly(events: Any) -> Any:
        for event in events:
            if event.fields.get("what") == "scenario ended":
                asked.append(pool.submit(api.get, f"/v1/scenarios/{event.fields['id']}?within=0s"))
                assert not wait(asked[-1:], 0.3).done, "answered before the event of the end is in the store"
        return append(events)

    monkeypatch.setattr(api.live.store, "append", slowly)
    with ThreadPoolExecutor() as pool:
        for _ in range(2):
            status, body = scenario(api, DECLARED + SENT + ARRIVED)
            assert (status, body["result"]["verdict"]) == (200, "passed"), body
    assert [one.result()[0] for one in asked] == [200, 200]
    assert [one.fields["outcome"] for one in api.notes() if one.fields["what"] == "scenario ended"] == ["passed"] * 2


def test_it_ends_with_the_server(host: Host, tmp_path: Path) -> None:
    with Api(host, tmp_path) as api:
        assert begun(api, DECLARED + ENDLESS)[0] == 202
        until(lambda: "own.example" in domains(host))
        api.live.end_waits()
        assert scenario(api, DECLARED + SENT)[0] == 503
        began = time.monotonic()
    assert time.monotonic() - began < 60, "and not after the 600 s of its step"
    assert domains(host) == [THERE]


def test_what_cannot_be_taken_away_now_is_later(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "AGAIN_S", 0.05)
    stuck = [True]

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(host, name)

        def run(self, *argv: str, stdin: bytes = b"") -> Ran:
            if stuck and argv[:2] == ("domain", "del"):
                raise HostError("the disk is full")
            return host.run(*argv, stdin=stdin)

    with Api(Refusing(), tmp_path) as api:  # type: ignore[arg-type]
        body = scenario(api, DECLARED + "[[step]]\nexplain = { address = 'joe@own.example' }\n")[1]
        assert body["left"] == ["own.example, joe@own.example: the disk is full"]
        assert "own.example" in domains(host)
        stuck.clear()
        until(lambda: domains(host) == [THERE])
        [note] = until(lambda: [one for one in api.notes() if one.fields["what"] == "scenario cleaned up"])
        assert (note.fields["id"], note.fields["left"]) == (body["id"], [])


def test_killed_while_one_runs(tmp_path: Path) -> None:
    """kill -9 of the server: the process of the run ends with it, and the next start takes away what it has added."""
    with standin(tmp_path / "popbox") as host:
        host.keep()
        token = tmp_path / "token"
        options = ("--allow-writes", "--token-file", str(token))
        said = f"writes with the token in {token}"
        with serving(tmp_path, *options, said=said) as (port, program):
            body = _posted(port, token, DECLARED + ENDLESS)
            until(lambda: "own.example" in domains(host))
            [child] = until(lambda: _children(program.pid, runs.CHILD))
            program.send_signal(signal.SIGKILL)
            program.wait()
        until(lambda: not Path(f"/proc/{child}").exists())
        with serving(tmp_path, *options, said=said) as (port, _):
            until(lambda: "own.example" not in domains(host))
            events = _get(port, f"/v1/scenarios/{body['id']}")
            assert events[0] == 404
        token.unlink(missing_ok=True)


def _posted(port: int, token: Path, toml: str) -> Any:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"content-type": "application/json", "popbox-token": token.read_text().strip()}
    connection.request("POST", "/v1/scenarios?within=0s", json.dumps({"toml": toml}), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 202, body
    return body


def _get(port: int, path: str) -> tuple[int, Any]:
    from tests.popbox.serve.served import ask as asked

    status, body, _ = asked(port, path)
    return status, body


def _children(pid: int, name: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid and name in words:
            found.append(int(path.name))
    return found
