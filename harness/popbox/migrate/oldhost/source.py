"""SOURCE of audit and import: a directory, ``ssh:HOST:/path`` or ``container:NAME:/path``, and what it stands for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from popbox.environment import NOTHING, of_docker, of_ssh
from popbox.errors import HostError
from popbox.hosts.base import Command
from popbox.migrate.oldhost.dialects.detect import QMAIL
from popbox.migrate.oldhost.dialects.vpopmail import HOMES
from popbox.migrate.oldhost.remote import Remote
from popbox.migrate.oldhost.tree import DIRECTORY, Local, OldHostError, OldHostTree, read_text

CONNECT_S = 15


def open_source(source: str, stands_for: str | None = None, environ: Mapping[str, str] = NOTHING) -> OldHostTree:
    """The tree of a source. ``stands_for``: the old host's path of it; None: told by what lies in it.

    ``environ``: what ssh and docker may have of it.

    Raises:
        OldHostError: it is no such thing.
        HostError: the other host cannot be reached.
    """
    kind, _, rest = source.partition(":")
    if kind in ("ssh", "container") and not Path(source).exists():
        return _remote(source, kind, rest, stands_for, environ)
    top = os.fsencode(Path(source).resolve())
    if not Path(source).is_dir():
        raise OldHostError(f"{source} is no directory; SOURCE is a directory, ssh:HOST:/path or container:NAME:/path")
    if stands_for:
        return Local(top, _normal(stands_for))
    here = os.fsencode(Path(source).absolute())
    return Local(top, next(filter(lambda at: names_itself(Local(top, at)), (here, top)), _guess(Local(top, b"/"))))


def qmail_of(tree: OldHostTree, said: str | None = None) -> bytes:
    """Where qmail is on the old host: as said; else what a qmail home stands for; else /var/qmail."""
    if said is not None:
        return os.fsencode(said)
    return tree.base if tree.base != b"/" and tree.lstat(tree.base + b"/control") else QMAIL


def _remote(source: str, kind: str, rest: str, stands_for: str | None, environ: Mapping[str, str]) -> OldHostTree:
    name, colon, path = rest.partition(":")
    if not colon or not name or name.startswith("-") or not path.startswith("/"):
        raise OldHostError(f"{source}: write {kind}:{'HOST' if kind == 'ssh' else 'NAME'}:/path")
    ssh = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}", "--", name]
    docker = ["docker", "exec", "-i", name]
    way = Command(ssh, of_ssh(environ)) if kind == "ssh" else Command(docker, of_docker(environ))
    top = os.fsencode(os.path.normpath(path))
    first = Remote(source, way, top, b"/", shell=kind == "ssh")
    entry = first.lstat(b"/")
    if entry is None or entry.kind != DIRECTORY:
        raise HostError(f"{source}: there is no such directory, or no GNU find", first.said)
    base = _normal(stands_for) if stands_for else _guess(first, (b"/control", b"/domains", b"/etc/passwd"))
    return first if base == b"/" else Remote(source, way, top, base, shell=kind == "ssh")


def names_itself(tree: OldHostTree) -> bool:
    """Whether it is a qmail home whose own tables name homes below the path that it stands for: not one of a root."""
    inside = b":" + tree.base.rstrip(b"/") + b"/"
    tables = (b"/users/poppasswd", b"/users/assign")
    return bool(tree.lstat(tree.base + b"/control")) and any(
        inside in (read_text(tree, tree.base + table) or b"") for table in tables
    )


def _guess(tree: OldHostTree, probes: tuple[bytes, ...] = ()) -> bytes:
    """A qmail home has control/, vpopmail's home has domains/ and no etc/passwd; else it is a root."""
    for probe in probes:
        tree.lstat(probe)
    if tree.lstat(b"/var/qmail") or tree.lstat(b"/etc/passwd"):
        return b"/"
    if tree.lstat(b"/control"):
        return b"/var/qmail"
    return HOMES[0] if tree.lstat(b"/domains") else b"/"


def _normal(path: str) -> bytes:
    """An old host's path.

    Raises:
        OldHostError: it is not absolute.
    """
    if not path.startswith("/") or "\0" in path:
        raise OldHostError(f"--as {path!r} is not an absolute path")
    return os.fsencode(os.path.normpath("/" + path.lstrip("/")))
