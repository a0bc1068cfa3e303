"""The two ways of ``popbox migrate verify``: logging in to both hosts by POP3, or reading both hosts' files."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from popbox.cli.moving.audit import read
from popbox.cli.moving.pop3_hosts import the_host, warn
from popbox.migrate.oldhost.dialects.detect import QMAIL
from popbox.migrate.oldhost.source import open_source, qmail_of
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree
from popbox.migrate.pop3 import accounts
from popbox.migrate.pop3.host import Host, leaving
from popbox.migrate.verify.files.maildrop import Maildrops
from popbox.migrate.verify.files.pairs import check, known, pairs
from popbox.migrate.verify.files.work import FilesWork
from popbox.migrate.verify.report import SideReport
from popbox.migrate.verify.result import Box
from popbox.migrate.verify.shard import Shard
from popbox.migrate.verify.work import Work

Key = tuple[str, str]
Name = Literal["pop3", "files"]


@dataclass(frozen=True)
class Way:
    """What there is to do. ``keys``: logins on both sides; ``about`` must be the same for a state file to count."""

    name: Name
    keys: list[Key]
    about: dict[str, Any]
    run: Callable[[Sequence[Key]], Iterator[Box]]
    sides: Callable[[Sequence[Box]], tuple[SideReport, SideReport]]
    probe: Callable[[], None] = lambda: None
    work: Work | None = None
    accounts: Sequence[accounts.Account] = ()


def by_pop3(accounts_path: Path, content: bool, shard: Shard, options: dict[str, Any]) -> Way:
    """Log in to both hosts.

    Raises:
        Unusable: the accounts file.
        click.BadParameter: an address or an option of TLS.
    """
    rows = accounts.load(accounts_path, shard.holds)
    if accounts.open_to_others(accounts_path):
        warn(f"{accounts_path} can be read by other users of this machine")
    work = Work(the_host("old", options), the_host("new", options), content)
    by_key = {(row.old_login, row.new_login): row for row in rows}

    def probe() -> None:
        work.old.probe()
        work.new.probe()

    return Way(
        name="pop3",
        keys=list(by_key),
        about={
            **{host.side: [str(host.address), host.tls, host.profile] for host in (work.old, work.new)},
            "content": content,
        },
        run=lambda keys: work.run([by_key[key] for key in keys]),
        sides=lambda boxes: (
            _of_host(work.old, [box.old.profile for box in boxes]),
            _of_host(work.new, [box.new.profile for box in boxes]),
        ),
        probe=probe,
        work=work,
        accounts=rows,
    )


def by_files(
    trees: tuple[str, str], content: bool, shard: Shard, options: dict[str, Any], environ: Mapping[str, str]
) -> Way:
    """Read both hosts' files.

    Raises:
        click.UsageError: a tree is no host or the same for both, or a profile cannot be computed.
    """
    alike = all(
        options[old] == options[new] for old, new in (("old_profile", "new_profile"), ("stands_for", "new_stands_for"))
    )
    if alike and Path(trees[0]).resolve() == Path(trees[1]).resolve():
        raise click.UsageError("--files: OLD and NEW are one tree, which is always equal to itself")
    profiles = [_profile(side, options[f"{side}_profile"]) for side in ("old", "new")]
    old = read(lambda: open_source(trees[0], options["stands_for"], environ))
    new = read(lambda: _new_tree(trees[1], options["new_stands_for"], environ))
    left = read(lambda: known(old, options["dialect"], qmail_of(old, options["qmail_home"])))
    right = read(lambda: known(new, "howto", new.base))
    read(lambda: check(right))
    found = {(pair.old_login, pair.new_login): pair for pair in pairs(left, right) if shard.holds(pair.old_login)}
    now = time.time_ns()
    work = FilesWork(Maildrops(old, profiles[0], now), Maildrops(new, profiles[1], now), content)
    return Way(
        name="files",
        keys=list(found),
        about={"old": [old.name, left.host.dialect, profiles[0]], "new": [new.name, profiles[1]], "files": content},
        run=lambda keys: work.run([found[key] for key in keys]),
        sides=lambda boxes: (
            _of_tree(old, profiles[0], [box.old.profile for box in boxes]),
            _of_tree(new, profiles[1], [box.new.profile for box in boxes]),
        ),
    )


def _profile(side: str, said: str) -> str:
    """The rules of a server; ``auto`` is qmail-pop3d or courier on an old host, box by box, and ours on the new one.

    Raises:
        click.UsageError: its ids are not in the files.
    """
    if said == "dovecot":
        raise click.UsageError(f"--{side}-profile dovecot: its ids are in index files; verify it by POP3")
    if (side, said) == ("new", "courier"):
        raise click.UsageError("--new-profile courier: NEW is a mailhost home, which courier does not serve")
    return "rfc1939" if (side, said) == ("new", "auto") else said


def _new_tree(source: str, stands_for: str | None, environ: Mapping[str, str]) -> OldHostTree:
    """A mailhost home, in its place or a copy of one.

    Raises:
        OldHostError: it is none.
    """
    tree = open_source(source, stands_for, environ)
    if stands_for is None and tree.base == b"/":
        tree = open_source(source, os.fsdecode(QMAIL), environ)
    if tree.lstat(tree.base + b"/users/poppasswd") is None:
        raise OldHostError(f"{source}: is no mailhost home: there is no users/poppasswd")
    return tree


def _counted(profiles: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(filter(None, profiles)).items()))


def _of_host(host: Host, profiles: Sequence[str]) -> SideReport:
    seen = _counted(profiles)
    used = max(seen, key=lambda name: seen[name]) if host.profile == "auto" and seen else host.profile
    return SideReport(
        address=str(host.address),
        tls=host.tls,
        profile=host.profile,
        profiles_seen=seen,
        leaving=leaving(used),
    )


def _of_tree(tree: OldHostTree, profile: str, seen: Sequence[str]) -> SideReport:
    said = "its files were read, nothing was written and no session was opened"
    return SideReport(address=tree.name, tls="", profile=profile, profiles_seen=_counted(seen), leaving=said)
