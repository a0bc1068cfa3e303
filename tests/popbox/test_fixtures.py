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
    mailbox.expect(sent, within_s=1)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    return pytester


def left_up(project: pytest.Pytester) -> list[str]:
    return [record.place for record in Registry(project.path / "state/popbox").all()]


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
        ]
    )


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
