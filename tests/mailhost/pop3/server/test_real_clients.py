"""The mail programs people use fetch from the running server, in both profiles; what arrives is compared."""

from __future__ import annotations

import mailbox
import os
import poplib
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import WITHIN_S, Box, Running
from tests.needs import program

Serve = Callable[..., Running]
PROFILES = ["rfc1939", "qmail"]
BODIES = (b"one\n.\n..two\n.three\n\nlast\n", b"a long line " * 80 + b"\n" + b"text \xc3\xa9\n" * 3000)


def fill(box: Box) -> list[bytes]:
    """Two messages; gives them as they lie on disk."""
    texts = [
        b"From: a@b.example\nTo: joe@domain.com\nSubject: message %d\nMessage-ID: <%d@b.example>\n"
        b"Date: Sun, 22 Nov 2026 10:00:00 +0000\nContent-Type: text/plain; charset=utf-8\n\n%b" % (n, n, body)
        for n, body in enumerate(BODIES, 1)
    ]
    for number, text in enumerate(texts, 1):
        box.put(f"{number}.h", text, age_s=100 - number)
    return texts


def body(text: bytes) -> bytes:
    """What a client must not change: all behind the header, but for the form of line ends and empty last lines."""
    return text.replace(b"\r\n", b"\n").partition(b"\n\n")[2].rstrip(b"\n")


def run(command: list[str], home: Path, data: bytes = b"") -> bytes:
    """A client as a program; its output when it ends well."""
    environment = {**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=data, capture_output=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-500:])
    return done.stdout


def delivered(folder: Path) -> list[bytes]:
    """Bodies in a Maildir a client has filled."""
    box = mailbox.Maildir(folder, create=False)
    return sorted(body(box.get_bytes(key)) for key in box.keys())  # noqa: SIM118 - a mailbox is no dict


def expected(texts: list[bytes]) -> list[bytes]:
    return sorted(body(text) for text in texts)


@pytest.mark.parametrize("profile", PROFILES)
def test_poplib(box: Box, serve: Serve, profile: str) -> None:
    texts = fill(box)
    client = poplib.POP3("127.0.0.1", serve("--profile", profile).ports["pop3"], timeout=WITHIN_S)
    client.user("testid")
    client.pass_("testpw")
    assert client.stat()[0] == 2
    assert [line.split()[1] for line in client.uidl()[1]] == [b"1.h", b"2.h"]
    for number, text in enumerate(texts, 1):
        assert b"\n".join(client.retr(number)[1]).rstrip(b"\n") == text.rstrip(b"\n")
        client.dele(number)
    client.quit()
    assert box.files() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_curl(box: Box, serve: Serve, profile: str, tmp_path: Path) -> None:
    texts = fill(box)
    if profile == "qmail":  # its banner holds a timestamp, as qmail-popup's, and then curl insists on APOP
        (box.home / "users" / "popsecrets").write_text("testid:apop:testpw\n")
    url = f"pop3://127.0.0.1:{serve('--profile', profile).ports['pop3']}"
    command = [program("curl"), "-sS", "--user", "testid:testpw"]
    assert run([*command, f"{url}/"], tmp_path).split()[::2] == [b"1", b"2"]
    assert body(run([*command, f"{url}/2"], tmp_path)) == body(texts[1])
    run([*command, "-X", "DELE", "-I", f"{url}/1"], tmp_path)
    assert box.files() == ["cur/2.h:2,"]


@pytest.mark.parametrize("profile", PROFILES)
def test_perls_net_pop3(box: Box, serve: Serve, profile: str, tmp_path: Path) -> None:
    texts = fill(box)
    script = (
        'use Net::POP3; my $p = Net::POP3->new("127.0.0.1", Port => $ARGV[0], Timeout => 10) or die "connect";'
        'defined $p->login("testid", "testpw") or die "login";'
        'print @{$p->get(1)}; $p->delete(1); $p->quit or die "quit"'
    )
    port = serve("--profile", profile).ports["pop3"]
    assert body(run([program("perl"), "-e", script, str(port)], tmp_path)) == body(texts[0])
    assert box.files() == ["cur/2.h:2,"]


@pytest.mark.parametrize("profile", PROFILES)
def test_fetchmail(box: Box, serve: Serve, profile: str, tmp_path: Path) -> None:
    texts = fill(box)
    port = serve("--profile", profile).ports["pop3"]
    (tmp_path / "got").mkdir()
    rc = tmp_path / "rc"
    rc.write_text(
        f"poll 127.0.0.1 protocol pop3 service {port} auth password uidl\n"
        f'  username testid password testpw fetchall no rewrite sslproto "" mda "cat > {tmp_path}/got/$$"\n'
    )
    rc.chmod(0o600)
    run([program("fetchmail"), "-f", str(rc), "--nosyslog", "--pidfile", str(tmp_path / "pid")], tmp_path)
    got = [path.read_bytes() for path in (tmp_path / "got").iterdir()]
    assert sorted(map(body, got)) == expected(texts)
    assert box.files() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_mpop(box: Box, serve: Serve, profile: str, tmp_path: Path) -> None:
    texts = fill(box)
    port = serve("--profile", profile).ports["pop3"]
    target = tmp_path / "Maildir"
    for name in ("new", "cur", "tmp"):
        (target / name).mkdir(parents=True)
    rc = tmp_path / "rc"
    rc.write_text(
        f"account a\nhost 127.0.0.1\nport {port}\nuser testid\npassword testpw\nauth user\ntls off\n"
        f"delivery maildir {target}\nuidls_file {tmp_path}/uidls\nkeep off\n"
    )
    rc.chmod(0o600)
    run([program("mpop"), "-C", str(rc), "a"], tmp_path)
    assert delivered(target) == expected(texts)
    assert box.files() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_getmail(box: Box, serve: Serve, profile: str) -> None:
    texts = fill(box)
    port = serve("--profile", profile).ports["pop3"]
    folder = box.home / "getmail"  # not root's: getmail would not deliver there
    target = folder / "Maildir"
    for name in ("new", "cur", "tmp"):
        (target / name).mkdir(parents=True)
    (folder / "rc").write_text(
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\nusername = testid\n"
        f"password = testpw\n[destination]\ntype = Maildir\npath = {target}/\n"
        "[options]\ndelete = true\ndelivered_to = false\nreceived = false\n"
    )
    for path in (folder, target, *target.iterdir()):
        os.chown(path, *plain_user())
    command = [program("getmail"), "-g", str(folder), "-r", str(folder / "rc")]
    run([*as_plain_user(), *command], folder)
    assert delivered(target) == expected(texts)
    assert box.files() == []


def plain_user() -> tuple[int, int]:
    """Not root, and in the system's list of users: getmail asks for both, and uid 888 need not be there."""
    if os.geteuid():
        return os.getuid(), os.getgid()
    found = pwd.getpwnam("nobody")
    return found.pw_uid, found.pw_gid


def as_plain_user() -> list[str]:
    """The words that run a command as ``plain_user``, where the tests run as root."""
    uid, gid = plain_user()
    return [] if os.geteuid() else [program("setpriv"), f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]


@pytest.mark.parametrize("profile", PROFILES)
def test_mutt(box: Box, serve: Serve, profile: str, tmp_path: Path) -> None:
    texts = fill(box)
    port = serve("--profile", profile).ports["pop3"]
    target = tmp_path / "copy"
    rc = tmp_path / "rc"
    rc.write_text(
        f"set pop_host=pop://testid@127.0.0.1:{port}\nset pop_user=testid\nset pop_pass=testpw\nset ssl_starttls=no\n"
        "set ssl_force_tls=no\n"
        "set pop_authenticators=user\nset pop_delete=no\nset mbox_type=Maildir\nset copy=no\n"
        "set confirmcreate=no\nset confirmappend=no\n"
        f"set folder={tmp_path}\nset header_cache=\nset delete=no\nset move=no\nset quit=yes\n"
        f"push '<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{target}<enter><exit>'\n"
    )
    script = program("script")
    command = f"TERM=vt100 {program('mutt')} -n -F {rc} -f pop://testid@127.0.0.1:{port}/"
    run([script, "-qec", command, "/dev/null"], tmp_path)
    assert delivered(target) == expected(texts)
