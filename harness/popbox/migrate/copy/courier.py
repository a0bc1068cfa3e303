"""A Maildir that courierpop3d has served: named and dated so that our server shows it as courier's POP3 did."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from popbox.migrate.copy.arranged import dated, named
from popbox.migrate.oldhost.courier_sizelist import Row, Sizelist, in_cur, parse, place_of
from popbox.migrate.oldhost.dialects.text import file_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import MAILDIR, OldHost, Store
from popbox.migrate.oldhost.stores import COURIER_IDS, DOVECOT_IDS, Contents, Message
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, look, read_text


def as_courier(*, sure: bool) -> Callable[[OldHostTree, OldHost, Store, Contents], Contents]:
    """The arrangement for `copy.run.Options`: courier's UIDLs where its file is in the Maildir.

    ``sure``: courier serves it, whatever Dovecot has left there. The journal goes on knowing messages by the names of
    their files, as courier may number them between two passes.
    """
    return partial(_arrange, sure)


def _arrange(sure: bool, tree: OldHostTree, host: OldHost, store: Store, there: Contents) -> Contents:
    if store.kind != MAILDIR or not there.messages:
        return there
    real = look(tree, store.path)[0]
    path = real + b"/" + COURIER_IDS
    where = Where(file_of(path))
    try:
        text = read_text(tree, path)
        if text is None:
            return there
        known = _known(text, torn=not sure and tree.lstat(real + b"/" + DOVECOT_IDS) is not None)
    except (OldHostError, ValueError) as why:
        host.lose(where, "UIDLs", f"{why}: files keep their names")
        return there
    for line, why_not in known.broken:
        host.lose(Where(where.file, line), "a UIDL", f"the line {why_not}: courier gives the message another one")
    return there._replace(messages=_arranged(host, where, there.messages, known))


def _known(text: bytes, *, torn: bool) -> Sizelist:
    if torn:
        raise ValueError("dovecot-uidlist is there too: say --courier-uidl or --dovecot-uidl")
    return parse(text)


def _arranged(host: OldHost, where: Where, messages: list[Message], known: Sizelist) -> list[Message]:
    """Both in courier's order; of rows with one base name the one with a file's own flags is meant."""
    rows: dict[bytes, list[Row]] = {}
    for row in known.rows:
        rows.setdefault(row.name.partition(b":")[0], []).append(row)
    wanted: list[tuple[Message, bytes | None]] = []
    for message in sorted(messages, key=lambda one: (place_of(in_cur(one.name)), one.sub, one.name)):
        uidl = _uidl(host, where, message, rows.get(message.uid, []))
        wanted.append((message._replace(known_as=message.uid), uidl))
    return dated(named(host, where, wanted))


def _uidl(host: OldHost, where: Where, message: Message, rows: list[Row]) -> bytes | None:
    """The UIDL that a client knows; a row is used up, as courier numbers a second file of the name."""
    exact = [row for row in rows if row.name == in_cur(message.name)] or rows
    uidls = {row.uidl for row in exact}
    if len(uidls) > 1:
        shows = ", ".join(shown(uidl) for uidl in sorted(uidls))
        host.lose(where, f"the UIDL of {shown(message.name)}", f"it has more than one: {shows}")
        return None
    if not uidls:
        return None
    for row in exact:
        rows.remove(row)
    return uidls.pop()
