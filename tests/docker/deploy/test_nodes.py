"""Two nodes with real qmail and one popboxes, one of which gets its accounts.toml later, under load."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docker.stacks import MESSAGE, Stack, until

from popbox.errors import PopboxError
from popbox.pytest_notes import note_exercised

pytestmark = [pytest.mark.docker, pytest.mark.needs("qmail image"), pytest.mark.realqmail, pytest.mark.timeout(900)]
OVERRIDE = """
services: {{pop3: {{profiles: [never]}}}}
volumes: {{popboxes: {{external: true, name: {volume}}}}}
"""
CRYPT = 'crypt = "DmIMm9e5Hc8ic"\n'
OLD = f'[domains."old.example".mailboxes.joe]\nlogin = "joe"\n{CRYPT}'
NEW = f"""{OLD}[domains."old.example".mailboxes.ann]
login = "ann"
{CRYPT}[domains."new.example".mailboxes.joe]
login = "new"
{CRYPT}"""
LATE = ("ann@old.example", "joe@new.example")


class Node:
    """One stack, and the file that it is given."""

    def __init__(self, name: str, folder: Path, volume: str) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.file = folder / "accounts.toml"
        self.give(OLD)
        override = folder / "override.yaml"
        override.write_text(OVERRIDE.format(volume=volume))
        files = f"compose.yaml:{override}"
        self.stack = Stack("qmail", COMPOSE_FILE=files, POPBOX_ACCOUNTS=str(folder), POPBOX_NODE=name)

    def give(self, text: str) -> None:
        """Replace the whole file at once, as an orchestrator does."""
        fresh = self.file.with_name("fresh")
        fresh.write_text(text)
        fresh.rename(self.file)

    def has(self, domain: str) -> bool:
        return domain in self.stack.sh("qmail", "cat /var/qmail/control/rcpthosts")


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    note_exercised(request.node, "host docker, MTA qmail")
    tmp_path.chmod(0o755)
    volume = f"nodestest-{secrets.token_hex(4)}"
    subprocess.run(["docker", "volume", "create", volume], check=True, stdout=subprocess.DEVNULL)
    nodes = Node("mx1", tmp_path / "mx1", volume), Node("mx2", tmp_path / "mx2", volume)
    try:
        for node in nodes:
            node.stack.compose("up", "--detach", "--build", "--wait", "qmail", within_s=600)
        yield nodes
    finally:
        for node in nodes:
            node.stack.compose("down", "--volumes", "--timeout", "5", check=False)
        subprocess.run(["docker", "volume", "rm", "--force", volume], check=True, stdout=subprocess.DEVNULL)


class Load(threading.Thread):
    """A sender that tries both addresses at one node repeatedly; keeps each reply to RCPT and each accepted message."""

    def __init__(self, node: Node, name: str) -> None:
        super().__init__()
        self.node, self.called = node, name
        self.codes: dict[str, list[int]] = {address: [] for address in LATE}
        self.taken: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            for address in LATE:
                try:
                    self._send(address)
                except (PopboxError, OSError):  # the engine's proxy, at the limits of a busy machine: try again
                    time.sleep(0.1)

    def _send(self, address: str) -> None:
        session = self.node.stack.smtp()
        session.command("MAIL FROM:<s@load.example>")
        code = session.command(f"RCPT TO:<{address}>").code
        if code == 250:
            subject = f"{self.called}-{len(self.taken)}"
            assert session.command("DATA").code == 354
            if session.data(MESSAGE % subject.encode()).ok:
                self.taken.append(subject)
        session.command("QUIT")
        self.codes[address].append(code)


def arrived(node: Node) -> list[str]:
    """The subjects in all boxes."""
    files = "/var/qmail/popboxes/*-example/*/Maildir/new/*"
    said = node.stack.sh("qmail", f"grep -h ^Subject: {files}", check=False)
    return sorted(line.removeprefix("Subject: ") for line in said.splitlines())


def test_a_late_node_answers_4xx_until_it_has_the_file_and_nothing_bounces(pair: tuple[Node, Node]) -> None:
    first, second = pair
    first.give(NEW)
    until(lambda: first.has("new.example"), "the first node has the new accounts", 60)
    until(lambda: first.stack.sh("qmail", "test -e /var/qmail/control/late || echo gone").strip(), "nothing waits", 60)
    assert not second.has("new.example")
    loads = [Load(node, name) for node, name in zip(pair, ("mx1", "mx2"), strict=True)]
    try:
        for load in loads:
            load.start()
        until(lambda: len(loads[1].codes[LATE[1]]) >= 5, "the late node was asked", 120)
        second.give(NEW)
        until(lambda: all(loads[1].codes[address][-1:] == [250] for address in LATE), "it has caught up", 120)
    finally:
        for load in loads:
            load.ended.set()
            load.join(60)
    for address in LATE:
        assert set(loads[0].codes[address]) == {250}
        codes = loads[1].codes[address]
        assert set(codes) == {451, 250}
        assert codes == sorted(codes, reverse=True), "late, then served, and not late again"
    taken = sorted(subject for load in loads for subject in load.taken)
    until(lambda: arrived(first) == taken, "every message once", 60)
    for node in pair:
        log = node.stack.compose("logs", "--no-color", "qmail")
        assert "bounce" not in log
        assert "failure" not in log
