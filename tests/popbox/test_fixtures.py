"""The plugin's fixtures, as another project has them: the example project, and tests that must fail."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from popbox.hosts.state import Registry
from popbox.ledger.proof import Disposition
from popbox.result import Report, Verdict

pytest_plugins = ["pytester"]

EXAMPLE = Path(__file__).parents[1] / "example"
LOST = """
def test_lost(mailbox, send_mail, mailhost):
    mailhost.step("declare", {"argv": ["mailbox", "add", f"ann@{mailbox.domain}", "--generate"]})
    sent = send_mail(f"ann@{mailbox.domain}", "Subject: not for joe\\n\\n")
    mailhost.wait(f"ann@{mailbox.domain}", within_s=60)
    mailbox.expect(sent, within_s=0.1)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    return pytester


def left_up(project: pytest.Pytester) -> list[str]:
    return [record.place for record in Registry(project.path / "state/popbox").all()]


@pytest.mark.slow
def test_the_example_project_passes_on_one_host_shared_by_two_processes(project: pytest.Pytester) -> None:
    shutil.copytree(EXAMPLE, project.path / "example")
    options = ["--rootdir=example", "-c", "example/pyproject.toml", "-n2", "--popbox-report=report"]
    done = project.runpytest_subprocess(*options, "example")
    done.assert_outcomes(passed=10)
    done.stdout.fnmatch_lines(
        ["  exercised  host local, MTA stand-in  (tests: 10)", "report: report/local-stand-in.json", "report: *.html"]
    )
    assert left_up(project) == []
    report = Report.model_validate_json((project.path / "report/local-stand-in.json").read_text())
    assert {one.verdict for one in report.results} == {Verdict.PASSED}
    assert len(report.results) == 10
    ends = Counter(message.ended for one in report.results for message in one.messages)
    assert ends[Disposition.ONCE] >= 6
    assert "test_a_message_arrives_once_and_whole" in (project.path / "report/local-stand-in.html").read_text()


def test_a_host_that_is_kept_says_where_it_is_and_how_to_remove_it(project: pytest.Pytester) -> None:
    project.makepyfile(
        "def test_seen(mailhost):\n    print('SMTP is', mailhost.smtp)\n    assert mailhost.name == 'local'"
    )
    done = project.runpytest_subprocess("-s", "--popbox-keep")
    try:
        done.assert_outcomes(passed=1)
        said = re.search(r"SMTP is (\S+)", done.stdout.str())
        assert said
        done.stdout.fnmatch_lines(
            [f"host local, MTA stand-in stays up: SMTP {said[1]}, POP3 *", "`popbox down` removes*"]
        )
        assert len(left_up(project)) == 1
    finally:
        removed = project.run(sys.executable, "-m", "popbox", "down")
    removed.stdout.fnmatch_lines(["removed host local, MTA stand-in: *"])
    assert left_up(project) == []


def test_a_failure_shows_the_verdict_the_steps_and_the_logs(project: pytest.Pytester) -> None:
    project.makepyfile(LOST)
    done = project.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*Unproved: expect-delivered: no file in popboxes/*/joe/Maildir/new or cur holds the token; delivery *",
            "*popbox: steps on host local, MTA stand-in*",
            "*ok   send: 250 ok*",
            "*popbox: log of smtp*",
            "starting delivery * to local t*-example-ann@t*.example",
            "*popbox: log of pop3*",
            "nothing",
        ]
    )


FAILING = """
import pytest
from popbox.message import parse

def test_refused(mailbox, pop3):
    with pop3(mailbox) as session:
        session.retrieve(4)

def test_wanted(mailbox, send_mail, mailhost, pop3):
    mailbox.expect(send_mail(mailbox, "Subject: hello\\n\\n"))
    with pop3(mailbox) as session:
        assert len(session.listing()) == 7, "seven are wanted"

@pytest.mark.parametrize("use", [
    lambda host, box: host.send(3, "x"),
    lambda host, box: host.send(box, 5),
    lambda host, box: host.send(box, "x", sender=b"a@b.c"),
    lambda host, box: host.send([box, 3], "x"),
    lambda host, box: host.step("sned", {}),
    lambda host, box: host.step("send", {"frm": 1}),
    lambda host, box: host.step(None, {}),
    lambda host, box: host.step("hup", "smtp", within_s="a"),
    lambda host, box: box.expect("a@b.c"),
    lambda host, box: box.expect_nothing(None),
    lambda host, box: box.expect_bounce(3, "x"),
    lambda host, box: box.wait(subject=3),
    lambda host, box: box.wait(since=3),
    lambda host, box: box.wait(within_s="5"),
    lambda host, box: box.wait(within_s=float("nan")),
    lambda host, box: box.wait(within_s=float("inf")),
    lambda host, box: box.wait(within_s=-1),
    lambda host, box: host.wait(7),
    lambda host, box: host.mark(7),
    lambda host, box: host.messages(7),
    lambda host, box: host.session("joe"),
    lambda host, box: host.log("pop"),
    lambda host, box: host.mailhost("domain", 3),
    lambda host, box: host.mailhost("lint", stdin="x"),
    lambda host, box: host.domain(3),
    lambda host, box: host.mailbox(3),
])
def test_wrong_use(module_mailbox, mailhost, use):
    use(mailhost, module_mailbox)

def test_fault_of_popbox(mailhost, monkeypatch):
    monkeypatch.setattr(mailhost._run, "take", lambda step: 1 / 0)
    mailhost.domain()

@pytest.mark.parametrize("ask", [lambda mail: mail.code, lambda mail: mail.link("reset")])
def test_not_in_the_mail(mailhost, ask):
    ask(parse(b"Subject: hello\\n\\nHello.\\n"))
"""


def test_a_failure_ends_at_the_line_of_the_test_and_shows_its_sessions_and_no_others(project: pytest.Pytester) -> None:
    project.makepyfile(FAILING)
    done = project.runpytest_subprocess("--popbox-report=report")
    done.assert_outcomes(failed=31)
    text = done.stdout.str()
    by_test = dict(zip(*[iter(re.split(r"\n_{3,} (test_\S+) _{3,}\n", text)[1:])] * 2, strict=True))
    assert len(by_test) == 31
    for name, shown in by_test.items():
        ours = "popbox/testing.py:" in shown or "popbox/message/" in shown
        assert ours is (name == "test_fault_of_popbox"), shown
        if name.startswith("test_wrong_use"):
            assert re.search(r"^E +popbox\.errors\.(UnusableError|HostError): ", shown, re.MULTILINE), shown
    refused, wanted = by_test["test_refused"], by_test["test_wanted"]
    assert "C: RETR 4\nS: -ERR no such message\n" in refused
    assert "C: LIST\nS: +OK 1 messages\n" in wanted
    assert "starting delivery" in wanted
    assert "status: local" not in wanted
    assert "starting delivery" not in by_test["test_fault_of_popbox"], "that was another test's message"
    assert '"event": "session"' not in by_test["test_fault_of_popbox"]
    report = Report.model_validate_json((project.path / "report/local-stand-in.json").read_text())
    reasons = {one.title.partition("::")[2]: one.reason for one in report.results}
    assert reasons["test_wanted"] == "seven are wanted"
    assert reasons["test_refused"] == "RETR 4: -ERR no such message"


OWN = """
import pytest

def test_shared(mailhost):
    global shared
    shared = mailhost.smtp

@pytest.mark.popbox_own_host
def test_own(mailbox, send_mail, mailhost):
    assert mailhost.smtp != shared
    mailhost.step("break", {"kill": "smtp", "id": "k"})
    mailhost.step("heal", "k")
    mailbox.expect(send_mail(mailbox, "Subject: after\\n\\n"))

@pytest.mark.popbox_own_host(small_disks=True)
def test_full(mailbox, send_mail, mailhost):
    mailhost.step("break", {"fill": "queue", "id": "f"})
    mailhost.send_refused(mailbox, "4", "Subject: no room\\n\\n")
    mailhost.step("heal", "f")
    mailbox.expect(send_mail(mailbox, "Subject: room\\n\\n"))

@pytest.mark.popbox_own_host(disks=1)
def test_wrong(mailhost):
    pass
"""


def test_a_test_may_have_a_host_of_its_own_with_small_disks(project: pytest.Pytester) -> None:
    project.makepyfile(OWN)
    done = project.runpytest_subprocess("--strict-markers", "-rs")
    outcomes = done.parseoutcomes()
    assert (outcomes["errors"], outcomes["passed"], outcomes["passed"] + outcomes.get("skipped", 0)) in (
        (1, 3, 3),
        (1, 2, 3),
    )
    if outcomes.get("skipped"):
        done.stdout.fnmatch_lines(["SKIPPED * not possible on this host: *"])
    done.stdout.fnmatch_lines(["*small_disks=True is all that it takes"])
    assert left_up(project) == []


def test_a_set_up_that_fails_shows_the_logs_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import pytest\n"
        "@pytest.fixture\n"
        "def box(mailhost):\n"
        "    return mailhost.mailbox('not an address')\n"
        "def test_it(box): pass"
    )
    done = project.runpytest_subprocess()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*HostError: mailhost mailbox add not an address@*", "*popbox: log of smtp*"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--popbox-host", "docker"], "host docker is not available: the engine does not answer*"),
        (["--popbox-host", "local", "--popbox-mta", "qmail"], "host local has no qmail: *"),
    ],
)
def test_an_explicit_wish_that_cannot_be_met_is_an_error(
    project: pytest.Pytester, options: list[str], words: str
) -> None:
    project.makepyfile("def test_it(mailhost): pass")
    done = project.runpytest_subprocess(*options)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([words])


def test_the_password_is_not_shown(project: pytest.Pytester) -> None:
    project.makepyfile(
        "from pathlib import Path\n"
        "def test_it(mailbox, pop3):\n"
        "    pop3(mailbox)\n"
        "    Path('secret').write_text(mailbox.password)\n"
        "    assert mailbox is None"
    )
    done = project.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    secret = (project.path / "secret").read_text()
    assert len(secret) > 10
    assert secret not in done.stdout.str()


def test_a_step_that_the_engine_refuses_is_a_skip_with_its_reason(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import pytest\n"
        "from popbox.errors import HostError, NotPossibleError\n"
        "from popbox.hosts.local import LocalHost\n"
        "def refuse(*_):\n"
        "    raise NotPossibleError('unable to freeze')\n"
        "@pytest.fixture\n"
        "def hung(mailhost, monkeypatch):\n"
        "    monkeypatch.setattr(LocalHost, 'pause', refuse)\n"
        "    return lambda: mailhost.step('break', {'id': 'hang', 'pause': 'smtp'})\n"
        "@pytest.fixture\n"
        "def hung_before(hung):\n"
        "    hung()\n"
        "def test_in_the_test(hung):\n"
        "    hung()\n"
        "    assert False, 'the test goes on'\n"
        "def test_in_a_fixture(hung_before): pass\n"
        "def test_expected(hung):\n"
        "    with pytest.raises(NotPossibleError):\n"
        "        hung()\n"
        "def test_another_error(mailhost):\n"
        "    raise HostError('it is down')"
    )
    done = project.runpytest_subprocess("-rs", "--popbox-host", "local")
    done.assert_outcomes(skipped=2, passed=1, failed=1)
    done.stdout.fnmatch_lines(["  skipped    test: not possible on this host: unable to freeze  (tests: 2)"])


def test_what_is_sent_and_refused_is_judged(project: pytest.Pytester) -> None:
    project.makepyfile(
        "def test_accepted(mailhost):\n"
        "    mailhost.send_refused(mailhost.mailbox(), '553')\n"
        "def test_refused(mailhost):\n"
        "    mailhost.send('victim@elsewhere.example')"
    )
    done = project.runpytest_subprocess()
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(
        ["*a refusal that starts with '553' was expected*", "*Unproved: send: refused at RCPT TO:<victim@*: 553*"]
    )
