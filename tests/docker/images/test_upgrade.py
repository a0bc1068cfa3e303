"""An upgrade from the project's first images to these; then the new features: TLS, canary, accounts."""

from __future__ import annotations

import os
import poplib
import smtplib
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.docker.stacks import Stack, until
from tests.needs import require
from tests.popbox import ROOT

from popbox.pytest_notes import note_exercised

pytestmark = [pytest.mark.docker, pytest.mark.needs("qmail image"), pytest.mark.realqmail, pytest.mark.timeout(400)]

AUTHORITY = trustme.CA()
TLS_GROUP = 890
ACCOUNTS = """[domains."domain.com"]
[domains."domain.com".mailboxes.joe]
login = "testid"
crypt = "DmIMm9e5Hc8ic"
"""
NEW_BOX = """[domains."domain.com".mailboxes.ann]
login = "annid"
crypt = "DmIMm9e5Hc8ic"
"""


def first_tree(folder: Path) -> Path:
    """compose.yaml and images/ of the project's first commit."""
    git = ["git", "-C", str(ROOT)]
    require("git history")
    roots = subprocess.run([*git, "rev-list", "--max-parents=0", "HEAD"], capture_output=True, text=True, check=True)
    first = roots.stdout.split()[-1]
    archive = subprocess.run([*git, "archive", first, "compose.yaml", "images"], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def renew(folder: Path) -> bytes:
    """Put a new pair into the mounted folder; returns its chain."""
    made = AUTHORITY.issue_cert("mail.popbox.invalid")
    chain = b"".join(one.bytes() for one in made.cert_chain_pems)
    for name, octets in (("privkey.pem", made.private_key_pem.bytes()), ("fullchain.pem", chain)):
        fresh = folder / f".{name}"
        fresh.write_bytes(octets)
        if os.geteuid() == 0:
            os.chown(fresh, 0, TLS_GROUP)
            fresh.chmod(0o640)
        fresh.rename(folder / name)
    return chain


class Upgraded:
    """A stack that the first images filled, after the upgrade."""

    def __init__(self, stack: Stack, tls: Path, accounts: Path, uidls: list[bytes]) -> None:
        self.stack, self.tls, self.accounts, self.uidls = stack, tls, accounts, uidls

    def port(self, service: str, inner: int) -> int:
        return int(self.stack.compose("port", service, str(inner)).rpartition(":")[2])


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """A stack filled by the first images and never stopped; its containers are made again from the current images."""
    tls, accounts = tmp_path_factory.mktemp("tls"), tmp_path_factory.mktemp("accounts")
    for folder in (tls, tls.parent, accounts):
        folder.chmod(0o755)
    renew(tls)
    (accounts / "accounts.toml").write_text(ACCOUNTS)
    old = Stack("qmail", first_tree(tmp_path_factory.mktemp("first")), POPBOX_TAG="previous")
    switches = {"POPBOX_TLS": str(tls), "POPBOX_ACCOUNTS": str(accounts), "POPBOX_CANARY": "yes"}
    new = Stack("qmail", POPBOX_REQUIRE_TLS="yes", **switches)
    new.project = new.variables["COMPOSE_PROJECT_NAME"] = old.project
    try:
        old.compose("up", "--detach", "--build", "--wait", within_s=600)
        for verb in (["domain", "add", "domain.com"], ["mailbox", "add", "joe@domain.com", "--login", "testid"]):
            crypt = ["--crypt", "DmIMm9e5Hc8ic"] if verb[0] == "mailbox" else []
            old.compose("exec", "-T", "qmail", "mailhost", *verb, *crypt)
        for number in range(3):
            old.send(b"old %d" % number)
        until(lambda: sum(old.copies(b"old %d" % number) for number in range(3)) == 3, "the deliveries")
        before = Upgraded(old, tls, accounts, [])
        uidls = logged_in(poplib.POP3("127.0.0.1", before.port("pop3", 110), timeout=60)).uidl()[1]
        new.compose("up", "--detach", "--build", "--wait", within_s=600)
        yield Upgraded(new, tls, accounts, uidls)
    finally:
        new.compose("down", "--volumes", "--timeout", "5", check=False)


def logged_in(client: poplib.POP3, login: str = "testid") -> poplib.POP3:
    client.user(login)
    client.pass_("testpw")
    return client


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.check_hostname = False
    return context


def secure(upgraded: Upgraded) -> poplib.POP3_SSL:
    return poplib.POP3_SSL("127.0.0.1", upgraded.port("pop3", 995), timeout=60, context=trusting())


@pytest.fixture(autouse=True)
def noted(request: pytest.FixtureRequest) -> None:
    note_exercised(request.node, "host docker, MTA qmail")


def test_mail_and_uidls_are_as_before(upgraded: Upgraded) -> None:
    assert len(upgraded.uidls) == 3
    client = logged_in(secure(upgraded))
    assert client.uidl()[1] == upgraded.uidls
    assert {b"\n".join(client.top(number, 0)[1]).count(b"Subject: old") for number in (1, 2, 3)} == {1}
    client.quit()


def test_passwords_are_taken_under_tls_only(upgraded: Upgraded) -> None:
    client = poplib.POP3("127.0.0.1", upgraded.port("pop3", 110), timeout=60)
    with pytest.raises(poplib.error_proto, match="STLS"):
        client.user("testid")
    client.stls(trusting())
    logged_in(client).quit()


def test_a_renewed_pair_is_served_on_both_sides_and_a_session_goes_on(upgraded: Upgraded) -> None:
    def served(sock: ssl.SSLSocket) -> bytes:
        return ssl.DER_cert_to_PEM_cert(sock.getpeercert(binary_form=True) or b"").encode()

    def smtp() -> bytes:
        with smtplib.SMTP("127.0.0.1", upgraded.port("qmail", 25), timeout=60) as client:
            client.starttls(context=trusting())
            assert isinstance(client.sock, ssl.SSLSocket)
            return served(client.sock)

    def pop3() -> bytes:
        client = secure(upgraded)
        assert isinstance(client.sock, ssl.SSLSocket)
        try:
            return served(client.sock)
        finally:
            client.quit()

    session = logged_in(secure(upgraded))
    assert pop3() == smtp()
    chain = renew(upgraded.tls)
    assert smtp() in chain
    until(lambda: pop3() in chain, "the renewed certificate on 995")
    assert session.noop().startswith(b"+OK")
    session.quit()


def test_the_canary_opens_and_only_popuser_knows_its_password(upgraded: Upgraded) -> None:
    stack = upgraded.stack
    assert stack.sh("pop3", "canary && echo opens").strip() == "opens"
    assert stack.sh("qmail", "stat -c '%U %a' /var/qmail/users/canary").strip() == "popuser 400"
    password = stack.sh("pop3", "cat /var/qmail/users/canary").strip()
    assert len(password) == 32
    seen = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    for service in ("qmail", "pop3"):
        assert password not in stack.sh(service, seen)
        assert password not in stack.compose("logs", "--no-color", service)
    stack.sh("qmail", "sed -i 's/^popbox-canary:/qopbox-canary:/' /var/qmail/users/poppasswd")
    assert "AUTH" in stack.sh("pop3", "canary || echo fails", check=False)
    stack.sh("qmail", "sed -i 's/^qopbox-canary:/popbox-canary:/' /var/qmail/users/poppasswd")


def test_accounts_follow_the_file_and_survive_a_bad_one(upgraded: Upgraded) -> None:
    file, stack = upgraded.accounts / "accounts.toml", upgraded.stack
    file.write_text(ACCOUNTS + NEW_BOX)
    until(lambda: "annid" in stack.sh("qmail", "cat /var/qmail/users/poppasswd"), "the new box")
    file.write_text(ACCOUNTS + NEW_BOX + "nonsense = 1\n")
    until(lambda: "accounts: not applied" in stack.compose("logs", "--no-color", "qmail"), "the refusal in the log")
    logged_in(secure(upgraded), "annid").quit()
    file.write_text(ACCOUNTS)
    assert "ann@domain.com" in stack.compose("exec", "-T", "qmail", "mailhost", "apply", "--yes")
    assert "popbox-canary:" in stack.sh("qmail", "cat /var/qmail/users/poppasswd"), "it is not the file's to take away"


def metrics(upgraded: Upgraded, service: str, inner: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{upgraded.port(service, inner)}/metrics", timeout=60) as page:
        lines = page.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_metrics_count_what_happens(upgraded: Upgraded) -> None:
    success = 'popbox_queue_deliveries_total{channel="local",outcome="success"}'
    before = metrics(upgraded, "qmail", 9125)
    upgraded.stack.send(b"counted")
    upgraded.stack.send(b"nobody", "nobody@domain.com")
    until(
        lambda: metrics(upgraded, "qmail", 9125)["popbox_queue_bounces_total"] > before["popbox_queue_bounces_total"],
        "a bounce",
    )
    after = metrics(upgraded, "qmail", 9125)
    assert after[success] >= before[success] + 1
    upgraded.stack.sh("pop3", ": >/tmp/canary")  # the health check's own login, once a minute, is not due then
    logins = metrics(upgraded, "pop3", 9110)["popbox_pop3_logins_total"]
    logged_in(secure(upgraded)).quit()
    assert metrics(upgraded, "pop3", 9110)["popbox_pop3_logins_total"] == logins + 1


def test_a_queue_that_nobody_serves_is_unhealthy(upgraded: Upgraded) -> None:
    stack = upgraded.stack
    assert stack.sh("qmail", "healthy && echo well").strip() == "well"
    stack.sh("qmail", "s6-svc -wd -d /run/service/qmail-send")
    assert "qmail-send is down" in stack.sh("qmail", "healthy", check=False)
    stack.sh("qmail", "s6-svc -wu -u /run/service/qmail-send")
    until(lambda: "well" in stack.sh("qmail", "healthy && echo well", check=False), "qmail-send to be well again")


def test_labels_say_what_is_in_the_image(upgraded: Upgraded) -> None:
    for service in ("qmail", "pop3"):
        labels = upgraded.stack.state(service)["Config"]["Labels"]
        version = upgraded.stack.compose("exec", "-T", service, "mailhost", "--version").split()[2]
        assert labels["org.opencontainers.image.version"] == version
        assert labels["org.opencontainers.image.licenses"] == "MIT"
        assert {"org.opencontainers.image.revision", "org.opencontainers.image.source"} <= set(labels)
