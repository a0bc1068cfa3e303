"""A file of lines that a run adds to, and that the next one begins again without what no longer counts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from popbox.migrate.pop3.accounts import Unusable
from popbox.replacing import replaceable


def place(path: Path) -> Path:
    """Where it lies, links followed.

    Raises:
        Unusable: a device, a FIFO or a directory is there.
    """
    try:
        return replaceable(path)
    except OSError as error:
        raise Unusable(path, str(error.strerror)) from error


def begin(path: Path, lines: Iterable[str]) -> IO[str]:
    """Write the file under another name, rename it over the old one and keep it open: a cut last line is gone.

    Only its owner may read it.

    Raises:
        Unusable: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise Unusable(path, f"cannot be written: {error}") from error
    return file
