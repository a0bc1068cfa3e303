"""Looking into a folder of the old host; one that cannot be read is a finding, and empty."""

from __future__ import annotations

from popbox.migrate.oldhost.dialects.text import file_of
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.tree import DirEntry, OldHostError, OldHostTree


def scan(tree: OldHostTree, host: OldHost, path: bytes) -> list[tuple[bytes, DirEntry]]:
    """Names and kinds of what lies in ``path``. What the tree refuses is noted as ``unreadable`` and as lost."""
    try:
        return tree.scan(path)
    except OldHostError as why:
        host.unreadable(Where(file_of(path)), str(why))
        return []
