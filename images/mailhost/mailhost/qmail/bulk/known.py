"""Every address that a host's files know, and one for each rule that takes many: an extension, a catchall.

The files speak of local parts as qmail-lspawn sees them; control/virtualdomains, read backwards, gives the addresses.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mailhost.qmail.assigntext import FIELDS, MARK, parse_line
from mailhost.qmail.bulk.host import TreeHost
from mailhost.qmail.bulk.tree import NotJudgedError
from mailhost.qmail.cdb.reader import CdbError
from mailhost.qmail.control import Controls, Reader
from mailhost.qmail.controlfile import Table
from mailhost.qmail.lookup import BREAK

PROBE = b"popboxprobe"
"""Stands for anything: no host has it."""
NOWHERE = b"popboxprobe.invalid"
_DEFAULT = b"default"


class Known(NamedTuple):
    """An address, and what knows it."""

    kind: str  # "assign", "extension", "file", "account", "alias", "virtual" or "domain"
    address: bytes


def known(host: TreeHost, accounts: Iterable[pwd.struct_passwd] = ()) -> Iterator[Known]:
    """The addresses, some of them more than once. ``accounts``: those of passwd.

    Raises:
        ControlError: a control file cannot be read.
        NotJudgedError: a directory cannot be listed.
        OSError: users/assign cannot be read.
    """
    send, smtpd = host.controls(Reader.SEND), host.controls(Reader.SMTPD)
    backwards = _Backwards(send)
    yield from _domains(send, smtpd)
    for kind, local in _assigned(host):
        for address in backwards.of(local):
            yield Known(kind, address)
    for kind, local in _by_passwd(host, backwards, accounts):
        for address in backwards.of(local):
            yield Known(kind, address)


def _effective(table: Table | None) -> list[tuple[bytes, bytes]]:
    """(key, value) of the lines that count, in lower case."""
    lines = () if table is None else table.lines
    return [(line.key.lower(), line.value) for line in lines if table is not None and table.find(line.key) is line]


def _domain(key: bytes) -> bytes:
    """A domain that the key of a line takes."""
    return PROBE + key if key.startswith(b".") else key or NOWHERE


def _domains(send: Controls, smtpd: Controls) -> Iterator[Known]:
    """What the control files name: a single address, and for each domain anything and its postmaster."""
    names: dict[bytes, None] = {}
    for key, _ in _effective(send.virtualdomains):
        if b"@" in key:
            yield Known("virtual", key)
        else:
            names[_domain(key)] = None
    for table in (send.locals, smtpd.rcpthosts):
        names |= dict.fromkeys(_domain(key) for key, _ in _effective(table))
    try:
        more = () if smtpd.morercpthosts is None else smtpd.morercpthosts.records()
        names |= dict.fromkeys(_domain(key) for key, _ in more)
    except CdbError:
        names[NOWHERE] = None  # every address of it gets the same answer
    for name in names:
        yield Known("domain", PROBE + b"@" + name)
        yield Known("domain", b"postmaster@" + name)
    for key, _ in _effective(send.percenthack):
        yield Known("domain", PROBE + b"%" + NOWHERE + b"@" + key)
    yield Known("domain", b"postmaster")
    yield Known("domain", PROBE + b"@" + NOWHERE)  # of no host: taken only where every domain is


class _Backwards:
    """From a local part after qmail-send's rewriting to the addresses that are rewritten to it."""

    def __init__(self, send: Controls) -> None:
        self._prefixes: dict[bytes, list[bytes]] = {}
        for key, value in _effective(send.virtualdomains):
            if value and b"@" not in key:
                self._prefixes.setdefault(value.lower(), []).append(_domain(key))
        self._locals = [key for key, _ in _effective(send.locals)]

    def of(self, local: bytes) -> Iterator[bytes]:
        """At each virtual domain that leads to it; where none does, at the local domains, which all lead to it."""
        found, at = False, local.find(b"-")
        while at >= 0:
            names = self._prefixes.get(local[:at])
            if names is not None:
                found = True
                for name in names:
                    yield local[at + 1 :] + b"@" + name
            at = local.find(b"-", at + 1)
        if not found and not self.leads_to(local):
            for name in self._locals:
                yield local + b"@" + name

    def leads_to(self, local: bytes) -> bool:
        """Whether it begins with the prefix of a virtual domain, or is one (a line ``+prefix``)."""
        cuts = [local, local.removesuffix(PROBE), *(local[:at] for at in range(len(local)) if local[at] == BREAK[0])]
        return any(cut in self._prefixes for cut in cuts)


def _assigned(host: TreeHost) -> Iterator[tuple[str, bytes]]:
    """Local parts of users/cdb, and of the lines of users/assign that it lacks."""
    there = set[bytes]()
    for key, data in host.records():
        there.add(key)
        yield from _of_record(host, key, data)
    for number, key, line in host.assign_lines():
        if key not in there:
            yield from _of_record(host, key, parse_line(line, number).data)


def _of_record(host: TreeHost, key: bytes, data: bytes) -> Iterator[tuple[str, bytes]]:
    fields = data.split(b"\0")
    if not key.startswith(MARK) or len(fields) < FIELDS:
        return
    local = key[1:].lower()
    if local.endswith(b"\0"):
        yield "assign", local[:-1]
        yield "extension", local[:-1] + BREAK + PROBE
        return
    if local:
        yield "assign", local
    yield "extension", local + PROBE
    if not local.endswith(BREAK):
        yield "extension", local + BREAK + PROBE
    for rest in _files(host, fields[3], fields[4] + fields[5].lower().replace(b".", b":")):
        yield "file", local + rest


def _files(host: TreeHost, home: bytes, begin: bytes) -> Iterator[bytes]:
    """What may stand behind ``begin`` in an extension, by the .qmail files of a home."""
    if not home.startswith(b"/"):
        return
    try:
        names = host.tree.names(home)
    except NotJudgedError as why:
        if "is not in the copy" not in str(why):
            raise
        return  # every address of it is then not judged
    begin = b".qmail" + begin
    for name in names:
        if not name.startswith(begin) or name == begin:
            continue
        rest = name[len(begin) :].replace(b":", b".")
        yield rest.removesuffix(_DEFAULT) + PROBE if rest.endswith(_DEFAULT) else rest


def _by_passwd(
    host: TreeHost, backwards: _Backwards, accounts: Iterable[pwd.struct_passwd]
) -> Iterator[tuple[str, bytes]]:
    """Local parts of accounts with a home, and of alias."""
    for account in accounts:
        name, home = os.fsencode(account.pw_name.lower()), os.fsencode(account.pw_dir)
        if account.pw_uid != 0 and name not in (b"", b"alias") and _is_home(host, home):
            yield "account", name
            yield "extension", name + BREAK + PROBE
            for rest in _files(host, home, BREAK):
                yield "file", name + BREAK + rest
    alias = host.alias()
    for rest in _files(host, alias, BREAK) if alias else ():
        by_name = b"alias" + BREAK + rest  # alias is an account like any other (Q-GETPW-5)
        yield "alias", by_name if backwards.leads_to(by_name) else rest


def _is_home(host: TreeHost, home: bytes) -> bool:
    try:
        return home.startswith(b"/") and host.tree.look(home) is not None
    except (OSError, NotJudgedError):
        return False
