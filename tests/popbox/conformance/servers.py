"""Real POP3 servers on 127.0.0.1, each with one box of its own, for the matrix. Only installed servers are used."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from tests.needs import COURIER, PEERS

from popbox.clients.wire import Address

LOGIN, PASSWORD = "testid", "testpw"
HASH = "DmIMm9e5Hc8ic"  # of "testpw", from the HOWTO
POPUSER = 888
LIBRARIES = ":".join(f"{PEERS}/{part}" for part in ("usr/lib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
START_S = 60.0
# Wrong passwords slow no one down, as with Dovecot below: what is measured are replies.
UNTHROTTLED = "from mailhost.pop3.auth import throttle; throttle.SLOT_S = 0.0; from mailhost.cli import main; main()"


@dataclass(frozen=True)
class Served:
    """A server that is up, and its box."""

    address: Address
    maildir: Path
    version: str


def maildir(path: Path) -> Path:
    """An empty Maildir that belongs to popuser; its parents let popuser through."""
    for part in ("new", "cur", "tmp"):
        (path / part).mkdir(parents=True)
    if os.geteuid() == 0:
        for entry in (path.parent, path, *path.iterdir()):
            os.chown(entry, POPUSER, POPUSER)
    for parent in (path, *path.parents):
        if parent.stat().st_uid in (os.geteuid(), POPUSER) and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o755)
    return path


@contextmanager
def child(argv: list[str], log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process and its group, ended afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **settings
        )  # type: ignore[call-overload]
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(3)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue


def wait_for(pattern: str, log: Path) -> re.Match[str]:
    """The first match in a log, in time."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = re.search(pattern, log.read_text("latin-1"))
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {pattern!r} in: {log.read_text('latin-1')}")


def first_line(*argv: str) -> str:
    """What a program says of its version."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=START_S)
    return (done.stdout + done.stderr).partition("\n")[0]


def _home(place: Path) -> tuple[Path, Path]:
    """The HOWTO's tree with one box, as ``mailhost init`` would leave it."""
    home = place / "qmail"
    box = maildir(home / "popboxes" / "domain-com" / "joe" / "Maildir")
    for part in ("users", "control"):
        (home / part).mkdir()
        (home / part).chmod(0o755)  # whatever the umask of who runs the tests
    (home / "control" / "me").write_text("mail.popbox.invalid\n")
    user = "popuser" if os.geteuid() == 0 else os.environ.get("USER", "root")
    row = home / "users" / "poppasswd"
    row.write_text(f"{LOGIN}:{HASH}:{user}:{box.parent}\n")
    row.chmod(0o600)
    secrets = home / "users" / "popsecrets"
    secrets.write_text(f"{LOGIN}:apop:{PASSWORD}\n")
    secrets.chmod(0o600)
    return home, box


@contextmanager
def ours(place: Path, profile: str, *, tls: bool) -> Iterator[Served]:
    """``mailhost serve pop3``, run as a program; with a certificate for STLS."""
    home, box = _home(place)
    log = place / "ours.log"
    cert = place / "cert.pem"
    issued = trustme.CA().issue_cert("localhost")
    cert.write_bytes(issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes())
    argv = [sys.executable, "-c", UNTHROTTLED, "--home", str(home), "serve", "pop3", "--listen", "127.0.0.1:0"]
    argv += ["--profile", profile]
    argv += ["--cert", str(cert)] if tls else []
    with child(argv, log):
        port = int(wait_for(r"listening pop3 127\.0\.0\.1:(\d+)", log)[1])
        yield Served(Address("127.0.0.1", port), box, "popbox")


@contextmanager
def qmail(place: Path) -> Iterator[Served]:
    """tcpserver, qmail-popup, a checkpassword of ours that starts quickly, and qmail-pop3d."""
    box = maildir(place / "home" / "Maildir")
    log = place / "qmail.log"
    checker = ["perl", str(Path(__file__).with_name("checkpassword.pl"))]
    argv = ["tcpserver", "-v", "-R", "-H", "-l", "0", "-1", "127.0.0.1", "0", "/var/qmail/bin/qmail-popup"]
    argv += ["mail.popbox.invalid", *checker, LOGIN, PASSWORD, str(box.parent), str(POPUSER)]
    argv += ["/var/qmail/bin/qmail-pop3d", "Maildir"]
    with child(argv, log):
        port = int(wait_for(r"^(\d+)\n", log)[1])
        yield Served(Address("127.0.0.1", port), box, "notqmail 1.09")


DOVECOT_LISTENS = """\
service pop3-login {{
  inet_listener pop3 {{
    address = {address.host}
    port = {address.port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
DOVECOT = (
    """
base_dir = {run}
state_dir = {run}/state
log_path = /dev/stderr
protocols = pop3
ssl = {ssl}
disable_plaintext_auth = no
auth_mechanisms = plain
auth_failure_delay = 0
mail_location = maildir:{box}
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = username_format=%u {users}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
"""
    + DOVECOT_LISTENS
)


def own_address() -> Address:
    """One that no other process listens on, for servers that cannot say which port they got; nor does ours until then.

    A port that was free a moment ago may be another's by then, who says +OK as well. The address is of this process,
    the port below those that the kernel gives away (ip_local_port_range).
    """
    pid = os.getpid()
    return Address(f"127.{64 + (pid >> 16)}.{pid >> 8 & 255}.{pid & 255}", 11_000 + next(_SERVERS) % 20_000)


_SERVERS = itertools.count()


def greeted(address: Address) -> None:
    """Wait until something says +OK there."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, 2) as connection:
                if connection.recv(3) == b"+OK":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"nothing says +OK on {address}")


@contextmanager
def dovecot(place: Path) -> Iterator[Served]:
    """Dovecot with its defaults, a password file and the Maildir."""
    box = maildir(place / "home" / "Maildir")
    users = place / "users"
    users.write_text(f"{LOGIN}:{{PLAIN}}{PASSWORD}\n")
    users.chmod(0o644)
    config = place / "dovecot.conf"
    address = own_address()
    values = {"run": place / "run", "box": box, "home": box.parent, "users": users, "ssl": "no"}
    config.write_text(DOVECOT.format(uid=POPUSER, gid=POPUSER, address=address, **values))
    with child(["/usr/sbin/dovecot", "-F", "-c", str(config)], place / "dovecot.log"):
        greeted(address)
        yield Served(address, box, "Dovecot " + first_line("/usr/sbin/dovecot", "--version"))


@contextmanager
def courier(place: Path) -> Iterator[Served]:
    """courierpop3d behind qmail-popup: its own login program needs a daemon with fixed paths."""
    box = maildir(place / "home" / "Maildir")
    log = place / "courier.log"
    checker = ["perl", str(Path(__file__).with_name("checkpassword.pl"))]
    argv = ["tcpserver", "-v", "-R", "-H", "-l", "0", "-1", "127.0.0.1", "0", "/var/qmail/bin/qmail-popup"]
    argv += ["mail.popbox.invalid", *checker, LOGIN, PASSWORD, str(box.parent), str(POPUSER), "env", "AUTHENTICATED=x"]
    argv += [str(COURIER), "Maildir"]
    with child(argv, log, env={**os.environ, "LD_LIBRARY_PATH": LIBRARIES}):
        port = int(wait_for(r"^(\d+)\n", log)[1])
        yield Served(Address("127.0.0.1", port), box, "courier-pop 1.0.16")


QMAIL_NEEDS = ("real qmail", "tcpserver", "perl", "root")
SERVERS: dict[str, tuple[str, Callable[[Path], AbstractContextManager[Served]], tuple[str, ...]]] = {
    "popbox": ("rfc1939", lambda place: ours(place, "rfc1939", tls=True), ()),
    "popbox, qmail profile": ("qmail", lambda place: ours(place, "qmail", tls=False), ()),
    "qmail": ("qmail", qmail, QMAIL_NEEDS),
    "dovecot": ("dovecot", dovecot, ("dovecot", "root")),
    "courier": ("courier", courier, ("courier", *QMAIL_NEEDS)),
}
"""Name -> profile to judge it by, how to start it, and what of tests/needs.py it needs."""
