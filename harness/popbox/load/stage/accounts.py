"""The mailboxes of a run: declared in one ``apply``, all with one password, whose hash is cheap to check."""

from __future__ import annotations

import csv
from io import TextIOWrapper
from pathlib import Path

import tomli_w
from passlib.hash import sha512_crypt

from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Host
from popbox.load.plan.spec import BOUNCES, Spec
from popbox.reading import opened

ROUNDS = 1_000  # the fewest of crypt(5): the host's POP3 is under test, and not its hash
HEADER = ["address", "login", "password"]


def given(path: Path) -> tuple[tuple[str, str, str], ...]:
    """Mailboxes that are there already, from a CSV file: the first is the sender of all mail, and takes its reports.

    Raises:
        UnusableError: it cannot be read, or a line is none of it; names file, line and rule.
    """
    found: list[tuple[str, str, str]] = []
    try:
        with TextIOWrapper(opened(path), newline="", encoding="utf-8") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != HEADER:
                raise UnusableError(f"{path}: line 1: the header {','.join(HEADER)} is wanted")
            for row in rows:
                if len(row) != len(HEADER) or not all(row) or "@" not in row[0]:
                    raise UnusableError(f"{path}: line {rows.line_num}: an address, a login and a password are wanted")
                found.append((row[0], row[1], row[2]))
    except OSError as error:
        raise UnusableError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnusableError(f"{path}: {error}") from error
    if len({address for address, _, _ in found}) < len(found):
        raise UnusableError(f"{path}: an address stands there twice")
    if len(found) < 2:
        raise UnusableError(f"{path}: two mailboxes or more are wanted: the first one sends")
    return tuple(found)


def crypt_of(spec: Spec) -> str:
    """The hash of the password that all mailboxes of a run have."""
    return str(sha512_crypt.using(rounds=ROUNDS).hash(spec.password))


def declare(host: Host, spec: Spec) -> None:
    """Declare the mailboxes; what others have declared on the host stays.

    Raises:
        HostError: mailhost refused them, or the host does not answer.
    """
    crypt = crypt_of(spec)
    domains: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for number in range(spec.boxes):
        one = spec.box(number)
        local, _, domain = one.address.partition("@")
        boxes = domains.setdefault(domain, {"mailboxes": {}})["mailboxes"]
        boxes[local] = {"login": one.login, "crypt": crypt}
    domains[spec.domain(0)]["mailboxes"][BOUNCES] = {"login": spec.reports_to.login, "crypt": crypt}
    ran = host.run("apply", "--no-delete", "/dev/stdin", stdin=tomli_w.dumps({"domains": domains}).encode())
    if ran.code:
        raise HostError(f"the mailboxes of the run were refused: mailhost apply ended with {ran.code}", ran.stderr)
