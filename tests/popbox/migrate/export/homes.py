"""A qmail home with our accounts and mail, our server on it, and Dovecot on what an export made of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner
from tests.popbox.conformance.servers import DOVECOT_LISTENS, HASH, POPUSER, child, greeted, own_address, wait_for
from tests.popbox.migrate.matrix import fill
from tests.popbox.migrate.programs import mailhost

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address

DOMAIN = "users.example"
MAILHOST = str(Path(sys.executable).with_name("mailhost"))
BESIDE = (
    """
base_dir = {run}
state_dir = {run}/state
log_path = /dev/stderr
!include {part}
protocols = pop3
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
"""
    + DOVECOT_LISTENS
)


def home_of(place: Path, names: list[str] | None = None) -> Path:
    """A home with these logins, whose boxes hold what matrix.fill makes; without names its five users."""
    fill(place / "filled")
    names = names or sorted(path.name for path in (place / "filled").iterdir())
    home = place / "home"
    mailhost(home, "init", "--me", "mail.popbox.invalid")
    table = "".join(f'[domains."{DOMAIN}".mailboxes.{name}]\nlogin = "{name}"\ncrypt = "{HASH}"\n' for name in names)
    (place / "accounts.toml").write_text(table)
    mailhost(home, "apply", str(place / "accounts.toml"))
    for name in names:
        for part in ("new", "cur"):
            for file in (place / "filled" / name / "Maildir" / part).iterdir():
                shutil.move(file, maildir(home, name) / part / file.name)
    return home


def maildir(home: Path, name: str) -> Path:
    """A user's Maildir in a home."""
    return home / "popboxes" / DOMAIN.replace(".", "-") / name / "Maildir"


def run(*argv: str) -> tuple[int, str]:
    """``popbox migrate ...``: exit code and what it says.

    Raises:
        Exception: what the command raises.
    """
    done = CliRunner().invoke(migrate, [*argv], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value), done.output


def export(place: Path, kind: str, *more: str) -> tuple[int, str]:
    """Export the home in ``place`` to its ``out``."""
    return run("export", "--home", str(place / "home"), "--to", kind, "--out", str(place / "out"), *more)


@contextmanager
def served(home: Path, profile: str = "rfc1939") -> Iterator[Address]:
    """Our server on a home."""
    log = home.with_suffix(".log")
    argv = [MAILHOST, "--home", str(home), "serve", "pop3", "--listen", "127.0.0.1:0", "--profile", profile]
    with child(argv, log):
        yield Address("127.0.0.1", int(wait_for(r"listening pop3 127\.0\.0\.1:(\d+)", log)[1]))


@contextmanager
def dovecot(out: Path, more: str = "") -> Iterator[Address]:
    """Dovecot with the settings and users of an export; ``more`` comes after them."""
    place, address = out.parent, own_address()
    for path in (out, *out.glob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    os.chown(out / "mail", POPUSER, POPUSER)
    config = place / "dovecot.conf"
    config.write_text(BESIDE.format(run=place / "run", part=out / "dovecot.conf.part", address=address) + more)
    with child(["/usr/sbin/dovecot", "-F", "-c", str(config)], place / "dovecot.log"):
        greeted(address)
        yield address
