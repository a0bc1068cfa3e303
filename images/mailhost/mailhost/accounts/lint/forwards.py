"""Lint of forwards that come back: such a message has passed the address already, and bounces (Q-LOCAL-7, E-54).

The .qmail files are the nodes of a graph, and each forward to an address of this host is an edge. An edge is part of a
loop where both its ends lie in one strongly connected component. Each file is read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailhost.accounts.lint.facts import Facts, Finding, instructions
from mailhost.qmail.cdb.reader import Cdb, CdbError
from mailhost.qmail.control import Controls
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import Found, Instruction, Kind
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import CDB_FILE, PasswdLookup, accounts_of, getpw, lookup, split
from mailhost.qmail.rewrite import Local, rewrite

Graph = dict[bytes, list[tuple[bytes, Instruction]]]
"""File -> the files that its forwards lead to, each with its line."""


@dataclass(slots=True)
class _Ways:
    """Where addresses of this host lead, by its files as they are; ``read``: file -> its forwards."""

    facts: Facts
    controls: Controls
    cdb: Cdb
    accounts: PasswdLookup
    read: dict[bytes, list[Instruction]] = field(default_factory=dict)

    def file(self, home: bytes, dash: bytes, ext: bytes) -> bytes | None:
        """The file that counts for (dash, ext) in a home, now read; None where there is none that may be read."""
        found = self.facts.dot_qmail(home, dash, ext)
        if not isinstance(found, Found) or found.name is None:
            return None
        path = home + b"/" + found.name
        if path not in self.read:
            lines = instructions(found.text, found.executable)
            forwards = [line for line in lines if line.kind is Kind.FORWARD]
            # After a line that fails nothing is forwarded (Q-FWD-1).
            self.read[path] = [] if any(line.failure is not None for line in lines) else forwards
        return path

    def onward(self, forward: Instruction) -> bytes | None:
        """The file that a forward leads to; None where it leaves this host, or is in no file."""
        rewritten = rewrite(self.controls, c_string(forward.argument))
        parts = split(rewritten.address) if isinstance(rewritten, Local) else None
        if not isinstance(parts, tuple) or not parts[0]:
            return None
        who = lookup(self.cdb, parts[0]) or getpw(parts[0], self.accounts)
        if isinstance(who, Failure) or who.failure is not None or not who.home.startswith(b"/"):
            return None
        return self.file(who.home, who.dash, who.ext)

    def graph(self) -> Graph:
        """The forwards of all files that were read, and of those that they lead to, into files that forward too."""
        graph: Graph = {}
        left = [path for path, forwards in self.read.items() if forwards]
        while left:
            path = left.pop()
            if path not in graph:
                onward = [(self.onward(line), line) for line in self.read[path]]
                graph[path] = [(onto, line) for onto, line in onward if onto is not None and self.read[onto]]
                left += [onto for onto, _ in graph[path]]
        return graph


def loops(facts: Facts) -> Iterator[Finding]:
    """Each line that is part of a loop; what an address of another host does with the mail is not known here."""
    if facts.controls is None or facts.controls.locals is None:
        return
    try:
        with Cdb(facts.layout.home / CDB_FILE) as cdb:
            ways = _Ways(facts, facts.controls, cdb, accounts_of(facts.layout.home))
            for home, dash, ext in _starts(facts):
                ways.file(home, dash, ext)
            graph = ways.graph()
    except (OSError, CdbError):
        return  # `stale_cdb` says so
    component = components(graph)
    for path, forwards in graph.items():
        for onto, line in forwards:
            if component[path] == component[onto]:
                to = "this very file" if onto == path else f"{_shown(facts, onto)}, and from there back"
                text = f"{_text(line.argument)} leads to {to}: each message bounces as looping (E-54)"
                yield Finding("error", "forward-loop", _shown(facts, path), line.line, text)


def _starts(facts: Facts) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(home, dash, ext) of the files of all lines, of extensions, and of ~alias."""
    homes = {(os.fsencode(facts.layout.alias), b"-")}
    for line in facts.entries:
        if line.entry.home.startswith(b"/"):
            yield line.entry.home, line.entry.dash, line.entry.ext
            if line.entry.wild and line.entry.dash:
                homes.add((line.entry.home, line.entry.dash))
    for home, dash in sorted(homes):
        start = b".qmail" + dash
        for name in _names(home):
            if name.startswith(start):
                yield home, dash, name.removeprefix(start).replace(b":", b".")


def _names(directory: bytes) -> list[bytes]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def components(graph: Graph) -> dict[bytes, int]:
    """Node -> the number of its strongly connected component (Kosaraju and Sharir), without recursion."""
    component: dict[bytes, int] = {}
    back: dict[bytes, list[bytes]] = {node: [] for node in graph}
    for node, edges in graph.items():
        for onto, _ in edges:
            back[onto].append(node)
    for number, node in enumerate(reversed(_finished(graph))):
        left = [node]
        while left:
            one = left.pop()
            if one not in component:
                component[one] = number
                left += back[one]
    return component


def _finished(graph: Graph) -> list[bytes]:
    """All nodes in the order in which a depth-first walk leaves them."""
    order: list[bytes] = []
    seen: set[bytes] = set()
    for start in graph:
        walk = [(node, _onward(graph, node, seen)) for node in _unseen([start], seen)]
        while walk:
            node, edges = walk[-1]
            onto = next(edges, None)
            if onto is None:
                order.append(node)
                walk.pop()
            else:
                walk.append((onto, _onward(graph, onto, seen)))
    return order


def _onward(graph: Graph, node: bytes, seen: set[bytes]) -> Iterator[bytes]:
    return _unseen((onto for onto, _ in graph[node]), seen)


def _unseen(nodes: Iterable[bytes], seen: set[bytes]) -> Iterator[bytes]:
    for node in nodes:
        if node not in seen:
            seen.add(node)
            yield node


def _shown(facts: Facts, path: bytes) -> str:
    return facts.shown(Path(os.fsdecode(path)))


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")


RULES = (loops,)
