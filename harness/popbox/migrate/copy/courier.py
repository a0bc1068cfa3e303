"""A Maildir that courierpop3d has served: named and dated so that our server shows it as courier's POP3 did."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from popbox.migrate.copy.arranged import dated, named
from popbox.migrate.oldhost.courier_sizelist import Rows, Sizelist, in_cur, parse, place_of
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
    """Both in courier's order."""
    rows = Rows(known.rows)
    wanted: list[tuple[Message, bytes | None]] = []
    for message in sorted(messages, key=lambda one: (place_of(in_cur(one.name)), one.sub, one.name)):
        row, why = rows.take(message.name)
        if why:
            host.lose(where, f"the UIDL of {shown(message.name)}", why)
        wanted.append((message._replace(known_as=message.uid), row.uidl if row else None))
    return dated(named(host, where, wanted))
