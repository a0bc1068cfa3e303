"""Spaces and mailboxes through the API, on host local: what is made, who may, what stays of it after a crash."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.standin import standin

from popbox.clients.pop3 import Pop3
from popbox.clients.smtp import deliver
from popbox.hosts.base import Host
from popbox.serve.keys import Keys
from popbox.serve.writes import mailboxes, spaces


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        yield up


@pytest.fixture
def api(host: Host, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        yield api


def domains(host: Host) -> list[str]:
    return [one["domain"] for one in json.loads(host.run("domain", "list", "--json").stdout)]


def arrives(host: Host, *addresses: str) -> list[str]:
    """The directories, below popboxes/, of the boxes in which a message for the addresses comes to lie."""
    needle = secrets.token_hex(8)
    sent = deliver(host.address("smtp"), "a@b.example", addresses, f"Subject: {needle}\n\nx\n".encode(), 30.0)
    assert sent.accepted
    deadline = time.monotonic() + 60
    while len(found := host.search((needle,))) < len(addresses) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [one.entry.path.split("/")[2] for one in found]


def waiting(host: Host, login: dict[str, str]) -> int:
    """How many messages POP3 lists for a login."""
    session = Pop3(host.address("pop3"), 30.0)
    with session.wire:
        session.login(login["login"], login["password"])
        return len(session.listing("LIST"))


def test_any_address_of_a_space_receives_until_it_ends(api: Api) -> None:
    made = api.space()
    assert made["domain"] == f"{made['space']}.test"
    assert made["token"] == Keys(TOKEN).of_space(made["space"])
    assert (made["host"], made["mta"]) == ("local", "stand-in")
    locals_ = ("anyone", "box", "box-x", "Postmaster", "a.b+c")
    assert arrives(api.host, *(f"{local}@{made['domain']}" for local in locals_)) == ["box"] * 5
    assert waiting(api.host, made["mailbox"]) == 5
    status, listed = api.get("/v1/spaces")
    shown = [(one["space"], one["domain"]) for one in listed["spaces"]]
    assert (status, shown) == (200, [(made["space"], made["domain"])])
    assert "token" not in json.dumps(listed)
    assert made["mailbox"]["password"] not in json.dumps(api.get("/v1/accounts"))
    status, ended = api.delete(f"/v1/spaces/{made['space']}")
    assert (status, ended["removed"]) == (200, True)
    assert made["domain"] not in domains(api.host)
    assert not [one for one in api.host.search(("Subject: ",)) if made["space"] in one.entry.path], "its mail is gone"
    assert api.get("/v1/spaces")[1]["spaces"] == []
    assert api.delete(f"/v1/spaces/{made['space']}")[0] == 404
    assert api.get("/v1/accounts", popbox_space=made["token"])[1]["error"] == "the space of this popbox-space has ended"


def test_every_write_is_an_event_without_a_secret(api: Api) -> None:
    made = api.space(under="example.com")
    box = api.post("/v1/mailboxes", {"local": "joe"}, popbox_space=made["token"])[1]
    assert api.post("/v1/mailboxes", {"local": "joe"}, popbox_space=made["token"])[0] == 422
    api.delete(f"/v1/spaces/{made['space']}", popbox_space=made["token"])
    notes = [dict(one.fields) for one in api.notes()]
    who, space = f"space {made['space']}", made["space"]
    assert [(one["what"], one["who"], one["space"], one["outcome"]) for one in notes] == [
        ("make space", "token", space, "done"),
        ("make mailbox", who, space, "done"),
        ("make mailbox", who, space, "mailhost mailbox add ended with 2"),
        ("end space", who, space, "done"),
    ]
    for secret in (TOKEN, made["token"], made["mailbox"]["password"], box["password"]):
        assert secret not in json.dumps(notes)
    api.get("/v1/spaces")
    api.post("/v1/spaces", {}, popbox_token="wrong")
    assert len(api.notes()) == len(notes), "requests themselves are no events"


def test_a_space_makes_mailboxes_in_its_domain_only(api: Api) -> None:
    one, other = api.space(), api.space()
    mine = {"popbox_space": one["token"]}
    status, box = api.post("/v1/mailboxes", {"local": "joe", "extensions": True}, **mine)
    assert (status, box["address"]) == (201, f"joe@{one['domain']}")
    assert arrives(api.host, f"joe-x@{one['domain']}") == ["joe"]
    assert waiting(api.host, box) == 1
    assert api.post("/v1/mailboxes", {"local": "ann", "domain": one["domain"].upper()}, **mine)[0] == 201
    assert api.post("/v1/mailboxes", {"local": "joe", "domain": other["domain"]}, **mine)[0] == 403
    both = {"popbox_token": TOKEN, **mine}
    assert api.post("/v1/mailboxes", {"local": "joe", "domain": other["domain"]}, **both)[0] == 403, "a space narrows"
    assert api.post("/v1/mailboxes", {"local": "joe", "domain": other["domain"]})[0] == 201, "host-wide"
    assert api.post("/v1/mailboxes", {})[0] == 422
    assert api.post("/v1/spaces", {}, **mine)[0] == 403
    assert api.delete(f"/v1/spaces/{other['space']}", **mine)[0] == 403
    assert [one["space"] for one in api.get("/v1/spaces", **mine)[1]["spaces"]] == [one["space"]]
    for made in (one, other):
        assert api.delete(f"/v1/spaces/{made['space']}", popbox_space=made["token"])[0] == 200


def test_a_space_has_so_many_mailboxes_and_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "MOST_BOXES", 3)
    one, other = api.space(), api.space()
    mine = {"popbox_space": one["token"]}
    with ThreadPoolExecutor(5) as pool:
        made = list(pool.map(lambda _: api.post("/v1/mailboxes", {}, **mine), range(5)))
    assert sorted(status for status, _ in made) == [201, 201, 409, 409, 409], "with the one that takes all: 3"
    assert {body["error"] for status, body in made if status == 409} == {
        "this space has 3 mailboxes, and that is all that it may have"
    }
    assert api.post("/v1/mailboxes", {}, popbox_token=TOKEN, **mine)[0] == 409, "the space narrows"
    assert api.post("/v1/mailboxes", {}, popbox_space=other["token"])[0] == 201, "another has its own"
    for space in (one, other):
        assert api.delete(f"/v1/spaces/{space['space']}")[0] == 200


def test_a_space_reads_nothing_of_another(api: Api) -> None:
    one, other = api.space(), api.space()
    mine = {"popbox_space": one["token"]}
    for made in (one, other):
        api.post("/v1/mailboxes", {"local": "joe"}, popbox_space=made["token"])
        assert api.host.run("forward", "add", f"sales@{made['domain']}", "joe@elsewhere.example").code == 0
    for space in (one, other):
        api.host.chmod(f"popboxes/{space['space']}-test/joe", 0o1755)  # deferred
    both = tuple(f"joe@{made['domain']}" for made in (one, other))
    assert deliver(api.host.address("smtp"), "a@b.example", both, b"Subject: x\n\n", 30.0).accepted
    assert {len(message["recipients"]) for message in api.get("/v1/queue")[1]["messages"]} == {2}
    for path in ("/v1/accounts", "/v1/queue", "/v1/spaces"):
        status, shown = api.get(path, **mine)
        assert (status, one["domain"] in json.dumps(shown)) == (200, True), path
        assert other["space"] not in json.dumps(shown), path
        assert other["space"] in json.dumps(api.get(path)[1]), path
    assert api.get(f"/v1/explain?address=x@{one['domain'].upper()}", **mine)[0] == 200
    for address in (f"x@{other['domain']}", f"x@sub.{one['domain']}", f"x@{one['domain']}.", "x", f"{one['domain']}"):
        assert api.get(f"/v1/explain?address={address}", **mine)[0] == 403
    assert api.get("/v1/lint", **mine)[0] == 403
    for made in (one, other):
        assert api.delete(f"/v1/spaces/{made['space']}")[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"local": "a\nb"}, {"local": "a\r\nb"}, {"local": "a b"}, {"local": ""}, {"local": "a/../b"}, {"local": "../x"},
        {"local": "a" * 65}, {"local": "é"}, {"local": "a@b"}, {"local": 7}, {"local": ["a"]}, {"local": "\ud800"},
        {"domain": "x.test\nevil.test"}, {"domain": "-x.test"}, {"domain": "--purge"}, {"domain": "../x"},
        {"domain": ""}, {"domain": "nonesuch.test"}, {"domain": "x" * 300}, {"login": "root"}, {"extensions": "yes"},
        [], "x", None, 7,
    ],
)  # fmt: skip
def test_what_is_no_mailbox_is_refused_and_nothing_is_made(api: Api, body: Any) -> None:
    before = api.host.run("export").stdout
    if isinstance(body, dict) and "local" in body:
        body = {"domain": "domain.com", **body}
    status, said = api.post("/v1/mailboxes", body)
    assert (status, set(said)) == (422, {"error", "hint", "evidence", "host", "mta"}), said
    assert api.host.run("export").stdout == before


@pytest.mark.parametrize(
    "under", ["", ".", "a..b", "-x", "x-", "a b", "a\nb", "../x", "A.test", "é.test", "a" * 64, "x" * 201]
)
def test_what_is_no_domain_makes_no_space(api: Api, under: str) -> None:
    assert api.post("/v1/spaces", {"under": under})[0] == 422
    assert api.get("/v1/spaces")[1]["spaces"] == []


@pytest.mark.parametrize(
    "name", ["x", "s1", "S0123456789", "s0123456789%0a", "..%2fs0123456789", "s01234567890", "s0123456789/"]
)
def test_what_is_no_name_of_a_space_ends_none(api: Api, name: str) -> None:
    assert api.delete(f"/v1/spaces/{name}")[0] in (404, 422)


def test_a_space_that_the_host_refuses_leaves_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    before = domains(api.host)
    monkeypatch.setattr(spaces, "BOX", "not a box")
    status, said = api.post("/v1/spaces", {})
    assert (status, said["error"]) == (422, "mailhost mailbox add ended with 2")
    assert (domains(api.host), api.get("/v1/spaces")[1]["spaces"]) == (before, [])
    assert api.notes()[-1].fields["outcome"] == "mailhost mailbox add ended with 2"


def test_a_space_left_by_a_crash_is_shown_and_can_be_ended(api: Api) -> None:
    for name, made in (("s0000000001", []), ("s0000000002", [("domain", "add", "s0000000002.test")])):
        api.store.make_space(name, f"{name}.test", 1.0)
        assert all(api.host.run(*argv).code == 0 for argv in made)
    assert [one["made_at"] for one in api.get("/v1/spaces")[1]["spaces"]] == [1.0, 1.0]
    assert api.delete("/v1/spaces/s0000000001")[1]["removed"] is False
    assert api.delete("/v1/spaces/s0000000002")[1]["removed"] is True
    assert "s0000000002.test" not in domains(api.host)


def test_a_domain_that_is_not_provably_a_spaces_is_left(api: Api) -> None:
    """As where a store is used with another host."""
    assert api.host.run("domain", "add", "s0000000003.test").code == 0
    assert api.host.run("mailbox", "add", "joe@s0000000003.test", "--login", "joe3", "--generate").code == 0
    api.store.make_space("s0000000003", "s0000000003.test", 1.0)
    status, said = api.delete("/v1/spaces/s0000000003")
    assert (status, said["evidence"]) == (409, ["no mailbox in s0000000003.test has the login s0000000003"])
    assert "s0000000003.test" in domains(api.host)
    assert api.host.run("mailbox", "del", "joe@s0000000003.test").code == 0
    assert api.host.run("forward", "add", "x@s0000000003.test", "y@elsewhere.example").code == 0
    assert api.delete("/v1/spaces/s0000000003")[0] == 409, "a forward would be lost"
    assert api.host.run("domain", "del", "s0000000003.test").code == 0


def test_there_are_not_more_spaces_than_may_be(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "MOST_SPACES", 1)
    made = api.space()
    assert api.post("/v1/spaces", {})[0] == 409
    api.delete(f"/v1/spaces/{made['space']}")
    api.delete(f"/v1/spaces/{api.space()['space']}")


def test_a_field_that_is_not_known_is_told_with_those_that_are(api: Api) -> None:
    send = {"too": "joe@x.example", "text": "hello", "attachments": [{"nam": "a"}]}
    asked = [
        (api.post("/v1/messages", send), "body.too: unknown key; did you mean 'to'? known here: "),
        (api.post("/v1/messages", send), "body.attachments.0.nam: unknown key; did you mean 'name'? known here: "),
        (api.post("/v1/mailboxes", {"locale": "joe"}), "body.locale: unknown key; did you mean 'local'? known here: "),
        (
            api.get("/v1/journeys?subjet=x"),
            "query.subjet: unknown key; did you mean 'subject'? known here: to, sender, ",
        ),
    ]
    for (status, said), line in asked:
        assert status == 422
        assert any(one.startswith(line) for one in said["evidence"]), (line, said)
