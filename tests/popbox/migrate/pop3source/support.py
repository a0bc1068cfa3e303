"""An import over POP3, run in this process, and the mail that it brought."""

from __future__ import annotations

import os
from pathlib import Path

from click.testing import CliRunner
from tests.popbox.migrate.houses import POPUSER, csv

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address

DOMAIN = "users.example"


def run(old: Address, place: Path, names: list[str], *more: str) -> tuple[int, str]:
    """``popbox migrate import --pop3``: exit code and what it says."""
    argv = ["import", "--pop3", str(old), "--accounts", str(csv(place / "a.csv", names)), "--to", str(place / "to")]
    done = CliRunner().invoke(
        migrate, [*argv, "--domain", DOMAIN, "--retry-wait", "0.01", *more], standalone_mode=False
    )
    if done.exception is not None:
        raise done.exception
    return int(done.return_value), done.output


def boxes(place: Path) -> Path:
    """The mail that came, as popuser's."""
    root = place / "to/popboxes" / DOMAIN.replace(".", "-")
    if os.geteuid() == 0:
        for path in [place / "to", place / "to/popboxes", root, *root.rglob("*")]:
            os.chown(path, POPUSER, POPUSER)
    return root


def files(place: Path, name: str = "joe") -> dict[str, Path]:
    """Name -> file, oldest first."""
    found = (place / "to/popboxes" / DOMAIN.replace(".", "-") / name / "Maildir/new").iterdir()
    return {path.name: path for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)}
