"""Two nodes with one popboxes, one of which has its accounts.toml later: it refuses nothing that the other takes."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host
from tests.mailhost.pop3.support import new_home, remove
from tests.mailhost.standin.support import Home, Server, wait_for

from mailhost.accounts import nodes
from mailhost.accounts.layout import layout
from mailhost.accounts.sources import accounts_toml
from mailhost.cli.verbs.follow import Follower
from mailhost.system import late

WITHIN_S = 60.0


def accounts(domain: str, *boxes: str, more: str = "") -> str:
    tables = [
        f'[domains."{domain}".mailboxes.{box}]\nlogin = "{box}.{domain}"\ncrypt = "{HOWTO_CRYPT}"\n' for box in boxes
    ]
    return f'[domains."{domain}"]\n{more}' + "".join(tables)


OLD = accounts("old.example", "joe")
NEW = accounts("old.example", "joe", "ann") + accounts("new.example", "joe")


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    """Two homes below one place, whose popboxes is the same directory; a server's user reaches both."""
    place = new_home()
    place.chmod(0o755)
    shared = place / "popboxes"
    shared.mkdir()
    hosts = Host(place / "a"), Host(place / "b")
    for host in hosts:
        host.home.mkdir()
        (host.home / "popboxes").symlink_to(shared)
        host.ok("init", "--me", f"{host.home.name}.example.net")
        file(host).write_text(OLD)
    yield hosts
    remove(place)


def file(host: Host) -> Path:
    return host.home.with_name(f"{host.home.name}.toml")


def follower(host: Host) -> Follower:
    return Follower(host.home, file(host), 0.05, host.home.name)


def waits(host: Host, address: str) -> bool:
    return late.waits(late.read(host.home), address.encode())


WAYS: dict[str, tuple[str, str, list[str], list[str]]] = {
    "a new domain": (
        OLD, OLD + accounts("new.example", "joe"), ["joe@new.example", "Any@NEW.example"], ["joe@old.example"]
    ),
    "a new box": (
        OLD, accounts("old.example", "joe", "ann"), ["ann@old.example", "ANN@old.example"], ["x@old.example"]
    ),
    "extensions": (
        OLD, OLD + "extensions = true\n", ["joe-x@old.example", "joe-x-y@old.example"], ["joe@old.example"]
    ),
    "a catchall": (
        OLD, accounts("old.example", "joe", more='catchall = "joe"\n'), ["x@old.example"], ["joe@old.example"]
    ),
    "another name": (
        OLD, OLD + '[domains."name.example"]\nalias_of = "old.example"\n', ["joe@name.example"], ["joe@old.example"]
    ),
    "a box beside extensions": (
        OLD + "extensions = true\n", accounts("old.example", "joe-x") + OLD.split("\n", 1)[1] + "extensions = true\n",
        ["joe-x@old.example"], ["joe-y@old.example"],
    ),
    "what goes": (accounts("old.example", "joe", "ann"), OLD, [], ["ann@old.example"]),
}  # fmt: skip


@pytest.mark.parametrize(("has", "other", "late_", "here"), WAYS.values(), ids=WAYS)
def test_what_another_node_announces_and_this_one_does_not_serve_waits(
    has: str, other: str, late_: list[str], here: list[str]
) -> None:
    served, announced = (nodes.addresses(accounts_toml.parse(text, "x")) for text in (has, other))
    lines = nodes.waiting(served, [announced])
    assert [address for address in late_ if not late.waits(lines, address.encode())] == []
    assert [address for address in here if late.waits(lines, address.encode())] == []
    assert nodes.waiting(announced, [announced]) == frozenset()


def test_a_text_is_applied_when_the_other_node_has_heard_of_it_and_waits_there_until_it_has_it(
    pair: tuple[Host, Host], capfd: pytest.CaptureFixture[str]
) -> None:
    a, b = pair
    of_a, of_b = follower(a), follower(b)
    for one in (of_a, of_b) * 3:
        one.round()
    assert [host.text("control/rcpthosts") for host in pair] == ["old.example\n"] * 2
    file(a).write_text(NEW)
    for _ in range(3):
        of_a.round()
    assert "new.example" not in a.text("control/rcpthosts"), "b has not heard of it"
    assert waits(a, "joe@new.example"), "nor is it refused here"
    assert "waits for b to hear of it" in capfd.readouterr().out
    of_b.round()
    assert [waits(b, address) for address in ("joe@new.example", "ann@old.example")] == [True, True]
    of_a.round()
    assert "new.example" in a.text("control/rcpthosts")
    assert not (a.home / late.FILE).exists()
    assert [row["waiting"] for row in json.loads(a.ok("nodes", "list", "--json"))] == [0, 2]
    file(b).write_text(NEW)
    for _ in range(3):
        of_b.round()
    assert "new.example" in b.text("control/rcpthosts")
    of_b.round()
    of_a.round()
    assert not (b.home / late.FILE).exists()


def test_what_goes_on_one_node_is_refused_by_none_until_it_has_gone_on_all(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for host in pair:
        file(host).write_text(NEW)
        follower(host).begin()
    file(a).write_text(OLD + "# end of accounts\n")
    of_a, of_b = follower(a), follower(b)
    for one in (of_a, of_b) * 4:
        one.round()
    assert "new.example" not in a.text("control/rcpthosts")
    assert waits(a, "joe@new.example")
    assert waits(a, "ann@old.example")


def test_a_node_that_is_down_is_not_waited_for_and_hears_at_its_start(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for host in pair:
        follower(host).begin()
    past = time.time() - nodes.UP_S - 5
    os.utime(b.home / "popboxes/.nodes/b", (past, past))
    file(a).write_text(NEW)
    of_a = follower(a)
    for _ in range(2):
        of_a.round()
    assert "new.example" in a.text("control/rcpthosts")
    follower(b).begin()
    assert waits(b, "joe@new.example"), "before its SMTP is up"
    assert "forgot node a" in b.ok("nodes", "forget", "a")
    follower(b).round()
    assert not waits(b, "joe@new.example")


def test_two_nodes_never_apply_at_the_same_time(pair: tuple[Host, Host]) -> None:
    a, b = pair
    of_a = follower(a)
    with nodes.Node(layout(b.home), "b").alone() as alone:
        assert alone
        for _ in range(3):
            of_a.round()
        assert a.text("control/rcpthosts") == ""
    of_a.round()
    assert a.text("control/rcpthosts") == "old.example\n"


def test_a_record_that_is_broken_or_a_strangers_is_none(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    folder = a.home / "popboxes/.nodes"
    follower(a).begin()
    (folder / "half").write_text('{"announces": {"x.exam')
    (folder / "odd").write_text('{"announces": 1, "serves": {}, "heard": []}')
    follower(a).round()
    if os.geteuid() == 0:
        shutil.copy(folder / "a", folder / "stranger")
        os.chown(folder / "stranger", 888, 888)
    assert [row["node"] for row in json.loads(a.ok("nodes", "list", "--json"))] == ["a"]
    assert "begins with a letter or digit" in a.run("follow", "--once", "--node", "../x", str(file(a))).stderr


class Load:
    """Senders that try one node, over and over, and note each reply to RCPT and to the message."""

    def __init__(self, port: int, node: str, recipients: list[str]) -> None:
        self.port, self.node, self.recipients = port, node, recipients
        self.replies: list[tuple[str, int]] = []
        self.sent: list[tuple[str, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            with smtplib.SMTP("127.0.0.1", self.port, timeout=WITHIN_S) as client:
                client.helo("load.example")
                for recipient in self.recipients:
                    client.mail("s@load.example")
                    code = client.rcpt(recipient)[0]
                    self.replies.append((recipient, code))
                    if code == 250:
                        number += 1
                        subject = f"{self.node}-{number}"
                        if client.data(f"Subject: {subject}\r\n\r\nx\r\n".encode())[0] == 250:
                            self.sent.append((recipient, subject))
                    else:
                        client.rset()

    def codes(self, recipient: str) -> list[int]:
        return [code for to, code in list(self.replies) if to == recipient]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(WITHIN_S)


def subjects(host: Host, recipient: str) -> list[str]:
    """The messages in a box, in the order of their names."""
    local, domain = recipient.split("@")
    new = host.home / "popboxes" / domain.replace(".", "-") / local / "Maildir/new"
    texts = [path.read_text() for path in sorted(new.iterdir())]
    return [
        line.removeprefix("Subject: ") for text in texts for line in text.splitlines() if line.startswith("Subject")
    ]


def test_under_load_a_late_node_answers_4xx_and_every_message_arrives_once(pair: tuple[Host, Host]) -> None:
    recipients = ["joe@old.example", "ann@old.example", "joe@new.example"]
    verb = [sys.executable, "-P", "-m", "mailhost", "--home"]
    running: list[Any] = []
    loads: list[Load] = []
    try:
        for host in pair:
            follower(host).begin()
            options = ["follow", str(file(host)), "--every", "0.2", "--node", host.home.name]
            running.append(subprocess.Popen([*verb, str(host.home), *options], stdout=subprocess.DEVNULL))
        servers = [Server(cast(Home, SimpleNamespace(path=host.home))) for host in pair]
        file(pair[0]).write_text(NEW)
        # From the moment that a has them on, both are asked; b is given the same file only when it was asked often.
        wait_for(lambda: "new.example" in pair[0].text("control/rcpthosts"), "a has the new accounts", WITHIN_S)
        wait_for(lambda: not (pair[0].home / late.FILE).exists(), "nothing waits at a", WITHIN_S)
        loads = [Load(server.port, host.home.name, recipients) for server, host in zip(servers, pair, strict=True)]
        wait_for(lambda: len(loads[1].codes("joe@new.example")) >= 20, "b was asked while it is late", WITHIN_S)
        file(pair[1]).write_text(NEW)
        wait_for(lambda: loads[1].codes("joe@new.example")[-1:] == [250], "b has caught up", WITHIN_S)
        wait_for(lambda: loads[1].codes("ann@old.example")[-1:] == [250], "b has caught up", WITHIN_S)
        for load in loads:
            load.stop()
        for recipient in recipients[1:]:
            codes = loads[1].codes(recipient)
            assert set(codes) == {451, 250}
            assert codes == sorted(codes, reverse=True), "late, then served, and not late again"
        assert {code for load in loads for _, code in load.replies} == {250, 451}
        assert set(loads[0].codes("joe@new.example")) == {250}
        for recipient in recipients:
            sent = sorted(subject for load in loads for to, subject in load.sent if to == recipient)
            wait_for(lambda to=recipient, all_=sent: sorted(subjects(pair[0], to)) == all_, "each once", WITHIN_S)  # type: ignore[misc]
        assert not any("failure" in server.log or "bounce" in server.log for server in servers)
    finally:
        for load in loads:
            load.stop()
        for process in running:
            process.terminate()
            process.wait(WITHIN_S)
        for server in servers:
            server.stop()
