"""Looking into a folder of the old host; one that cannot be read is a finding, and empty."""

from __future__ import annotations

from popbox.migrate.dialects.text import file_of
from popbox.migrate.findings import Where
from popbox.migrate.oldhost import OldHost
from popbox.migrate.tree import Entry, Tree, TreeError


def scan(tree: Tree, host: OldHost, path: bytes) -> list[tuple[bytes, Entry]]:
    """Names and kinds of what lies in ``path``. Notes the rule ``unreadable`` where the tree refuses."""
    try:
        return tree.scan(path)
    except TreeError as why:
        host.wrong("unreadable", Where(file_of(path)), str(why))
        return []
