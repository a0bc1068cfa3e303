"""The images as an operator runs them: permissions, what a stop and a kill leave, what a start refuses."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.docker.stacks import MESSAGE, Stack, started, until
from tests.needs import require

from popbox.pytest_notes import note_exercised

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.timeout(300)]

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: bits 0, 1, 3, 4, 5, 6, 7 of capability(7).
QMAIL_CAPABILITIES = 0b1111_1011
SLOW = "/var/qmail/popboxes/domain-com/slow"


@pytest.fixture(scope="module")
def qmail() -> Iterator[Stack]:
    """A stack with real qmail and two boxes; joe's mail is delivered at once, slow's not as long as a file is there."""
    require("qmail image")
    for stack in started("qmail"):
        waits = "touch begun; while test -e held; do sleep 0.1; done"
        stack.sh("pop3", f"printf '|{waits}\\n./Maildir/\\n' >{SLOW}/.qmail")
        yield stack


@contextmanager
def held(stack: Stack, subject: bytes) -> Iterator[None]:
    """A message to slow whose delivery has begun and does not end before this does."""
    stack.sh("pop3", f"rm -f {SLOW}/begun; touch {SLOW}/held")
    try:
        stack.send(subject, "slow@domain.com")
        until(lambda: stack.sh("pop3", f"ls {SLOW}/begun", check=False).startswith(SLOW), "the delivery to start")
        yield
    finally:
        stack.sh("pop3", f"rm {SLOW}/held")


@pytest.fixture(autouse=True)
def running(request: pytest.FixtureRequest) -> None:
    """Each test begins with both containers running, whatever the previous one did."""
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


ESCAPES = {
    "a setuid or setgid program": "find / -xdev -perm /6000 -type f ! -path '/proc/*' 2>/dev/null",
    "a file capability": "python3 -c 'import os\n"
    'for top, _, names in os.walk("/usr"):\n'
    "  for path in (os.path.join(top, name) for name in names):\n"
    '    if "security.capability" in os.listxattr(path, follow_symlinks=False): print(path)\'',
    "a process of root": "for p in /proc/[0-9]*; do grep -qs '^Uid:.*\\b0\\b' $p/status && cat $p/comm; done",
    "a place to write outside volumes and /tmp": "find / -xdev -writable ! -type l ! -path /tmp 2>/dev/null",
    "a device of the host": "ls /dev | grep -vxE"
    " 'core|fd|full|mqueue|null|ptmx|pts|shm|std(in|out|err)|tty|u?random|zero'",
    "the engine's socket": "ls /var/run/docker.sock /run/docker.sock 2>/dev/null",
    "a way into the kernel": "for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /sys/kernel/uevent_helper; do"
    " (: >>$f) 2>/dev/null && echo $f; done; true",
    "no seccomp filter": "grep -L '^Seccomp:.2' /proc/self/status",
    "a secret in the environment": "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    " | grep -iE 'passw|secret|key='",
    "the sender's queue": "ls /var/qmail/queue /var/qmail/alias 2>/dev/null",
}


@pytest.mark.realqmail
@pytest.mark.parametrize("what", ESCAPES)
def test_there_is_no_way_out_of_pop3_by(what: str, qmail: Stack) -> None:
    assert qmail.sh("pop3", ESCAPES[what], check=False).split("\n") == [""]


@pytest.mark.realqmail
def test_the_list_of_escapes_finds_them_where_they_are(qmail: Stack) -> None:
    """The broken peer: the qmail container has root, a setuid program and a queue, so the checks must fail."""
    for what in ("a setuid or setgid program", "a process of root", "the sender's queue"):
        assert qmail.sh("qmail", ESCAPES[what], check=False).strip()


@pytest.mark.realqmail
def test_pop3_reads_the_passwords_and_qmails_users_do_not(qmail: Stack) -> None:
    look = "test -r /var/qmail/users/poppasswd && echo reads || echo cannot"
    assert qmail.sh("pop3", look).strip() == "reads"
    for user in ("popuser", "qmaild", "qmails", "qmailr", "alias"):
        group = qmail.sh("qmail", f"id -g {user}").strip()
        as_user = f"s6-applyuidgid -u $(id -u {user}) -g {group} -G '' sh -c '{look}'"
        assert qmail.sh("qmail", as_user).strip() == "cannot", user
    writes = "for d in /var/qmail/popboxes /var/qmail/popboxes/domain-com/joe; do test -w $d && echo $d; done; true"
    for user in ("qmaild", "qmails", "qmailr", "alias"):
        as_user = f"s6-applyuidgid -u $(id -u {user}) -g $(id -g {user}) -G '' sh -c '{writes}'"
        assert not qmail.sh("qmail", as_user).strip(), user


@pytest.mark.realqmail
def test_qmails_programs_are_who_they_should_be(qmail: Stack) -> None:
    owners = {"qmail-send": "qmails", "qmail-lspawn": "root", "qmail-rspawn": "qmailr", "qmail-clean": "qmailq"}
    for process, owner in {**owners, "smtpfront": "qmaild", "s6-log": "qmaill"}.items():
        fields = until(lambda: "Uid" in (of := status(qmail, "qmail", process)) and of, process)  # noqa: B023 - called now
        assert fields["Uid"].split()[1] == qmail.sh("qmail", f"id -u {owner}").strip(), process
        assert int(fields["CapBnd"], 16) == QMAIL_CAPABILITIES
        assert (int(fields["CapEff"], 16) == 0) == (owner != "root"), process
    assert qmail.sh("qmail", "stat -c '%U:%g %a' /var/qmail/users/poppasswd").strip() == "root:889 640"


@pytest.mark.realqmail
@pytest.mark.parametrize("service", ["qmail-send", "smtpd"])
def test_a_killed_service_comes_back(qmail: Stack, service: str) -> None:
    pid = f"s6-svstat -o pid /run/service/{service}"
    before = until(lambda: (now := qmail.sh("qmail", pid).strip()) != "-1" and now, service)  # kill -9 -1 kills all
    qmail.sh("qmail", f"kill -9 {before}")
    until(lambda: qmail.sh("qmail", pid).strip() not in (before, "-1"), f"a new {service}")
    subject = f"after {service}".encode()
    qmail.send(subject)
    until(lambda: qmail.copies(subject) == 1, "the message")


def stopping(stack: Stack) -> subprocess.Popen[bytes]:
    """A stop of the container that has begun: there is no listener any more."""
    stop = subprocess.Popen(["docker", "stop", "--time", "100", stack.state("qmail")["Id"]], stdout=subprocess.DEVNULL)
    until(lambda: "false" in stack.sh("qmail", "s6-svstat -o up /run/service/smtpd"), "the listener to go")
    return stop


@pytest.mark.realqmail
def test_a_stop_waits_for_a_running_delivery(qmail: Stack) -> None:
    with held(qmail, b"slow one"):
        stop = stopping(qmail)
        assert qmail.state("qmail")["State"]["Running"]
        assert qmail.copies(b"slow one", "slow") == 0
    stop.wait(120)
    assert qmail.state("qmail")["State"]["ExitCode"] == 0
    assert qmail.copies(b"slow one", "slow") == 1
    assert "status: exiting" in qmail.compose("logs", "--tail", "3", "qmail")


@pytest.mark.realqmail
def test_a_stop_lets_a_session_end_and_takes_no_new_one(qmail: Stack) -> None:
    session = qmail.smtp()
    qmail.envelope(session)
    assert session.command("DATA").code == 354
    stop = stopping(qmail)
    assert session.data(MESSAGE % b"last words").ok
    session.command("QUIT")
    stop.wait(120)
    assert qmail.state("qmail")["State"]["ExitCode"] == 0
    qmail.compose("start", "qmail")
    until(lambda: qmail.copies(b"last words") == 1, "the message, before the stop or after it")


@pytest.mark.realqmail
def test_a_killed_container_loses_nothing(qmail: Stack) -> None:
    with held(qmail, b"survivor"):
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
    again = "s6-svc -r /run/service/smtpd"  # refused for the moment in which the supervisor still starts
    # A start, such as the one in the test before, makes a missing rcpthosts.
    until(lambda: "exit 0" in qmail.sh("qmail", "greets 25 220 && echo exit 0", check=False), "the greeting")
    qmail.sh("qmail", f"mv {control}/rcpthosts {control}/kept")
    try:
        until(lambda: "told" in qmail.sh("qmail", f"{again} && echo told", check=False), "the supervisor")
        until(lambda: "would be an open relay" in qmail.compose("logs", "qmail"), "the refusal in the log")
        assert "exit" not in qmail.sh("qmail", "greets 25 220 && echo exit 0", check=False)
    finally:
        qmail.sh("qmail", f"mv {control}/kept {control}/rcpthosts; {again}")


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


class Flow:
    """A sender that retries until it gets 250: the mail host must deliver each subject that it records."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.accepted, self.tries = stack, [], 0  # type: tuple[Stack, list[bytes], int]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.tries += 1
            subject = b"flow %d" % self.tries
            try:
                self.stack.send(subject)
            except Exception:  # noqa: S112 - the host is being killed: whatever goes wrong here is the sender's to repeat
                continue
            self.accepted.append(subject)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


@pytest.mark.realqmail
def test_containers_killed_in_turn_lose_no_accepted_message(qmail: Stack) -> None:
    flow = Flow(qmail)
    try:
        for service in ("qmail", "pop3", "qmail"):
            before = len(flow.accepted)
            until(lambda: len(flow.accepted) > before + 5, "mail to flow", 120)  # noqa: B023 - called before it changes
            qmail.compose("kill", service)
            qmail.compose("start", service)
        before = len(flow.accepted)
        until(lambda: len(flow.accepted) > before + 5, "mail to flow again", 120)
    finally:
        flow.stop()
    look = "cat /var/qmail/popboxes/domain-com/joe/Maildir/*/* | grep '^Subject: flow '"
    wanted = {f"Subject: {subject.decode()}" for subject in flow.accepted}

    def delivered() -> bool:
        return wanted <= set(qmail.sh("pop3", look, check=False).splitlines())

    until(delivered, "every accepted message", 120)
    assert f"Subject: flow {flow.tries + 1}" not in qmail.sh("pop3", look), "the list is of what was sent"
