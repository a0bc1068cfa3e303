"""The images as an operator runs them: who may do what, what a stop and a kill leave, what a start refuses."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.popbox import ROOT

from popbox.clients.smtp import Smtp
from popbox.clients.wire import Address
from popbox.errors import PopboxError
from popbox.hosts.docker import LOCAL_BASE, no_qmail, unavailable
from popbox.pytest_plugin import note_exercised
from popbox.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: bits 0, 1, 3, 4, 5, 6, 7 of capability(7).
QMAIL_CAPABILITIES = 0b1111_1011
SLOW_DELIVERY_S = 3
MESSAGE = b"From: <a@b.example>\nSubject: %s\n\nhello\n"


def until(true: Callable[[], Any], awaited: str, within_s: float = 20.0) -> Any:
    """The first true answer; an AssertionError that says what was awaited at the deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(PopboxError, OSError):
            if answer := true():
                return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {within_s:.0f} s for {awaited}")


class Stack:
    """A compose project of compose.yaml, driven as an operator would: by its commands."""

    def __init__(self, profile: str) -> None:
        self.mta = profile
        self.project = f"imagetest-{secrets.token_hex(4)}"
        base = os.environ.get("QMAIL_BASE") or LOCAL_BASE
        self._environ = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_PROFILES": profile,
            "POPBOX_SMTP_PORT": "127.0.0.1::25",
            "POPBOX_POP3_PORT": "127.0.0.1::110",
            "POPBOX_POP3S_PORT": "127.0.0.1::995",
            "QMAIL_BASE": base if profile == "qmail" else "",
        }

    def compose(self, *argv: str, check: bool = True, within_s: float = 120.0) -> str:
        """Output of ``docker compose ARGV``; without ``check`` a non-zero end is no failure."""
        done = subprocess.run(
            ["docker", "compose", *argv],
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr[-2000:]}"
        return done.stdout + ("" if check else done.stderr)

    def sh(self, service: str, command: str, check: bool = True) -> str:
        """Output of a shell command in a service's container."""
        return self.compose("exec", "-T", service, "sh", "-c", command, check=check)

    def state(self, service: str) -> dict[str, Any]:
        """What ``docker inspect`` says of a service's container."""
        number = self.compose("ps", "--all", "--quiet", service).strip()
        done = subprocess.run(["docker", "inspect", number], capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def smtp(self) -> Smtp:
        """A session with the MTA, greeted; waits until one greets."""
        port = self.compose("port", self.mta, "25").strip().rpartition(":")[2]
        return until(lambda: self._greeted(Address("127.0.0.1", int(port))), "a greeting")  # type: ignore[no-any-return]

    def _greeted(self, address: Address) -> Smtp:
        session = Smtp(address)
        session.command("HELO popbox.invalid")
        return session

    def send(self, subject: bytes, recipient: str = "joe@domain.com") -> None:
        """Hand one message to the MTA."""
        session = self.smtp()
        self.envelope(session, recipient)
        assert session.command("DATA").code == 354
        assert session.data(MESSAGE % subject).ok
        session.command("QUIT")

    def envelope(self, session: Smtp, recipient: str = "joe@domain.com") -> None:
        """MAIL and RCPT, accepted."""
        for line in ("MAIL FROM:<a@b.example>", f"RCPT TO:<{recipient}>"):
            assert session.command(line).ok

    def copies(self, subject: bytes, box: str = "joe") -> int:
        """How many messages with that subject lie in the box."""
        pattern = f"grep -lsx 'Subject: {subject.decode()}' /var/qmail/popboxes/domain-com/{box}/Maildir/*/*"
        return len(self.sh("pop3", pattern, check=False).split())


def started(profile: str) -> Iterator[Stack]:
    stack = Stack(profile)
    try:
        stack.compose("up", "--detach", "--build", "--wait", within_s=600)
        stack.compose("exec", "-T", profile, "mailhost", "domain", "add", "domain.com")
        for box, login in (("joe", "testid"), ("slow", "slowid")):
            declare = ("mailhost", "mailbox", "add", f"{box}@domain.com", "--login", login, "--crypt", "DmIMm9e5Hc8ic")
            stack.compose("exec", "-T", profile, *declare)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)


@pytest.fixture(scope="module")
def qmail() -> Iterator[Stack]:
    """A stack with real qmail and two boxes; joe's mail is delivered at once, slow's takes three seconds."""
    why = unavailable() or no_qmail(Settings(ROOT, ROOT, os.environ.get("QMAIL_BASE")))
    if why:
        pytest.skip(why)
    for stack in started("qmail"):
        stack.sh(
            "pop3", f"printf '|sleep {SLOW_DELIVERY_S}\\n./Maildir/\\n' >/var/qmail/popboxes/domain-com/slow/.qmail"
        )
        yield stack


@pytest.fixture(autouse=True)
def running(request: pytest.FixtureRequest) -> None:
    """Each test begins with both containers up, whatever the one before did."""
    if "qmail" in request.fixturenames:
        note_exercised(request.node, "host docker, MTA qmail")
        request.getfixturevalue("qmail").compose("up", "--detach")


def status(stack: Stack, service: str, process: str) -> dict[str, str]:
    """Fields of /proc/PID/status of the first process of that name."""
    text = stack.sh(service, f"cat $(grep -lsx {process} /proc/[0-9]*/comm | head -n 1 | sed s/comm/status/)")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@pytest.mark.realqmail
def test_pop3_may_nothing_but_its_mail(qmail: Stack) -> None:
    fields = status(qmail, "pop3", "mailhost")
    assert fields["Uid"].split() == ["888"] * 4
    assert fields["Groups"].split() == ["888", "889", "890"]
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert fields["NoNewPrivs"] == "1"
    places = "/ /etc /opt /run /usr /var /var/qmail /var/qmail/users /var/qmail/control /var/qmail/popboxes"
    writable = qmail.sh("pop3", f"for d in {places}; do (: >$d/probe) 2>/dev/null && echo $d; done; true")
    assert writable.split() == []
    assert qmail.sh("pop3", "ls -A /var/qmail").split() == ["control", "popboxes", "users"]


@pytest.mark.realqmail
def test_qmails_programs_are_who_they_should_be(qmail: Stack) -> None:
    owners = {"qmail-send": "qmails", "qmail-lspawn": "root", "qmail-rspawn": "qmailr", "qmail-clean": "qmailq"}
    for process, owner in {**owners, "tcpserver": "qmaild", "s6-log": "qmaill"}.items():
        fields = status(qmail, "qmail", process)
        assert fields["Uid"].split()[1] == qmail.sh("qmail", f"id -u {owner}").strip(), process
        assert int(fields["CapBnd"], 16) == QMAIL_CAPABILITIES
        assert (int(fields["CapEff"], 16) == 0) == (owner != "root"), process
    assert qmail.sh("qmail", "stat -c '%U:%g %a' /var/qmail/users/poppasswd").strip() == "root:889 640"


@pytest.mark.realqmail
@pytest.mark.parametrize("service", ["qmail-send", "smtpd"])
def test_a_killed_service_comes_back(qmail: Stack, service: str) -> None:
    pid = f"s6-svstat -o pid /run/service/{service}"
    before = qmail.sh("qmail", f"{pid}; kill -9 $({pid})").strip()
    until(lambda: qmail.sh("qmail", pid).strip() not in (before, "-1"), f"a new {service}")
    subject = f"after {service}".encode()
    qmail.send(subject)
    until(lambda: qmail.copies(subject) == 1, "the message")


@pytest.mark.realqmail
def test_a_stop_waits_for_a_running_delivery(qmail: Stack) -> None:
    qmail.send(b"slow one", "slow@domain.com")
    until(lambda: "to local domain-com-slow" in qmail.compose("logs", "qmail"), "the delivery to start")
    began = time.monotonic()
    qmail.compose("stop", "qmail")
    assert time.monotonic() - began > SLOW_DELIVERY_S / 2
    assert qmail.state("qmail")["State"]["ExitCode"] == 0
    assert qmail.copies(b"slow one", "slow") == 1
    assert "status: exiting" in qmail.compose("logs", "--tail", "3", "qmail")


@pytest.mark.realqmail
def test_a_stop_lets_a_session_end_and_takes_no_new_one(qmail: Stack) -> None:
    session = qmail.smtp()
    qmail.envelope(session)
    assert session.command("DATA").code == 354
    stop = subprocess.Popen(["docker", "stop", "--time", "30", qmail.state("qmail")["Id"]], stdout=subprocess.DEVNULL)
    until(lambda: "false" in qmail.sh("qmail", "s6-svstat -o up /run/service/smtpd"), "the listener to go")
    assert session.data(MESSAGE % b"last words").ok
    session.command("QUIT")
    stop.wait(30)
    assert qmail.state("qmail")["State"]["ExitCode"] == 0
    qmail.compose("start", "qmail")
    until(lambda: qmail.copies(b"last words") == 1, "the message, before the stop or after it")


@pytest.mark.realqmail
def test_a_killed_container_loses_nothing(qmail: Stack) -> None:
    qmail.send(b"survivor", "slow@domain.com")
    qmail.compose("kill", "qmail")
    qmail.compose("start", "qmail")
    until(lambda: qmail.copies(b"survivor", "slow") >= 1, "the message after the restart")


@pytest.mark.realqmail
def test_new_containers_find_everything_as_it_was(qmail: Stack) -> None:
    look = "cd /var/qmail && cat control/* users/assign users/poppasswd && stat -c '%n %U:%G %a' * */* users/domains/*"
    qmail.send(b"kept")
    until(lambda: qmail.copies(b"kept") == 1, "the message")
    before = qmail.sh("qmail", look)
    assert "alias alias:qmail 2755" in before
    qmail.compose("up", "--detach", "--force-recreate", "--wait")
    assert qmail.sh("qmail", look) == before
    assert qmail.copies(b"kept") == 1


@pytest.mark.realqmail
def test_a_lost_fifo_is_made_again(qmail: Stack) -> None:
    trigger = "/var/qmail/queue/lock/trigger"
    qmail.sh("qmail", f"rm {trigger}")
    qmail.compose("restart", "qmail")
    wanted = "fifo qmails 622"
    until(lambda: qmail.sh("qmail", f"stat -c '%F %U %a' {trigger}", check=False).strip() == wanted, wanted)


@pytest.mark.realqmail
def test_without_rcpthosts_there_is_no_listener(qmail: Stack) -> None:
    control = "/var/qmail/control"
    qmail.sh("qmail", f"mv {control}/rcpthosts {control}/kept; s6-svc -r /run/service/smtpd")
    try:
        until(lambda: "would be an open relay" in qmail.compose("logs", "qmail"), "the refusal in the log")
        assert "exit" not in qmail.sh("qmail", "greets 25 220 && echo exit 0", check=False)
    finally:
        qmail.sh("qmail", f"mv {control}/kept {control}/rcpthosts; s6-svc -r /run/service/smtpd")


@pytest.mark.realqmail
def test_a_queue_of_other_numbers_is_refused(qmail: Stack) -> None:
    image, volume = qmail.state("qmail")["Config"]["Image"], f"{qmail.project}-foreign"
    run = ["docker", "run", "--rm", "--volume", f"{volume}:/var/qmail/queue"]
    try:
        subprocess.run([*run, "--entrypoint", "chown", image, "4711", "/var/qmail/queue/mess"], check=True)
        done = subprocess.run([*run, image], capture_output=True, text=True, timeout=60, check=False)
    finally:
        subprocess.run(["docker", "volume", "rm", volume], capture_output=True, check=False)
    assert done.returncode == 111
    assert "queue/mess is owned by uid 4711" in done.stderr
