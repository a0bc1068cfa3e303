"""A Maildir as courierpop3d would show it, by its own ``courierpop3dsizelist`` (oldhost/courier_sizelist.py)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from popbox.migrate.oldhost.courier_sizelist import Rows, in_cur, parse, place_of
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.stores import COURIER_IDS, DOVECOT_IDS
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, read_text
from popbox.migrate.verify.digest import Content

NOT_LISTED = "courierpop3d has shown this box to no client: it has no courierpop3dsizelist"


@dataclass(slots=True)
class Ids:
    """What courier knows of a box. ``no_uidl``: why no UIDL can be told; ``wrong``, ``odd``: see `Listing`."""

    rows: Rows
    no_uidl: str = ""
    wrong: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def of(self, name: bytes) -> tuple[str, int | None]:
        """UIDL and listed size of a file; what it has not numbered yet no client knows: the name stands for that."""
        row, why = self.rows.take(name)
        if why:
            self.wrong.append(f"has the UIDL of {shown(name)} in doubt: {why}")
        elif row is None and not self.no_uidl:
            self.odd.append(f"has {shown(name)}, which courierpop3d has not numbered: no client knows a UIDL of it")
        return os.fsdecode(row.uidl if row else name.partition(b":")[0]), row.size if row else None


def served(tree: OldHostTree, real: bytes) -> bool:
    """Whether a Maildir is courier's, as `import` sees it: its file is there, and Dovecot's is not."""
    return tree.lstat(real + b"/" + COURIER_IDS) is not None and tree.lstat(real + b"/" + DOVECOT_IDS) is None


def ids(tree: OldHostTree, real: bytes) -> Ids:
    """Read the file of a Maildir; what of it cannot be read is told."""
    path = real + b"/" + COURIER_IDS
    try:
        text = read_text(tree, path)
        known = parse(text) if text is not None else None
    except (OldHostError, ValueError) as why:
        return Ids(Rows(()), f"{shown(path)}: {why}", [f"has {shown(path)}: {why}"])
    if known is None:
        return Ids(Rows(()), NOT_LISTED)
    return Ids(Rows(known.rows), "", [f"has {shown(path)}: line {line} {why}" for line, why in known.broken])


def rank(path: bytes) -> tuple[int, bytes]:
    """What courier sorts by."""
    return place_of(in_cur(path.rpartition(b"/")[2]))


def listed(content: Content, on_disk: int) -> int:
    """What LIST says where no row does: each newline counts twice, one that is missing at the end does not."""
    return content.octets - 2 * (content.octets - content.lines > on_disk)
