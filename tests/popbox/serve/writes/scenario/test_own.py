"""What a scenario may change in the accounts of a host that others use, and what is taken away after it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.popbox.standin import standin

from popbox.errors import HostError
from popbox.hosts.base import Host, Ran
from popbox.serve.writes.scenario.own import TABLE, Own, Things, accounts, remove

CRYPT = "DmIMm9e5Hc8ic"
BOX = '[domains."{}".mailboxes.{}]\nlogin = "{}"\ncrypt = "DmIMm9e5Hc8ic"\n'
THEIRS = "theirs.example"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        for argv in (
            ("domain", "add", THEIRS),
            ("mailbox", "add", f"joe@{THEIRS}", "--login", "theirs", "--crypt", CRYPT),
            ("forward", "add", f"sales@{THEIRS}", f"joe@{THEIRS}"),
        ):
            assert up.run(*argv).code == 0
        yield up


@pytest.fixture
def kept() -> list[Things]:
    return []


@pytest.fixture
def own(host: Host, kept: list[Things]) -> Iterator[Own]:
    """After each test what it made is taken away, and the rest is as before."""
    before = accounts(host)
    own = Own(host, kept.append)
    yield own
    assert list(remove(host, own.things)) == []
    assert accounts(host) == before


def run(own: Own, *argv: str, stdin: str = "") -> Ran:
    return own.run(argv, stdin.encode())


def test_what_is_made_is_noted_before_and_goes(own: Own, kept: list[Things]) -> None:
    assert run(own, *TABLE, stdin=BOX.format("One.example", "Joe", "onejoe")).code == 0
    assert kept == [Things(("one.example",)), Things(("one.example",), ("joe@one.example",))]
    for argv in (
        ("domain", "add", "two.example"),
        ("mailbox", "add", "ann@two.example", "--login", "twoann", "--crypt", CRYPT),
        ("mailbox", "rename", "ann@two.example", "eve"),
        ("forward", "add", "all@two.example", "eve@two.example", f"joe@{THEIRS}"),
        ("catchall", "set", "two.example", "eve@two.example"),
        ("mailbox", "passwd", "eve@two.example", "--crypt", CRYPT),
        ("mailbox", "add", f"new@{THEIRS}", "--login", "theirsnew", "--crypt", CRYPT),
    ):
        assert run(own, *argv).code == 0, argv
    assert own.things.domains == ("one.example", "two.example")


def test_what_was_there_is_not_changed(own: Own, host: Host) -> None:
    joe = f"joe@{THEIRS}"
    for argv in (
        ("domain", "add", THEIRS),
        ("domain", "del", THEIRS),
        ("domain", "del", "--purge", THEIRS.upper()),
        ("mailbox", "passwd", joe, "--crypt", CRYPT),
        ("mailbox", "passwd", "--login", "--dry-run", joe, "--crypt", CRYPT),
        ("mailbox", "del", joe.upper(), "--purge"),
        ("mailbox", "rename", joe, "other"),
        ("mailbox", "add", joe, "--login", "again", "--crypt", CRYPT),
        ("forward", "del", f"sales@{THEIRS}"),
        ("forward", "add", f"sales@{THEIRS}", joe),
        ("catchall", "set", THEIRS, joe),
    ):
        with pytest.raises(HostError, match="there before"):
            run(own, *argv)
    for table in (
        BOX.format(THEIRS, "joe", "another"),
        BOX.format(THEIRS.upper(), "Joe", "theirs").replace(CRYPT, "x"),
        BOX.format(THEIRS, "sales", "sales"),
        f'[domains."{THEIRS}"]\ncatchall = "joe"\n',
        f'[domains."{THEIRS}".forwards]\nsales = ["new@{THEIRS}"]\n',
    ):
        with pytest.raises(HostError, match="there before"):
            run(own, *TABLE, stdin=table)
    assert run(own, *TABLE, stdin=BOX.format(THEIRS, "joe", "theirs")).code == 0, "it is so already"
    assert run(own, "mailbox", "del", joe, "--dry-run").code == 0
    assert not own.things


def test_no_forward_leads_away(own: Own) -> None:
    assert run(own, "domain", "add", "away.example").code == 0
    for target in ("x@gmail.invalid", "x@THEIRS.example.org", "nobody"):
        with pytest.raises(HostError, match="leads away"):
            run(own, "forward", "add", "all@away.example", f"joe@{THEIRS}", target)
    with pytest.raises(HostError, match="leads away"):
        run(own, *TABLE, stdin='[domains."away2.example".forwards]\nall = ["x@gmail.invalid"]\n')


def test_what_was_refused_is_not_noted(own: Own) -> None:
    assert run(own, "domain", "add", "no_domain!").code != 0
    assert run(own, "domain", "add", "a.example", "b.example").code != 0
    assert not own.things


def test_a_thing_that_the_scenario_has_removed_is_not_removed_twice(own: Own, host: Host) -> None:
    assert run(own, "domain", "add", "gone.example").code == 0
    assert run(own, "domain", "del", "gone.example").code == 0
    assert not own.things
    assert host.run("domain", "add", "gone.example").code == 0, "by another client"
    assert list(remove(host, own.things)) == []
    assert host.run("domain", "del", "--purge", "gone.example").code == 0


def test_what_others_make_in_a_domain_of_the_scenario_stays(host: Host) -> None:
    own = Own(host, lambda _things: None)
    assert run(own, *TABLE, stdin=BOX.format("both.example", "joe", "bothjoe")).code == 0
    assert host.run("mailbox", "add", "ann@both.example", "--login", "bothann", "--crypt", CRYPT).code == 0
    assert list(remove(host, own.things)) == ["domain both.example: others have made ann@both.example in it"]
    boxes = json.loads(host.run("mailbox", "list", "--json", "both.example").stdout)
    assert [one["login"] for one in boxes] == ["bothann"]
    assert host.run("domain", "del", "--purge", "both.example").code == 0
