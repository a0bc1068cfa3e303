"""vpopmail's users and aliases in a dump of its SQL database: mysqldump, pg_dump (COPY or INSERT) or sqlite's .dump.

Tables: ``vpopmail`` with a column ``pw_domain``; or, built with --disable-many-domains, one for each domain without it,
named like the domain with ``_`` for ``.`` and ``-``; and ``valias`` (alias, domain, valias_line), which vdelivermail
asks before it looks for a box. ``lastauth``, ``limits``, ``dir_control``, ``relay`` and ``vlog`` hold no users. Source:
TABLE_LAYOUT, VALIAS_TABLE_LAYOUT, load_connection_info and vauth_munch_domain in vmysql.h, vmysql.c, vpgsql.c, vldap.c
and vsqlite.c of vpopmail 5.4.33 and 5.6 (github.com/brunonymous/vpopmail, github.com/sagredo-dev/vpopmail).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.text import file_of, text_of
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, OldHostTree, look

COLUMNS = ("pw_name", "pw_passwd", "pw_uid", "pw_gid", "pw_gecos", "pw_dir", "pw_shell", "pw_clear_passwd")
SETTINGS = (b"vpopmail.mysql", b"vpopmail.pgsql", b"vpopmail.ldap", b"_vpopmail.sqlite")  # the last in domains/
_KEYS = {"primary", "unique", "key", "index", "constraint", "fulltext", "foreign", "check"}
_WORD = rb"[A-Za-z0-9_$.+-]+"
_TOKEN = rb"--[^\n]*|/\*.*?\*/|\s+|(?P<quoted>'(?:[^'%s]|''%s)*'|\"(?:[^\"]|\"\")*\"|`[^`]*`)|(?P<plain>%s|.)"
_COPY = re.compile(rb"\s*\n(.*?)^\\\.\s*$", re.S | re.M)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0"}


class Row(NamedTuple):
    """A row by its table; a value that is NULL is empty."""

    table: str
    values: dict[str, bytes]
    line: int


@dataclass(slots=True)
class SqlUsers:
    """``settings``: a file that says users are in SQL; ``users``: (table or domain) -> the fields of vpasswd."""

    settings: bytes | None = None
    users: dict[str, list[tuple[list[bytes], Where]]] = field(default_factory=dict)
    aliases: dict[str, list[tuple[bytes, bytes, Where]]] = field(default_factory=dict)

    def of(self, domain: str) -> list[tuple[list[bytes], Where]]:
        """The users of a domain; a table of its own is named like it, with ``_`` for what is no letter or digit."""
        return self.users.get(domain) or self.users.get(re.sub(r"[^a-z0-9]", "_", domain)) or []


def read_sql(tree: OldHostTree, host: OldHost, tops: list[bytes]) -> SqlUsers:
    """Read every ``*.sql`` in vpopmail's homes and their etc/, in /, /root and /var/backups."""
    found = SqlUsers()
    folders = [*(top + below for top in tops for below in (b"", b"/etc", b"/domains")), b"/", b"/root", b"/var/backups"]
    tree.prepare(folders, deep=False)
    for folder in folders:
        real, entry = look(tree, folder)
        if entry is None and real != tree.base:
            continue
        if entry is not None and entry.kind != DIRECTORY:
            continue
        for name, file in scan(tree, host, real):
            path = real.rstrip(b"/") + b"/" + name
            if file.kind == FILE and name in SETTINGS:
                found.settings = path
            elif file.kind == FILE and name.endswith(b".sql"):
                _read(found, path, text_of(tree, host, path) or b"")
    return found


def _read(found: SqlUsers, path: bytes, text: bytes) -> None:
    for row in rows(text):
        where = Where(file_of(path), row.line)
        if "pw_name" in row.values:
            fields = [row.values.get(name, b"") for name in COLUMNS]
            owner = row.values.get("pw_domain", row.table.encode()).decode("latin-1").lower()
            found.users.setdefault(owner, []).append((fields, where))
        elif "valias_line" in row.values:
            owner = row.values.get("domain", b"").decode("latin-1").lower()
            line = row.values.get("alias", b""), row.values["valias_line"], where
            found.aliases.setdefault(owner, []).append(line)


def rows(text: bytes) -> Iterator[Row]:
    """The rows that a dump puts into its tables."""
    mysql = b"PostgreSQL" not in text and b"PRAGMA " not in text  # only MySQL's strings have escapes with a backslash
    token = re.compile(_TOKEN % ((rb"\\", rb"|\\.", _WORD) if mysql else (b"", b"", _WORD)), re.S)
    tables: dict[str, list[str]] = {}
    statement: list[bytes] = []
    at, begun, line, counted = 0, 0, 1, 0
    while found := token.match(text, at):
        at = found.end()
        word = found["quoted"] or found["plain"]
        if word is None:
            continue
        if word != b";":
            begun = begun if statement else found.start()
            statement.append(word)
            continue
        verb = b" ".join(statement[:1]).lower()
        line, counted = line + text.count(b"\n", counted, begun), begun
        if verb == b"copy" and (body := _COPY.match(text, at)):
            at = body.end()
            yield from _copied(statement, body[1], line + 1)
        elif verb == b"create":
            _create(tables, statement)
        elif verb in (b"insert", b"replace"):
            yield from _inserted(tables, statement, line, mysql=mysql)
        statement = []


def _name(word: bytes) -> str:
    return word.strip(b"`\"'").rpartition(b".")[2].strip(b'`"').decode("latin-1").lower()


def _groups(words: list[bytes]) -> list[list[list[bytes]]]:
    """What stands in each outer pair of brackets, in parts between commas."""
    groups: list[list[list[bytes]]] = []
    depth = 0
    for word in words:
        depth += (word == b"(") - (word == b")")
        if word == b"(" and depth == 1:
            groups.append([[]])
        elif depth == 1 and word == b",":
            groups[-1].append([])
        elif depth >= 1:
            groups[-1][-1].append(word)
    return groups


def _create(tables: dict[str, list[str]], words: list[bytes]) -> None:
    if b"(" in words and words[1:2] and words[1].lower() == b"table":
        at = words.index(b"(")
        columns = [
            _name(part[0]) for part in _groups(words)[0] if part and part[0].lower().decode("latin-1") not in _KEYS
        ]
        tables[_name(words[at - 1])] = columns


def _inserted(tables: dict[str, list[str]], words: list[bytes], line: int, *, mysql: bool) -> Iterator[Row]:
    lower = [word.lower() for word in words]
    if b"into" not in lower or b"values" not in lower:
        return
    into, values = lower.index(b"into"), lower.index(b"values")
    named = _groups(words[into + 1 : values])
    name = words[into + 1 : values]
    table = _name(name[name.index(b"(") - 1] if named else name[-1])
    columns = [_name(part[0]) for part in named[0] if part] if named else tables.get(table, [])
    for group in _groups(words[values + 1 :]):
        yield Row(table, dict(zip(columns, (_value(part, mysql=mysql) for part in group), strict=False)), line)


def _copied(words: list[bytes], body: bytes, line: int) -> Iterator[Row]:
    at = words.index(b"(") if b"(" in words else 2
    columns = [_name(part[0]) for part in _groups(words)[0]] if b"(" in words else []
    for number, one in enumerate(body.splitlines(), start=line):
        cells = (b"" if cell == rb"\N" else _unescaped(cell) for cell in one.split(b"\t"))
        yield Row(_name(words[at - 1]), dict(zip(columns, cells, strict=False)), number)


def _value(part: list[bytes], *, mysql: bool) -> bytes:
    word = part[-1] if part else b""
    if word[:1] not in (b"'", b'"'):
        return b"" if word.lower() == b"null" else word
    inner = word[1:-1].replace(word[:1] * 2, word[:1])
    return _unescaped(inner) if mysql else inner


def _unescaped(octets: bytes) -> bytes:
    return re.sub(rb"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), octets, flags=re.S)
