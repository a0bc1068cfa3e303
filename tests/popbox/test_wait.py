"""``mailbox.wait`` and ``mailhost.wait``: mail that another program sends, parsed, and where it is stuck."""

from __future__ import annotations

import re
import smtplib
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from tests.popbox.standin import standin

from popbox.errors import HostError
from popbox.hosts.base import Found, Host
from popbox.hosts.readiness import wait_until
from popbox.testing import MailHost, Unproved

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with standin(tmp_path_factory.mktemp("state")) as up:
        yield up


@pytest.fixture
def mail(host: Host, tmp_path: Path) -> Iterator[MailHost]:
    mine = MailHost(host, "test", tmp_path)
    yield mine
    mine.close()


def application(mail: MailHost, to: str, subject: str, text: str = "hi\n") -> None:
    """A program that knows nothing of popbox."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Shop <no-reply@shop.example>", to, subject
    message.set_content(text)
    with smtplib.SMTP(mail.smtp.host, mail.smtp.port, timeout=30) as session:
        session.send_message(message, from_addr="bounce@shop.example", to_addrs=[to])


def test_mail_of_the_application_comes_parsed(mail: MailHost) -> None:
    box = mail.mailbox()
    sender = threading.Timer(0.3, application, (mail, box.address, "Your code", "It is 482913.\n"))
    sender.start()
    got = box.wait(subject="Your code", from_="no-reply@Shop.example", within_s=60)
    sender.join()
    assert (got.subject, got.text, got.code) == ("Your code", "It is 482913.\n", "482913")
    assert got.raw.endswith(b"It is 482913.\n")
    assert got.header("Return-Path") == "<bounce@shop.example>"


def test_the_oldest_that_is_wanted_and_not_marked(mail: MailHost) -> None:
    box = mail.mailbox()
    application(mail, box.address, "first")
    assert box.wait(within_s=60).subject == "first"
    mark = box.mark()
    application(mail, box.address, "second of two")
    assert box.wait(since=mark, within_s=60).subject == "second of two"
    assert box.wait(subject=re.compile("of t")).subject == "second of two"
    assert box.wait().subject == "first"
    for subject in ("second", "Second of two"):
        with pytest.raises(Unproved, match=f"no message with the subject '{subject}' came to {box} in 0.1 s"):
            box.wait(subject=subject, within_s=0.1)


def test_addresses_that_share_a_box_are_told_apart(mail: MailHost) -> None:
    box = mail.mailbox("joe", extensions=True)
    tag, other = (f"joe-{name}@{box.domain}" for name in ("tag", "x-tag"))
    mail.step("declare", {"argv": ["forward", "add", f"sales@{box.domain}", box.address]})
    for to in (other, tag, f"sales@{box.domain}"):
        application(mail, to, f"for {to}")
        assert mail.wait(to, subject=f"for {to}", within_s=60).header("To") == to
    assert mail.wait(box, subject=f"for sales@{box.domain}").header("To") == f"sales@{box.domain}"
    with pytest.raises(Unproved):
        mail.wait(tag, subject=f"for {other}", within_s=0.1)


def test_a_failure_says_what_came_instead(mail: MailHost) -> None:
    box = mail.mailbox()
    application(mail, box.address, "Welcome")
    box.wait(within_s=60)
    with pytest.raises(Unproved, match=r"came instead: 'Welcome' From: Shop <no-reply@shop.example>, \d+ octets"):
        box.wait(subject="Reset", within_s=0.1)


def test_after_its_limit_a_wait_looks_no_more_and_says_what_a_slow_host_took(
    mail: MailHost, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, find, looks = mail.mailbox(), host.find, list[str]()

    def slow(maildir: str, needle: str) -> list[Found]:
        looks.append(maildir)
        return find(maildir, needle)

    monkeypatch.setattr(host, "find", slow)
    with pytest.raises(Unproved, match=r"in 0 s\n"):
        box.wait(within_s=0)
    assert len(looks) == 1
    monkeypatch.setattr("popbox.testing.SLOW_S", 0.0)
    with pytest.raises(Unproved, match=r"in 0 s; the host answers slowly: \d+\.\d s had passed when the last look"):
        box.wait(within_s=0)


def test_a_failure_says_where_the_mail_is_stuck_and_why(mail: MailHost, host: Host) -> None:
    box = mail.mailbox()
    directory = f"popboxes/{box.domain.replace('.', '-')}/joe"
    host.chmod(directory, 0o722)
    with pytest.raises(HostError, match=f"mail for {box} comes to no box of this host: deferred: .*writable"):
        box.wait()
    application(mail, box.address, "Reset")
    assert wait_until(lambda: "deferral: " in mail.log("smtp"), time.monotonic() + 60)
    host.chmod(directory, 0o700)
    with pytest.raises(Unproved, match=r"a message from <bounce@shop.example>: deferral: .*writable.* \(1 attempt"):
        box.wait(within_s=0.1)


def test_a_failure_says_that_nothing_was_sent_here_and_what_was(mail: MailHost) -> None:
    box, other = mail.mailbox(), mail.mailbox("ann")
    application(mail, other.address, "misdirected")
    mail.wait(other, within_s=60)
    with pytest.raises(Unproved) as failed:
        box.wait(within_s=0.1)
    said = str(failed.value)
    assert f"the MTA has taken no message for {box} since this test began" in said
    assert re.search(rf"it has taken: from <bounce@shop.example> for \S*ann@{other.domain}: success", said)
    assert any(title.startswith("popbox: steps") and "wait" in text for title, text in mail.story())


def test_an_address_without_a_box_is_refused_with_the_rule(mail: MailHost) -> None:
    unknown = f"ann@{mail.mailbox().domain}"
    with pytest.raises(HostError, match=f"mail for {unknown} comes to no box of this host: bounced: .*no mailbox"):
        mail.wait(unknown)


def test_a_host_that_ends_ends_the_wait(host: Host, tmp_path: Path) -> None:
    mine = MailHost(host, "test", tmp_path)
    box = mine.mailbox()
    host.stop("smtp")
    try:
        with pytest.raises(Unproved, match="smtp: its process"):
            box.wait(within_s=600)
    finally:
        host.restart("smtp", float("inf"))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_octets_are_sent_as_they_are(mail: MailHost, line_end: str) -> None:
    box = mail.mailbox()
    octets = f"Subject: raw ${{none}}{line_end}{line_end}\xff.{line_end}".encode("latin-1")
    sent = mail.send(box, octets)
    assert sent.octets.endswith(octets.replace(b"\r\n", b"\n"))
    assert box.expect(sent).octets.endswith(sent.octets)
    assert box.wait(subject="raw ${none}").raw.endswith(sent.octets)
    with pytest.raises(ValueError, match="not both"):
        mail.send(box, octets, mail="x.eml")


def test_shared_mailboxes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    module = """
        import pytest
        SEEN = []
        @pytest.mark.parametrize("n", [1, 2])
        def test(n, module_mailbox, session_mailbox, send_mail, request):
            SEEN.append(module_mailbox)
            assert SEEN[0] is module_mailbox and module_mailbox.domain != session_mailbox.domain
            mark = module_mailbox.mark()
            send_mail([module_mailbox, session_mailbox], f"Subject: {n} of {request.path.name}\\n\\n")
            assert module_mailbox.wait(since=mark).subject == f"{n} of {request.path.name}"
            assert session_mailbox.wait(subject="1 of test_one.py").subject == "1 of test_one.py"
            assert len(module_mailbox.messages()) == n
    """
    pytester.makepyfile(test_one=module, test_two=module)
    pytester.runpytest_subprocess().assert_outcomes(passed=4)
