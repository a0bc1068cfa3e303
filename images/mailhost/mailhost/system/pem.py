"""How a renewed certificate is noticed, and why one or its key cannot be used: file, owner, mode, who must read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from mailhost.system.reading import open_given

WATCH_S = 2.0
"""How often a server looks for a renewed certificate (our choice: two stat calls cost nothing)."""
Marks = tuple[tuple[int, int, int] | None, ...]


def marks(cert: Path | None, key: Path | None) -> Marks:
    """Inode, date and size of each file that is given, None for one that cannot be looked at."""
    return tuple(_mark(path) for path in (cert, key) if path is not None)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def why_unusable(files: Iterable[Path], error: OSError) -> str:
    """One line for the log. ``error`` is what `ssl` said, which names no file; it is shown where all can be read."""
    named = list(files)
    for path in named:
        try:
            os.close(open_given(path))
        except PermissionError:
            return f"{path}: {_who(path)}"
        except OSError as why:
            return f"{path}: {why.strerror}"
    return f"{' and '.join(map(str, named))}: not a certificate and its key in PEM: {error}"


def _who(path: Path) -> str:
    """Whose the file is, or the folder that hides it, beside who this process is."""
    closed = path
    for each in (path, *path.parents):
        try:
            found = each.stat()
        except OSError:
            continue
        closed = each
        break
    groups = " ".join(str(gid) for gid in sorted({os.getegid(), *os.getgroups()}))
    what = "" if closed == path else f"the folder {closed} "
    owner = f"belongs to {found.st_uid}:{found.st_gid} with mode {stat.S_IMODE(found.st_mode):04o}"
    need = "read it" if closed == path else "search it"
    return f"{what}{owner}; uid {os.geteuid()} with the groups {groups} must be able to {need}"
