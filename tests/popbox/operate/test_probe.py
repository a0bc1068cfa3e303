"""popbox probe: one message there and back, and what it says when it does not come back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from tests.popbox.fakemail import Clock

from popbox.cli.main import cli
from popbox.cli.probe import nagios, prometheus, verdict
from popbox.clients.body import Body
from popbox.clients.pop3 import Pop3
from popbox.hosts.base import closing
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.operate.probe import PROBE_FIELD, Probed
from popbox.testing import Mailbox, MailHost


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with closing(LocalHost.start(Registry(tmp_path_factory.mktemp("state")))) as up:
        assert isinstance(up, LocalHost)
        yield up


@pytest.fixture
def mail(host: LocalHost, tmp_path: Path) -> Iterator[MailHost]:
    mine = MailHost(host, "probe", tmp_path)
    yield mine
    mine.close()


@pytest.fixture
def box(mail: MailHost, tmp_path: Path) -> Mailbox:
    box = mail.mailbox("probe")
    (tmp_path / "secret").write_text(box.password + "\n")
    return box


def argv(mail: MailHost, box: Mailbox, tmp_path: Path, *more: str, to: str = "") -> list[str]:
    where = ["--smtp", str(mail.smtp), "--pop3", str(mail.pop3), "--password-file", str(tmp_path / "secret")]
    return ["probe", "127.0.0.1", *where, "--to", to or box.address, "--login", box.login, *more]


def ran(arguments: list[str]) -> tuple[int, str]:
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def test_a_message_goes_there_and_back_and_nothing_stays(mail: MailHost, box: Mailbox, tmp_path: Path) -> None:
    code, said = ran(argv(mail, box, tmp_path))
    assert code == 0
    assert re.fullmatch(
        r"POPBOX OK - there and back in [\d.]+ s \(smtp [\d.]+ s, delivery [\d.]+ s, pop3 [\d.]+ s\) \| "
        r"smtp=[\d.]+s;;;0 delivery=[\d.]+s;;;0 pop3=[\d.]+s;;;0 total=[\d.]+s;10;30;0\n",
        said,
    )
    assert box.messages() == []


def test_what_an_earlier_probe_left_is_taken_away_and_other_mail_is_not(
    mail: MailHost, box: Mailbox, tmp_path: Path
) -> None:
    other = mail.send(box, f"Subject: quotes a probe\n\n{PROBE_FIELD}: {box.address}\n")
    box.expect(other)
    for _ in range(2):
        box.expect(mail.send(box, f"{PROBE_FIELD}: {box.address}\nSubject: popbox probe\n\nleft\n"))
    code, said = ran(argv(mail, box, tmp_path, "--format", "json"))
    assert code == 0
    assert json.loads(said)["removed"] == 2
    assert [other.token.encode() in one.octets for one in box.messages()] == [True]


def test_a_wrong_password_is_the_leg_pop3(mail: MailHost, box: Mailbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not it\n")
    code, said = ran(argv(mail, box, tmp_path))
    assert code == 2
    assert said.startswith("POPBOX CRITICAL - pop3: PASS ********: -ERR")
    assert "not it" not in said


def test_a_refused_recipient_is_the_leg_smtp(mail: MailHost, box: Mailbox, tmp_path: Path) -> None:
    code, said = ran(argv(mail, box, tmp_path, to="probe@elsewhere.example"))
    assert code == 2
    assert said.startswith("POPBOX CRITICAL - smtp: RCPT TO:<probe@elsewhere.example> was refused: 553")


def test_mail_that_goes_astray_is_the_leg_delivery(
    mail: MailHost, box: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popbox.operate.probe.time", Clock())
    ann = mail.mailbox("ann", box.domain)
    code, said = ran(argv(mail, box, tmp_path, "--within", "20", "--format", "json", to=ann.address))
    assert code == 2
    seen = json.loads(said)
    assert seen["failed"] == "delivery"
    assert "the box holds 0 messages, not this one" in seen["why"]
    assert list(seen["legs_s"]) == ["smtp"]


def test_a_message_that_comes_back_changed_is_the_leg_pop3(mail: MailHost, box: Mailbox, tmp_path: Path) -> None:
    whole = Pop3.body

    def changed(session: Pop3, number: int) -> Body:
        body = whole(session, number)
        lines = (replace(line, octets=line.octets.replace(b"popbox probe", b"popbux probe")) for line in body.lines)
        session.received = replace(body, lines=tuple(lines))
        return session.received

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pop3, "body", changed)
        code, said = ran(argv(mail, box, tmp_path))
    assert code == 2
    assert "pop3: message 1 does not end with the octets that were sent" in said
    assert ran(argv(mail, box, tmp_path))[0] == 0, "and the next one clears up"
    assert box.messages() == []


@pytest.fixture
def secure(host: LocalHost, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A POP3 server with a certificate for the same boxes: where it speaks POP3, and where POP3S; ca.pem lies by."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    ports = ["--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0", "--cert", str(tmp_path / "cert.pem")]
    serve = [sys.executable, "-m", "mailhost", "--home", host.home(), "serve", "pop3", *ports]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout
        said = dict(child.stdout.readline().split()[1:] for _ in range(2))
        yield said["pop3"], said["pop3s"]
        child.terminate()


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_over_tls(mail: MailHost, box: Mailbox, tmp_path: Path, secure: tuple[str, str], security: str) -> None:
    where = secure[security == "implicit"]
    over = ["--pop3", where, "--pop3-tls", security]
    code, said = ran([*argv(mail, box, tmp_path), *over, "--ca", str(tmp_path / "ca.pem")])
    assert code == 0, said
    code, said = ran([*argv(mail, box, tmp_path), *over])
    assert code == 2
    assert "TLS failed" in said, "a certificate of an unknown authority is not taken"


def test_prometheus_replaces_a_file(mail: MailHost, box: Mailbox, tmp_path: Path) -> None:
    target = tmp_path / "probe.prom"
    code, said = ran(argv(mail, box, tmp_path, "--format", "prometheus", "--output", str(target)))
    assert (code, said) == (0, "")
    assert "popbox_probe_success 1\n" in target.read_text()
    assert len(re.findall(r'popbox_probe_leg_seconds\{leg="\w+"\} [\d.]+\n', target.read_text())) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--within", "soon"], "Invalid value for '--within'"),
        (["--format", "x"], "Invalid value for '--format'"),
        (["--password-file", "/nonesuch"], "--password-file /nonesuch: "),
        (["--password-file", "/"], "--password-file /: "),
        (["--ca", "/nonesuch"], "Invalid value for '--ca'"),
        (["--ca", __file__], "no certificate or crl found"),
        (["--output", "/nonesuch/x"], "/nonesuch/.x.new: No such file or directory"),
        (["--output", "/"], "Invalid value for '--output'"),
        (["--nonesuch"], "No such option"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_whatever_keeps_it_from_telling_is_unknown_in_one_line_and_never_critical(
    tmp_path: Path, more: list[str], said: str
) -> None:
    (tmp_path / "secret").write_text("x\n")
    words = ["--to", "a@b", "--login", "a", "--password-file", str(tmp_path / "secret"), "--smtp", "127.0.0.1:1"]
    done = subprocess.run(
        [sys.executable, "-m", "popbox", "probe", "127.0.0.1", *words, *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done
    (line,) = done.stdout.splitlines()
    assert line.startswith("POPBOX UNKNOWN - ")
    assert said in line
    assert "Traceback" not in done.stderr


def test_a_fault_of_popbox_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("x\n")
    monkeypatch.setattr("popbox.cli.probe.probe", lambda plan: 1 / 0)
    words = ["--to", "a@b", "--login", "a", "--password-file", str(tmp_path / "secret")]
    assert ran(["probe", "localhost", *words]) == (
        3,
        "POPBOX UNKNOWN - popbox has a fault: ZeroDivisionError: division by zero\n",
    )


def test_an_unusable_argument_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x\n")
    words = ["--to", "a@b", "--login", "a", "--password-file", str(tmp_path / "secret")]
    assert ran(["probe", "localhost", "--smtp", "nonsense", *words]) == (
        3,
        "POPBOX UNKNOWN - 'nonsense' is not HOST:PORT\n",
    )


def test_slow_is_a_warning_and_slower_is_critical() -> None:
    seen = Probed({"smtp": 1.0, "delivery": 8.0, "pop3": 2.0})
    assert [verdict(seen, *limits) for limits in ((12, 30), (11, 30), (5, 11))] == [0, 1, 2]
    assert nagios(Probed(failed="smtp", why="a | b\nc"), 2, 1, 2) == "POPBOX CRITICAL - smtp: a / b c\n"
    assert "popbox_probe_success 0" in prometheus(Probed(failed="smtp"), 2, 1, 2)
