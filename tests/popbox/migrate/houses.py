"""POP3 hosts with many boxes on 127.0.0.1, for moves between them: real servers and ours, on ROOT/LOGIN/Maildir."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.popbox.conformance.servers import (
    COURIER,
    DOVECOT,
    HASH,
    LIBRARIES,
    PASSWORD,
    POPUSER,
    QMAIL_NEEDS,
    child,
    greeted,
    own_address,
    wait_for,
)

from popbox.clients.wire import Address

NOW = 1_700_000_000  # mtimes lie in the past, all different: T-5
Starter = Callable[[Path, Path], AbstractContextManager[Address]]


def text(number: int, login: str = "joe", body: str = "") -> bytes:
    """A message of its own, with dots at the beginning of lines and no special end."""
    body = body or f"Hello {login},\n\n.one dot\n..two\nthis is number {number} of {login}.\n" * (number % 5 + 1)
    head = f"From: a@b.example\nSubject: message {number}\nDate: Sun, 22 Nov 2026 10:{number % 60:02}:00 +0000\n"
    return f"{head}Message-ID: <{number}.{login}@b.example>\n\n{body}".encode()


def put(box: Path, name: str, octets: bytes, age_s: int = 0, folder: str = "new") -> Path:
    """A file in a Maildir, ``age_s`` after NOW."""
    path = box / "Maildir" / folder / name
    path.write_bytes(octets)
    os.utime(path, (NOW + age_s, NOW + age_s))
    own(path)
    return path


def own(path: Path) -> None:
    """Give a file to popuser, where we may."""
    if os.geteuid() == 0:
        os.chown(path, POPUSER, POPUSER)


def box(root: Path, login: str, messages: int = 0) -> Path:
    """A box with that many messages, half of them in cur/; names do not sort as the mtimes do (field.md, finding 8)."""
    home = root / login
    for part in ("new", "cur", "tmp"):
        (home / "Maildir" / part).mkdir(parents=True)
        own(home / "Maildir" / part)
    own(home)
    own(home / "Maildir")
    for number in range(1, messages + 1):
        name = f"{NOW + number * 7919 % 9973}.M{number}.old.example"
        folder, suffix = ("cur", ":2,S") if number % 2 else ("new", "")
        put(home, name + suffix, text(number, login), number, folder)
    return home


def moved(old: Path, new: Path) -> Path:
    """A copy of all boxes with names, mtimes and owners: a move in which nothing went wrong."""
    subprocess.run(["cp", "-a", str(old), str(new)], check=True)
    return new


def logins(root: Path) -> list[str]:
    """Those that have a box."""
    return sorted(entry.name for entry in root.iterdir() if (entry / "Maildir").is_dir())


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of every box: mtime and size. Dovecot's own files are left out."""
    files = (path for part in ("new", "cur") for path in root.glob(f"*/Maildir/{part}/*"))
    return {str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def csv(path: Path, names: Sequence[str], password: str = PASSWORD) -> Path:
    """An accounts file."""
    path.write_text("login,password\n" + "".join(f"{name},{password}\n" for name in names))
    path.chmod(0o600)
    return path


def poppasswd(path: Path, root: Path) -> Path:
    user = "popuser" if os.geteuid() == 0 else os.environ.get("USER", "root")
    path.write_text("".join(f"{name}:{HASH}:{user}:{root / name}\n" for name in logins(root)))
    path.chmod(0o600)
    return path


@contextmanager
def ours(place: Path, root: Path, profile: str, *more: str) -> Iterator[Address]:
    """``mailhost serve pop3``."""
    home = place / f"{root.name}.qmail"
    (home / "users").mkdir(parents=True)
    (home / "control").mkdir()
    (home / "control" / "me").write_text("mail.popbox.invalid\n")
    poppasswd(home / "users" / "poppasswd", root)
    log = place / f"{root.name}.log"
    program = Path(sys.executable).with_name("mailhost")
    argv = [str(program), "--home", str(home), "serve", "pop3", "--listen", "127.0.0.1:0", "--profile", profile, *more]
    with child(argv, log):
        yield Address("127.0.0.1", int(wait_for(r"listening pop3 127\.0\.0\.1:(\d+)", log)[1]))


def _tcpserver(place: Path, root: Path, program: list[str], **settings: object) -> AbstractContextManager[Address]:
    checker = [str(Path(sys.executable).with_name("checkpoppasswd")), "--file"]
    checker.append(str(poppasswd(place / f"{root.name}.poppasswd", root)))
    argv = ["tcpserver", "-v", "-R", "-H", "-l", "0", "-1", "127.0.0.1", "0", "/var/qmail/bin/qmail-popup"]
    return _on_tcpserver([*argv, "mail.old.example", *checker, *program], place / f"{root.name}.log", settings)


@contextmanager
def _on_tcpserver(argv: list[str], log: Path, settings: dict[str, object]) -> Iterator[Address]:
    with child(argv, log, **settings):
        yield Address("127.0.0.1", int(wait_for(r"^(\d+)\n", log)[1]))


def qmail(place: Path, root: Path) -> AbstractContextManager[Address]:
    """tcpserver, the real qmail-popup and qmail-pop3d, and our checkpoppasswd between them."""
    return _tcpserver(place, root, ["/var/qmail/bin/qmail-pop3d", "Maildir"])


def courier(place: Path, root: Path) -> AbstractContextManager[Address]:
    """courierpop3d behind qmail-popup (conformance/README.md says why)."""
    environment = {**os.environ, "LD_LIBRARY_PATH": LIBRARIES}
    return _tcpserver(place, root, ["/usr/bin/env", "AUTHENTICATED=x", str(COURIER), "Maildir"], env=environment)


@contextmanager
def dovecot(place: Path, root: Path, more: str = "") -> Iterator[Address]:
    """Dovecot with its defaults, and ``more`` in its configuration."""
    users, config = place / f"{root.name}.users", place / f"{root.name}.dovecot"
    users.write_text("".join(f"{name}:{{PLAIN}}{PASSWORD}\n" for name in logins(root)))
    users.chmod(0o644)
    values = {"run": place / f"{root.name}.run", "box": f"{root}/%u/Maildir", "home": f"{root}/%u", "users": users}
    address = own_address()
    config.write_text(DOVECOT.format(uid=POPUSER, gid=POPUSER, address=address, ssl="no", **values) + more)
    with child(["/usr/sbin/dovecot", "-F", "-c", str(config)], place / f"{root.name}.log"):
        greeted(address)
        yield address


DOVECOT_NEEDS = ("dovecot", "root")
ON_DISK: dict[str, tuple[Starter, tuple[str, ...]]] = {
    "qmail": (qmail, QMAIL_NEEDS),
    "dovecot": (dovecot, DOVECOT_NEEDS),
    "dovecot %f": (lambda place, root: dovecot(place, root, "pop3_uidl_format = %f\n"), DOVECOT_NEEDS),
    "dovecot %f, no flag updates": (
        lambda place, root: dovecot(place, root, "pop3_uidl_format = %f\npop3_no_flag_updates = yes\n"),
        DOVECOT_NEEDS,
    ),
    "courier": (courier, ("courier", *QMAIL_NEEDS)),
    "popbox": (lambda place, root: ours(place, root, "rfc1939"), ()),
    "popbox, qmail profile": (lambda place, root: ours(place, root, "qmail"), ()),
}
"""Name -> how to start it on a root of boxes, and what of tests/needs.py it needs."""
