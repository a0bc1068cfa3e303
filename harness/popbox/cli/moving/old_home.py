"""The old host of a move, for the pages of ``popbox serve --beside``: by `mailhost explain` over its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popbox.migrate.oldhost.tree import OldHostError, look, read_text
from popbox.migrate.routes.boxes import stores
from popbox.migrate.routes.compare import STORES, Answer, judge
from popbox.migrate.routes.side import Side as Asked
from popbox.migrate.routes.side import open_side
from popbox.migrate.routes.work import answer_of
from popbox.serve.move.handed import Compared, Side


class OldHome:
    """An ``OldHost`` of the console: a qmail home, a root, or a copy of one, in a directory of this machine."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        """It is only read.

        Raises:
            UnusableError: it is none of these.
        """
        self.name = str(directory)
        self._side: Asked = open_side(directory, None, None, environ)
        self._home = os.fsdecode(self._side.home)

    def compared(self, address: str, new: Mapping[str, Any], home: str, logins: Mapping[str, str]) -> Compared:
        """See ``popbox.serve.move.handed.OldHost``.

        Raises:
            UnusableError: mailhost cannot use the files.
            HostError: mailhost does not run.
        """
        octets = address.encode("utf-8", "surrogateescape")
        [old] = self._side.ask([octets], steps=True)
        opened = {store: login for login, store in stores(self._side).items()}

        def same_box(before: str, after: str) -> bool:
            return opened.get(before) == logins.get(after) if before in opened else before == after

        found = judge(octets, "asked", answer_of(old), answer_of(dict(new)), same_box)
        sides = _side(old, self._home, opened), _side(new, home, logins)
        return Compared(found.what if found else "the same", *sides)

    def file(self, path: str) -> bytes:
        """See ``popbox.serve.move.handed.OldHost``.

        Raises:
            LookupError: it is not there, or cannot be read; says why.
        """
        tree, home, name = self._side.tree, self._side.home, path.encode("utf-8", "surrogateescape")
        try:
            if look(tree, home + b"/" + name)[0] != look(tree, home)[0] + b"/" + name:
                raise LookupError("it is a link, or lies behind one: what it leads to may be no file that routes mail")
            found = read_text(tree, home + b"/" + name)
        except OldHostError as error:
            raise LookupError(str(error)) from error
        if found is None:
            raise LookupError("it is not there")
        return found


def _side(said: Mapping[str, Any], home: str, logins: Mapping[str, str]) -> Side:
    answer: Answer = answer_of(dict(said))
    ends = tuple((end.kind, end.text) for end in answer.ends)
    opened = [logins.get(text, "no login") for kind, text in ends if kind in STORES]
    return Side(home, answer.accepted, ends, tuple(dict.fromkeys(opened)), tuple(said["where"]))
