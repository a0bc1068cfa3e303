"""What a verb has put in its place is on disk: each new text was synced before its rename, each name after it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

FILES = {
    "init": (["init", "--me", "mail.example.net"], ["control/rcpthosts", "control/me", "users/poppasswd", "users/cdb"]),
    "domain": (["domain", "add", "domain.com"], ["control/rcpthosts", "control/virtualdomains", "users/assign"]),
    "mailbox": (
        ["mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT],
        ["users/domains/domain.com", "users/assign", "users/cdb", "users/poppasswd"],
    ),
}


def test_every_file_is_synced_before_it_gets_its_name_and_its_directory_after(
    empty: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, str]] = []  # what happened: kind, inode, name
    sync, rename, replace = os.fsync, os.rename, os.replace

    def synced(descriptor: int) -> None:
        seen = os.fstat(descriptor)
        told.append(("directory" if stat.S_ISDIR(seen.st_mode) else "file", seen.st_ino, ""))
        sync(descriptor)

    def named(doing: object, source: object, target: object, **where: int) -> None:
        assert callable(doing)
        at = os.stat(source, dir_fd=where.get("src_dir_fd"))  # type: ignore[call-overload]
        doing(source, target, **where)
        told.append(("name", at.st_ino, os.fsdecode(target)))  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", lambda one, two, **where: named(rename, one, two, **where))
    monkeypatch.setattr(os, "replace", lambda one, two, **where: named(replace, one, two, **where))
    for verb, (words, changed) in FILES.items():
        told.clear()
        empty.ok(*words)
        for name in changed:
            path = empty.home / name
            inode, folder = path.stat().st_ino, path.parent.stat().st_ino
            given = [n for n, (kind, at, to) in enumerate(told) if kind == "name" and at == inode and at_path(to, path)]
            assert given, f"{verb}: {name} did not get its name by a rename"
            before, after = told[: given[-1]], told[given[-1] :]
            assert ("file", inode, "") in before, f"{verb}: {name} was not synced before it got its name"
            assert ("directory", folder, "") in after, f"{verb}: the name of {name} is not on disk"


def at_path(told: str, path: Path) -> bool:
    return told.rpartition("/")[2] == path.name
