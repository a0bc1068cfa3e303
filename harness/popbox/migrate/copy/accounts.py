"""accounts.toml from the old host's accounts. Hashes are carried over as they are; a plain password is hashed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from passlib.hash import sha512_crypt

from popbox.errors import PopboxError
from popbox.migrate.copy.journal import sync_directory
from popbox.migrate.oldhost.accounts import Box, DomainAccounts, OldAccounts
from popbox.migrate.oldhost.model import Login, OldHost
from popbox.replacing import put

LOCKED = "!............."
"""A hash in the form that mailhost accepts, which no password matches: for a login without a usable hash."""

ROUNDS = 5_000  # sha512-crypt's own number; mailhost's hashes have it too
CANNOT_BE_SENT = (b"\0", b"\r", b"\n")


def accounts(host: OldHost, old: OldAccounts, earlier: dict[str, str]) -> dict[str, Any]:
    """The declaration as a table. ``earlier``: login -> hash of an earlier run, kept where the password is the same."""
    domains = {name: _domain(host, name, entry, earlier) for name, entry in old.domains.items()}
    system = {name: targets for name, targets in old.system.items() if targets}
    return ({"system": system} if system else {}) | {"domains": domains}


def _domain(host: OldHost, name: str, entry: DomainAccounts, earlier: dict[str, str]) -> dict[str, Any]:
    if entry.alias_of:
        return {"alias_of": entry.alias_of}
    table: dict[str, Any] = {} if entry.prefix == name.replace(".", "-") else {"prefix": entry.prefix}
    table |= {"catchall": entry.catchall} if entry.catchall else {}
    boxes = {local: _mailbox(host, box, earlier) for local, box in entry.boxes.items()}
    forwards = {local: list(dict.fromkeys(targets)) for local, targets in entry.forwards.items()}
    return table | ({"mailboxes": boxes} if boxes else {}) | ({"forwards": forwards} if forwards else {})


def _mailbox(host: OldHost, box: Box, earlier: dict[str, str]) -> dict[str, Any]:
    table: dict[str, Any] = {"login": box.login.name} if box.login else {}
    table["crypt"] = _crypt(host, box.login, earlier) if box.login else LOCKED
    table |= {"extensions": True} if box.extensions else {}
    return table | ({"aliases": box.aliases} if box.aliases else {})


def _crypt(host: OldHost, login: Login, earlier: dict[str, str]) -> str:
    if login.crypt:
        return login.crypt.decode("ascii")
    if login.plain is None or not login.plain or any(octet in login.plain for octet in CANNOT_BE_SENT):
        host.leave(login.where, f"password of {login.name}", "it has no usable hash; the login is imported locked")
        return LOCKED
    host.leave(login.where, f"the plain password of {login.name}", "hashed with sha512-crypt")
    there = earlier.get(login.name, "")
    if there.startswith("$6$") and sha512_crypt.verify(login.plain, there):
        return there
    return str(sha512_crypt.using(rounds=ROUNDS).hash(login.plain))


def earlier_hashes(path: Path) -> dict[str, str]:
    """login -> hash of the accounts.toml that an earlier run wrote; empty where there is none.

    Raises:
        PopboxError: the file cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as why:
        raise PopboxError(f"{path}: an earlier run's file cannot be read: {why}") from why
    boxes = [box for table in tables.get("domains", {}).values() for box in table.get("mailboxes", {}).values()]
    return {box["login"]: box["crypt"] for box in boxes if "login" in box}


def write_private(path: Path, octets: bytes) -> None:
    """Write a file that only its owner reads: whole and on disk, or as it was before."""
    staged = path.with_name(f".{path.name}.new")
    staged.unlink(missing_ok=True)
    put(path, octets, staged)
    sync_directory(path.parent)


def as_toml(table: dict[str, Any]) -> bytes:
    """The file's text."""
    return tomli_w.dumps(table).encode("utf-8")
