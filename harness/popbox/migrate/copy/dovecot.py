"""A Maildir that Dovecot has served: named and dated so that our server shows it as Dovecot's POP3 did.

Dovecot's UIDL is ``P`` of its ``dovecot-uidlist``, else made by ``pop3_uidl_format``; its order is ``O``, else the uid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from popbox.migrate.copy.arranged import dated, named
from popbox.migrate.copy.run import Arrange
from popbox.migrate.oldhost.dialects.text import file_of
from popbox.migrate.oldhost.dovecot_uidlist import Row, Uidlist, parse
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import MAILDIR, OldHost, Store
from popbox.migrate.oldhost.stores import DOVECOT_IDS, Contents, Message
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, look

_VARIABLE = re.compile(r"%(0?)(\d*)(X?)([uvf%])")
Maker = Callable[[Row, int], bytes]


def maker(form: str) -> Maker:
    """What ``pop3_uidl_format`` makes of a row and the uidvalidity.

    Raises:
        ValueError: it holds what is no ``%u``, ``%v`` or ``%f``, or makes all UIDLs alike.
    """
    rest = _VARIABLE.sub("", form)
    found = [(hexadecimal, letter) for _, _, hexadecimal, letter in _VARIABLE.findall(form)]
    if "%" in rest or ("X", "f") in found or not any(letter in "uf" for _, letter in found):
        raise ValueError(f"{form!r} is no pop3_uidl_format of %u, %v and %f, such as %08Xu%08Xv")

    def one(row: Row, validity: int, found: re.Match[str]) -> str:
        """Dovecot pads with zeros and then cuts nothing; without a zero it cuts and pads nothing (var-expand.c)."""
        zero, width, hexadecimal, letter = found.groups()
        if letter == "%":
            return "%"
        numbers = {"u": row.uid, "v": validity}
        value = (
            format(numbers[letter], "x" if hexadecimal else "d") if letter in numbers else row.name.decode("latin-1")
        )
        return value.rjust(int(width or 0), "0") if zero else value[: int(width) if width else None]

    return lambda row, validity: _VARIABLE.sub(partial(one, row, validity), form).encode("latin-1")


def as_dovecot(form: str) -> Arrange:
    """The arrangement for `copy.run.Options`.

    Raises:
        ValueError: the format is none.
    """
    make = maker(form)

    def arrange(tree: OldHostTree, host: OldHost, store: Store, there: Contents) -> Contents:
        if store.kind != MAILDIR or not there.messages:
            return there
        path = look(tree, store.path)[0] + b"/" + DOVECOT_IDS
        where = Where(file_of(path))
        try:
            if tree.lstat(path) is None:
                host.lose(
                    where,
                    "UIDLs",
                    "no such file, or elsewhere as CONTROL says: files keep their names",
                )
                return there
            known = parse(tree.read(path))
        except (OldHostError, ValueError) as why:
            host.lose(where, "UIDLs", f"{why}: files keep their names")
            return there
        return there._replace(messages=_arranged(host, where, there.messages, known, make))

    return arrange


def _arranged(host: OldHost, where: Where, messages: list[Message], known: Uidlist, make: Maker) -> list[Message]:
    rows = {row.name: row for row in known.rows}
    wanted: list[tuple[Message, bytes | None]] = []
    for message in sorted(messages, key=partial(_rank, rows)):
        row = rows.get(message.uid)
        uidl = message.uid if row is None or row.uidl == b"" else row.uidl or make(row, known.validity)
        wanted.append((message, uidl))
    return dated(named(host, where, wanted))


def _rank(rows: dict[bytes, Row], message: Message) -> tuple[bool, bool, int, int, bytes]:
    """By ``O``, then by uid; what Dovecot has not numbered yet comes last, by name as it would number it."""
    row = rows.get(message.uid)
    if row is None:
        return True, True, 0, 0, message.name
    return False, row.order is None, row.order or 0, row.uid, message.name
